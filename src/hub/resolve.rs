//! What `--model` says: a card id, the path of a .gguf file or of a model's folder, or a hub id
//! `org/name[@revision][:file.gguf]`.

use std::path::{Path, PathBuf};

use super::repo::RepoSpec;
use super::{Card, Hub, HubError, Progress, ServedBy};

/// A model file that is ready to be loaded.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// What requests call the model if the configuration gives no name: the card's id, the file's stem, the folder's name or
    /// the hub id of a folder.
    pub name: String,
    /// The .gguf file, or a folder with config.json; a file is verified by SHA-256 if it is a card's or was just fetched from the hub.
    pub path: PathBuf,
    /// The card, if the model has one.
    pub card: Option<&'static Card>,
    /// Who served the file.
    pub served_by: ServedBy,
}

#[derive(Debug, PartialEq)]
pub(super) enum Spec<'a> {
    Card(&'static Card),
    Path(&'a Path),
    Repo(RepoSpec<'a>),
}

/// A card's id wins, then a file that exists, then what looks like a path, then a hub id.
pub(super) fn parse(spec: &str) -> Result<Spec<'_>, HubError> {
    if let Some(card) = Card::find(spec) {
        return Ok(Spec::Card(card));
    }
    let path = Path::new(spec);
    let repo = RepoSpec::parse(spec);
    let names_file = repo.is_some_and(|repo| repo.file.is_some());
    let looks_like_path = path.is_absolute() || spec.starts_with('.') || spec.contains('\\');
    if path.is_file() || path.join("config.json").is_file() {
        Ok(Spec::Path(path))
    } else if looks_like_path || (spec.ends_with(".gguf") && !names_file) {
        Err(HubError::NoSuchFile {
            path: path.to_owned(),
        })
    } else {
        match repo {
            Some(RepoSpec {
                id,
                file: Some(file),
                ..
            }) if !file.ends_with(".gguf") => Err(HubError::NotGguf {
                repo: id.to_owned(),
                file: file.to_owned(),
            }),
            Some(repo) => Ok(Spec::Repo(repo)),
            None => Err(unknown(spec)),
        }
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
    /// `org/name[@revision][:file.gguf]`; without a file the repository must be a folder of config.json and safetensors, or
    /// have exactly one .gguf file. Errors: nothing has this name (the nearest card is named), the file is not there, or no
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
            Spec::Repo(repo) => self.resolve_repo(repo, progress),
        }
    }
}

pub(super) fn uncarded(path: PathBuf, served_by: ServedBy) -> ModelSource {
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
            Spec::Repo(RepoSpec {
                id: "org/name",
                revision: None,
                file: None
            })
        );
        let named = Spec::Repo(RepoSpec {
            id: "org/name",
            revision: Some("v1.0"),
            file: Some("q4/a.gguf"),
        });
        assert_eq!(parse("org/name@v1.0:q4/a.gguf").unwrap(), named);
        for bad in ["org/name@", "org/name@../x", "org/name@a b", "a@b/c"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
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
