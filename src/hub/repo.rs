//! A model of a hub repository: one of its .gguf files, or the whole of config.json and safetensors.

use std::path::PathBuf;

use serde::Deserialize;

use super::hf::HfRepo;
use super::resolve::uncarded;
use super::{Hub, HubError, ModelSource, Progress, ServedBy, SourceError, cache, names};

const CONFIG: &str = "config.json";
const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// What a folder has beside its weights, as far as it has it; weights come last, so that a folder that has them has all.
const SIDE_FILES: [&str; 8] = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    // Of embedding models.
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
];

/// `org/name[@revision][:file.gguf]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RepoSpec<'a> {
    pub id: &'a str,
    /// A branch, a tag or a commit; `main` if there is none.
    pub revision: Option<&'a str>,
    pub file: Option<&'a str>,
}

impl<'a> RepoSpec<'a> {
    /// `None` if `spec` does not look like this.
    pub fn parse(spec: &'a str) -> Option<Self> {
        let (repo, file) = split(spec, ':');
        let (id, revision) = split(repo, '@');
        let is_valid = names::is_repo(id)
            && [revision, file]
                .into_iter()
                .flatten()
                .all(names::is_repo_path);
        is_valid.then_some(Self { id, revision, file })
    }

    /// Without the file.
    fn repo(&self) -> String {
        match self.revision {
            Some(revision) => format!("{}@{revision}", self.id),
            None => self.id.to_owned(),
        }
    }

    pub(super) fn error(&self, reason: SourceError) -> HubError {
        HubError::Repo {
            repo: self.repo(),
            reason: Box::new(reason),
        }
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// What of a repository is the model.
enum Contents {
    Gguf(String),
    /// With the names of all files of the repository.
    Folder(Vec<String>),
}

#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

impl Hub {
    /// Finds or fetches what `spec` names. Without a file it is the folder, if the repository is one, or its only .gguf file.
    pub(super) fn resolve_repo(
        &self,
        spec: RepoSpec<'_>,
        progress: &mut dyn Progress,
    ) -> Result<ModelSource, HubError> {
        let repo = HfRepo::new(&self.config, &self.agent, spec.id, spec.revision);
        let contents = match spec.file {
            Some(file) => Contents::Gguf(file.to_owned()),
            None => self.contents(&repo, &spec, progress)?,
        };
        let place = match &contents {
            Contents::Gguf(file) => format!("{}/{file}", spec.id),
            Contents::Folder(_) => spec.id.to_owned(),
        };
        let find = || match &contents {
            Contents::Gguf(file) => repo.cached(file),
            Contents::Folder(files) => repo.cached_folder(files),
        };
        if let Some(path) = find() {
            return Ok(named(&spec, path, ServedBy::HubCache));
        }
        if self.config.offline {
            let model = match &contents {
                Contents::Gguf(file) => format!("{}:{file}", spec.repo()),
                Contents::Folder(_) => spec.repo(),
            };
            return Err(HubError::Offline { model, path: None });
        }
        let place = place.replace('/', "--");
        let _lock = cache::lock(&self.config.cache_dir.join("models").join(place), progress)?;
        if let Some(path) = find() {
            return Ok(named(&spec, path, ServedBy::HubCache));
        }
        let path = match &contents {
            Contents::Gguf(file) => repo.fetch(file, None, progress),
            Contents::Folder(files) => repo.fetch_folder(files, progress),
        };
        let path = path.map_err(|reason| spec.error(reason))?;
        Ok(named(&spec, path, ServedBy::Hub))
    }

    /// By what the hub lists; what is cached counts when it cannot be asked.
    fn contents(
        &self,
        repo: &HfRepo<'_>,
        spec: &RepoSpec<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Contents, HubError> {
        let files = match self.config.offline {
            true => repo.cached_files(),
            false => repo.list().or_else(|reason| match repo.cached_files() {
                cached if cached.is_empty() => Err(spec.error(reason)),
                cached => {
                    let repo = spec.repo();
                    progress.note(&format!(
                        "Hugging Face {repo}: {reason}; using the hub's cache"
                    ));
                    Ok(cached)
                }
            })?,
        };
        let has = |name: &str| files.iter().any(|file| file == name);
        if has(CONFIG) && (has(SINGLE) || has(INDEX)) {
            return Ok(Contents::Folder(files));
        }
        let ggufs = files.into_iter().filter(|file| file.ends_with(".gguf"));
        match <[String; 1]>::try_from(ggufs.collect::<Vec<_>>()) {
            Ok([file]) => Ok(Contents::Gguf(file)),
            Err(files) if files.is_empty() && self.config.offline => Err(HubError::Offline {
                model: spec.repo(),
                path: None,
            }),
            Err(files) => Err(HubError::WhichFile {
                repo: spec.repo(),
                files,
            }),
        }
    }
}

/// Requests call a folder by the id of its repository.
fn named(spec: &RepoSpec<'_>, path: PathBuf, served_by: ServedBy) -> ModelSource {
    let is_folder = path.is_dir();
    let mut source = uncarded(path, served_by);
    if is_folder {
        source.name = spec.id.to_owned();
    }
    source
}

impl HfRepo<'_> {
    /// The folder of the model, if all of it is cached that is among `files`.
    fn cached_folder(&self, files: &[String]) -> Option<PathBuf> {
        let mut needed = side_files(files);
        needed.extend(self.weights(files).ok()?);
        let is_whole = needed.iter().all(|file| self.cached(file).is_some());
        is_whole.then(|| self.snapshot()).flatten()
    }

    /// Fetches what is not cached of the folder.
    fn fetch_folder(
        &self,
        files: &[String],
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, SourceError> {
        let mut fetch = |file: &str| match self.cached(file) {
            Some(_) => Ok(()),
            None => self.fetch(file, None, progress).map(|_| ()),
        };
        for file in side_files(files) {
            fetch(&file)?;
        }
        if files.iter().any(|file| file == INDEX) {
            fetch(INDEX)?;
        }
        for file in self.weights(files)? {
            fetch(&file)?;
        }
        // The files of another commit lie in another folder.
        self.cached_folder(files).ok_or(SourceError::Changed)
    }

    /// The files of the weights, and their index; of a cached one it says which.
    fn weights(&self, files: &[String]) -> Result<Vec<String>, SourceError> {
        if !files.iter().any(|file| file == INDEX) {
            return Ok(vec![SINGLE.to_owned()]);
        }
        let path = self.cached(INDEX).ok_or(SourceError::Changed)?;
        let bytes = std::fs::read(&path).map_err(SourceError::io(&path))?;
        let bad = |reason: String| SourceError::BadAnswer {
            url: INDEX.to_owned(),
            reason,
        };
        let index: Index =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        let mut shards: Vec<String> = index.weight_map.into_values().collect();
        shards.sort_unstable();
        shards.dedup();
        if let Some(shard) = shards.iter().find(|shard| !names::is_file(shard)) {
            return Err(bad(format!("{shard:?} is no file's name")));
        }
        shards.push(INDEX.to_owned());
        Ok(shards)
    }
}

fn side_files(files: &[String]) -> Vec<String> {
    let wanted = SIDE_FILES.iter().map(|name| (*name).to_owned());
    wanted.filter(|name| files.contains(name)).collect()
}
