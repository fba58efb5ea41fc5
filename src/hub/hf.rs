//! The Hugging Face hub, through the `hf-hub` crate and its cache folder, which the Python tools share.
//!
//! `hf-hub` waits for ever on a silent server, so a probe with a deadline goes first, and the transfer runs on a thread
//! of its own whose silence is noticed here. Such a thread is left behind and ends with its socket or the process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};

use hf_hub::api::RepoInfo;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use ureq::Agent;
use ureq::http::header;

use super::cache::sha256_of;
use super::download::{json, shown, unreachable};
use super::{HubConfig, Progress, SourceError, names};

const LISTING_LIMIT: u64 = 16 << 20;

/// One repository of models.
pub(super) struct HfRepo<'a> {
    config: &'a HubConfig,
    agent: &'a Agent,
    cache: Cache,
    repo: Repo,
}

impl<'a> HfRepo<'a> {
    pub fn new(
        config: &'a HubConfig,
        agent: &'a Agent,
        id: &str,
        revision: Option<&str>,
    ) -> HfRepo<'a> {
        let repo = Repo::with_revision(
            id.to_owned(),
            RepoType::Model,
            revision.unwrap_or("main").to_owned(),
        );
        HfRepo {
            config,
            agent,
            cache: Cache::new(config.hf_cache_dir.clone()),
            repo,
        }
    }

    /// The folder of the revision's files in the hub's cache, if there is one; no network.
    pub fn snapshot(&self) -> Option<PathBuf> {
        let cache = self.cache.repo(self.repo.clone());
        // A revision that is a commit has no ref file in the folders that the Python tools write.
        let commit = cache.pointer_path(self.repo.revision());
        if commit.is_dir() {
            return Some(commit);
        }
        let reference = self
            .cache
            .path()
            .join(self.repo.folder_name())
            .join("refs")
            .join(self.repo.revision());
        let commit = fs::read_to_string(reference).ok()?;
        names::is_file(commit.trim()).then(|| cache.pointer_path(commit.trim()))
    }

    /// The file's path in the hub's cache, if it is there; no network.
    pub fn cached(&self, file: &str) -> Option<PathBuf> {
        Some(self.snapshot()?.join(file)).filter(|path| path.is_file())
    }

    /// The names of the files at the top of the cached snapshot; no network.
    pub fn cached_files(&self) -> Vec<String> {
        let entries = self
            .snapshot()
            .and_then(|snapshot| fs::read_dir(snapshot).ok());
        let mut files: Vec<String> = entries
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| self.cached(name).is_some())
            .collect();
        files.sort();
        files
    }

    /// The paths of the files that the hub lists.
    pub fn list(&self) -> Result<Vec<String>, SourceError> {
        let url = format!("{}/api/{}", self.config.hf_endpoint, self.repo.api_url());
        let request = self.authorised(self.agent.get(&url));
        let info: RepoInfo = json(
            request.call().map_err(unreachable(&url))?,
            &url,
            LISTING_LIMIT,
        )?;
        let files = info.siblings.into_iter().map(|sibling| sibling.rfilename);
        let mut files: Vec<String> = files.filter(|file| names::is_repo_path(file)).collect();
        files.sort();
        Ok(files)
    }

    /// Fetches the file into the hub's cache and gives its path there. `size`, if known, is compared with what the
    /// hub announces before anything is transferred. A file whose name in the cache is its SHA-256 is verified.
    pub fn fetch(
        &self,
        file: &str,
        size: Option<u64>,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, SourceError> {
        let api = ApiBuilder::from_cache(self.cache.clone())
            .with_endpoint(self.config.hf_endpoint.clone())
            .with_token(self.token())
            .with_progress(false)
            .with_user_agent("flambeau", env!("CARGO_PKG_VERSION"))
            .build()?;
        let announced = self.probe(&api.repo(self.repo.clone()).url(file))?;
        if let (Some(expected), Some(found)) = (size, announced)
            && expected != found
        {
            return Err(SourceError::WrongSize { expected, found });
        }
        let path = self.transfer(api, file, progress)?;
        discard_if_damaged(&path)?;
        Ok(path)
    }

    /// Asks for the file's headers within the connect timeout; gives its size if they say it.
    fn probe(&self, url: &str) -> Result<Option<u64>, SourceError> {
        let request = self.authorised(self.agent.head(url)).config();
        // Redirects lead to a storage that refuses HEAD; that there is one is enough.
        let request = request
            .max_redirects(0)
            .timeout_global(Some(self.config.connect_timeout))
            .build();
        let response = request.call().map_err(unreachable(url))?;
        let status = response.status();
        if !status.is_success() && !status.is_redirection() {
            return Err(SourceError::Status {
                url: shown(url),
                status: status.as_u16(),
            });
        }
        let number = |name: &str| response.headers().get(name)?.to_str().ok()?.parse().ok();
        let length = || {
            status
                .is_success()
                .then(|| number(header::CONTENT_LENGTH.as_str()))
                .flatten()
        };
        Ok(number("x-linked-size").or_else(length))
    }

    fn transfer(
        &self,
        api: Api,
        file: &str,
        progress: &mut dyn Progress,
    ) -> Result<PathBuf, SourceError> {
        let (events, incoming) = mpsc::channel();
        let (repo, name) = (self.repo.clone(), file.to_owned());
        let work = move || {
            let result = api
                .repo(repo)
                .download_with_progress(&name, Reporter(events.clone()));
            // The other end is gone only when this transfer was given up.
            let _ = events.send(Event::Done(result));
        };
        std::thread::Builder::new()
            .name("hf-hub".to_owned())
            .spawn(work)
            .map_err(SourceError::io(file))?;
        let stall = self.config.stall_timeout;
        let mut received = 0;
        let result = loop {
            match incoming.recv_timeout(stall) {
                Ok(Event::Start(size)) => {
                    received = 0;
                    progress.begin(file, size);
                }
                Ok(Event::Bytes(n)) => {
                    received += n;
                    progress.update(received);
                }
                Ok(Event::Done(result)) => break result.map_err(SourceError::from),
                Err(RecvTimeoutError::Timeout) => {
                    break Err(SourceError::Stalled {
                        seconds: stall.as_secs(),
                    });
                }
                Err(RecvTimeoutError::Disconnected) => break Err(SourceError::HfHubStopped),
            }
        };
        progress.end();
        result
    }

    fn token(&self) -> Option<String> {
        let named = self.config.hf_token.clone();
        let left = || fs::read_to_string(&self.config.hf_token_path).ok();
        let token = named.or_else(left)?.trim().to_owned();
        (!token.is_empty()).then_some(token)
    }

    fn authorised<S>(&self, request: ureq::RequestBuilder<S>) -> ureq::RequestBuilder<S> {
        match self.token() {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }
}

enum Event {
    Start(u64),
    Bytes(u64),
    Done(Result<PathBuf, ApiError>),
}

struct Reporter(Sender<Event>);

impl hf_hub::api::Progress for Reporter {
    fn init(&mut self, size: usize, _: &str) {
        let _ = self.0.send(Event::Start(size as u64));
    }

    fn update(&mut self, size: usize) {
        let _ = self.0.send(Event::Bytes(size as u64));
    }

    fn finish(&mut self) {}
}

/// Large files are cached under their SHA-256. One that holds other bytes is removed with the link that leads to it
/// (`hf-hub` cannot replace a dangling link), so that the next try starts anew.
fn discard_if_damaged(path: &Path) -> Result<(), SourceError> {
    let blob = path.canonicalize().map_err(SourceError::io(path))?;
    let Some(expected) = blob
        .file_name()
        .and_then(|name| name.to_str())
        .filter(|name| names::is_sha256(name))
    else {
        return Ok(());
    };
    let found = sha256_of(&blob).map_err(SourceError::io(&blob))?;
    if found == expected {
        return Ok(());
    }
    fs::remove_file(path)
        .and_then(|()| fs::remove_file(&blob))
        .map_err(SourceError::io(&blob))?;
    Err(SourceError::WrongHash {
        expected: expected.to_owned(),
        found,
    })
}
