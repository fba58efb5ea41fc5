//! What `--model` says: a card id, the path of a .gguf file or of a model's folder, or a hub id `org/name[:file.gguf]`.

use std::path::{Path, PathBuf};

use super::hf::HfRepo;
use super::{Card, Hub, HubError, Progress, ServedBy, cache, names};

/// A model file that is ready to be loaded.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// What requests call the model if the configuration gives no name: the card's id, the file's stem or the folder's name.
    pub name: String,
    /// The .gguf file, or a folder with config.json; a file is verified by SHA-256 if it is a card's or was just fetched from the hub.
    pub path: PathBuf,
    /// The card, if the model has one.
    pub card: Option<&'static Card>,
    /// Who served the file.
    pub served_by: ServedBy,
}

#[derive(Debug, PartialEq)]
enum Spec<'a> {
    Card(&'static Card),
    Path(&'a Path),
    Repo { id: &'a str, file: Option<&'a str> },
}

/// A card's id wins, then a file that exists, then what looks like a path, then a hub id.
fn parse(spec: &str) -> Result<Spec<'_>, HubError> {
    if let Some(card) = Card::find(spec) {
        return Ok(Spec::Card(card));
    }
    let path = Path::new(spec);
    let (id, file) = match spec.split_once(':') {
        Some((id, file)) => (id, Some(file)),
        None => (spec, None),
    };
    let is_repo = names::is_repo(id) && file.is_none_or(names::is_repo_path);
    let looks_like_path = path.is_absolute() || spec.starts_with('.') || spec.contains('\\');
    if path.is_file() || path.join("config.json").is_file() {
        Ok(Spec::Path(path))
    } else if looks_like_path || (spec.ends_with(".gguf") && (file.is_none() || !is_repo)) {
        Err(HubError::NoSuchFile {
            path: path.to_owned(),
        })
    } else if is_repo {
        match file {
            Some(file) if !file.ends_with(".gguf") => Err(HubError::NotGguf {
                repo: id.to_owned(),
                file: file.to_owned(),
            }),
            _ => Ok(Spec::Repo { id, file }),
        }
    } else {
        Err(unknown(spec))
    }
}

impl Card {
    /// The embedded card with exactly this id; the error names the nearest one and lists all.
    pub fn named(id: &str) -> Result<&'static Card, HubError> {
        Card::find(id).ok_or_else(|| unknown(id))
    }
}

fn unknown(spec: &str) -> HubError {
    let similarity = |card: &Card| strsim::jaro_winkler(&spec.to_ascii_lowercase(), &card.id);
    let nearest = Card::all()
        .iter()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    let known: Vec<_> = Card::all().iter().map(|card| card.id.as_str()).collect();
    HubError::UnknownModel {
        spec: spec.to_owned(),
        nearest: nearest
            .filter(|card| similarity(card) > 0.7)
            .map(|card| card.id.clone()),
        known: known.join(", "),
    }
}

impl Hub {
    /// Finds the model that `spec` names, fetching it if need be, and gives a file that is ready to be loaded.
    ///
    /// `spec` is a card id, the path of a .gguf file or of a folder with config.json, or a hub id
    /// `org/name[:file.gguf]`; without a file the repository
    /// must have exactly one. Errors: nothing has this name (the nearest card is named), the file is not there, or no
    /// source serves it.
    pub fn resolve(
        &self,
        spec: &str,
        progress: &mut dyn Progress,
    ) -> Result<ModelSource, HubError> {
        match parse(spec)? {
            Spec::Card(card) => {
                let fetched = self.fetch(card, progress)?;
                let (path, served_by) = (fetched.path, fetched.served_by);
                Ok(ModelSource {
                    name: card.id.clone(),
                    path,
                    card: Some(card),
                    served_by,
                })
            }
            Spec::Path(path) => Ok(uncarded(path.to_owned(), ServedBy::Path)),
            Spec::Repo { id, file } => self.resolve_repo(id, file, progress),
        }
    }

    fn resolve_repo(
        &self,
        id: &str,
        file: Option<&str>,
        progress: &mut dyn Progress,
    ) -> Result<ModelSource, HubError> {
        let repo = HfRepo::new(&self.config, &self.agent, id, None);
        let file = match file {
            Some(file) => file.to_owned(),
            None => self.only_gguf(&repo, id, progress)?,
        };
        if let Some(path) = repo.cached(&file) {
            return Ok(uncarded(path, ServedBy::HubCache));
        }
        if self.config.offline {
            return Err(HubError::Offline {
                model: format!("{id}:{file}"),
                path: None,
            });
        }
        let place = format!("{id}/{file}").replace('/', "--");
        let _lock = cache::lock(&self.config.cache_dir.join("models").join(place), progress)?;
        if let Some(path) = repo.cached(&file) {
            return Ok(uncarded(path, ServedBy::HubCache));
        }
        match repo.fetch(&file, None, progress) {
            Ok(path) => Ok(uncarded(path, ServedBy::Hub)),
            Err(reason) => Err(HubError::Repo {
                repo: id.to_owned(),
                reason: Box::new(reason),
            }),
        }
    }

    /// The repository's only .gguf file; what is cached counts when the hub cannot be asked.
    fn only_gguf(
        &self,
        repo: &HfRepo<'_>,
        id: &str,
        progress: &mut dyn Progress,
    ) -> Result<String, HubError> {
        let files = if self.config.offline {
            repo.cached_ggufs()
        } else {
            repo.list_ggufs()
                .or_else(|reason| match repo.cached_ggufs() {
                    cached if cached.is_empty() => Err(HubError::Repo {
                        repo: id.to_owned(),
                        reason: Box::new(reason),
                    }),
                    cached => {
                        progress.note(&format!(
                            "Hugging Face {id}: {reason}; using the hub's cache"
                        ));
                        Ok(cached)
                    }
                })?
        };
        match <[String; 1]>::try_from(files) {
            Ok([file]) => Ok(file),
            Err(files) if files.is_empty() && self.config.offline => Err(HubError::Offline {
                model: id.to_owned(),
                path: None,
            }),
            Err(files) => Err(HubError::WhichFile {
                repo: id.to_owned(),
                files,
            }),
        }
    }
}

fn uncarded(path: PathBuf, served_by: ServedBy) -> ModelSource {
    let name = match path.is_dir() {
        // Which may be called `.`.
        true => path
            .canonicalize()
            .ok()
            .and_then(|path| path.file_name().map(ToOwned::to_owned)),
        false => path.file_stem().map(ToOwned::to_owned),
    };
    let name = name.unwrap_or_else(|| path.clone().into_os_string());
    let name = name.to_string_lossy().into_owned();
    ModelSource {
        name,
        path,
        card: None,
        served_by,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_ids_paths_and_hub_ids_are_told_apart() {
        let file = tempfile::NamedTempFile::with_suffix(".gguf").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(parse(path).unwrap(), Spec::Path(file.path()));
        assert!(matches!(
            parse("smollm2-135m-instruct").unwrap(),
            Spec::Card(_)
        ));
        assert_eq!(
            parse("org/name").unwrap(),
            Spec::Repo {
                id: "org/name",
                file: None
            }
        );
        let named = Spec::Repo {
            id: "org/name",
            file: Some("q4/a.gguf"),
        };
        assert_eq!(parse("org/name:q4/a.gguf").unwrap(), named);
    }

    #[test]
    fn a_path_without_a_file_is_an_error_naming_the_path() {
        for path in [
            "./x",
            "/nowhere/a.gguf",
            "a.gguf",
            "folder/a.gguf",
            "..\\a",
            "/org/name:a.gguf",
        ] {
            let error = parse(path).unwrap_err();
            assert!(matches!(error, HubError::NoSuchFile { .. }), "{error}");
            assert!(error.to_string().contains(path));
        }
    }

    #[test]
    fn an_unknown_card_names_the_nearest_and_lists_all() {
        let error = parse("smollm2-135m-instrukt").unwrap_err().to_string();
        assert!(
            error.contains("nearest: \"smollm2-135m-instruct\""),
            "{error}"
        );
        let error = parse("zzz").unwrap_err().to_string();
        assert!(
            !error.contains("nearest") && error.contains("cards: smollm2-135m-instruct"),
            "{error}"
        );
        assert!(parse("").is_err());
    }

    #[test]
    fn a_hub_file_that_is_no_gguf_is_refused_by_name() {
        let error = parse("org/name:model.safetensors").unwrap_err().to_string();
        assert!(
            error.contains("org/name:model.safetensors: only .gguf"),
            "{error}"
        );
    }
}
