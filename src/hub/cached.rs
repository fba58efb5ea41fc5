//! What the caches hold, and taking it out of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cache::Slot;
use super::hf::HfRepo;
use super::repo::RepoSpec;
use super::resolve::{Spec, parse};
use super::{Hub, HubError, Progress, SourceError};

/// A repository in the hub's cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedRepo {
    /// `org/name`.
    pub id: String,
    /// Bytes of all its files, of all revisions.
    pub size: u64,
}

/// What [`Hub::remove`] took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// A folder or a file.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
}

const PREFIX: &str = "models--";

impl Hub {
    /// The models of the hub's cache, by name: those of other programs, too.
    pub fn cached_repos(&self) -> Vec<CachedRepo> {
        let entries = fs::read_dir(&self.config.hf_cache_dir);
        let mut repos: Vec<CachedRepo> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let name = path.file_name()?.to_str()?.strip_prefix(PREFIX)?;
                let id = name.replacen("--", "/", 1);
                let has_files = path.join("snapshots").is_dir();
                has_files.then(|| CachedRepo {
                    id,
                    size: size_of(&path),
                })
            })
            .collect();
        repos.sort_by(|a, b| a.id.cmp(&b.id));
        repos
    }

    /// Takes a card's file, or all revisions of a hub repository, out of the caches; files at a path of one's own are not touched.
    ///
    /// # Errors
    /// Nothing has this name or is cached under it, or the system refuses.
    pub fn remove(
        &self,
        spec: &str,
        progress: &mut dyn Progress,
    ) -> Result<Vec<Removed>, HubError> {
        let missing = || HubError::NotCached {
            model: spec.to_owned(),
        };
        let paths = match parse(spec)? {
            Spec::Card(card) => {
                let slot = Slot::new(&self.config.cache_dir, card);
                let _lock = slot.lock(progress)?;
                let own = slot.path().parent().filter(|_| slot.path().exists());
                // <cache>/models--org--name/snapshots/<commit>/<file>
                let copies = self.hub_copies(card).filter(|path| path.exists());
                let repos = copies.filter_map(|path| path.ancestors().nth(3).map(Path::to_owned));
                own.map(Path::to_owned).into_iter().chain(repos).collect()
            }
            Spec::Repo(repo) if repo.revision.is_none() && repo.file.is_none() => {
                let name = format!("{PREFIX}{}", repo.id.replace('/', "--"));
                vec![self.config.hf_cache_dir.join(name)]
            }
            Spec::Repo(repo) => {
                return Err(HubError::RemovesAll {
                    spec: spec.to_owned(),
                    repo: repo.id.to_owned(),
                });
            }
            Spec::Path(_) => Vec::new(),
        };
        let mut removed = Vec::new();
        for path in paths.into_iter().filter(|path: &PathBuf| path.exists()) {
            let size = size_of(&path);
            fs::remove_dir_all(&path).map_err(HubError::cache(&path))?;
            removed.push(Removed { path, size });
        }
        match removed.is_empty() {
            true => Err(missing()),
            false => Ok(removed),
        }
    }

    /// What says what `spec` is a model of, without its weights where that is possible: a folder's or a repository's config.json, else
    /// the .gguf file.
    ///
    /// # Errors
    /// As [`Hub::resolve`].
    pub fn resolve_config(
        &self,
        spec: &str,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, HubError> {
        const CONFIG: &str = "config.json";
        if let Spec::Repo(repo @ RepoSpec { file: None, .. }) = parse(spec)? {
            let hf = HfRepo::new(&self.config, &self.agent, repo.id, repo.revision);
            if let Some(path) = hf.cached(CONFIG) {
                return Ok(path);
            }
            let is_there = |files: Vec<String>| files.iter().any(|file| file == CONFIG);
            if !self.config.offline && hf.list().is_ok_and(is_there) {
                let fetched = hf.fetch(CONFIG, None, progress);
                return fetched.map_err(|reason: SourceError| repo.error(reason));
            }
        }
        let path = self.resolve(spec, progress)?.path;
        Ok(match path.is_dir() {
            true => path.join(CONFIG),
            false => path,
        })
    }
}

/// Bytes of the files below a folder; links count nothing.
fn size_of(path: &Path) -> u64 {
    let entry_size = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.path().symlink_metadata().ok()?;
        Some(match (metadata.is_dir(), metadata.is_file()) {
            (true, _) => size_of(&entry.path()),
            (_, true) => metadata.len(),
            _ => 0,
        })
    };
    let entries = fs::read_dir(path).into_iter().flatten();
    entries.filter_map(entry_size).sum()
}
