//! What the caches hold, and taking it out of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::cache::{self, Slots};
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

    /// Takes a card's file out of flambeau's own cache, or all revisions of a hub repository out of the hub's; files at a path of one's own are not touched.
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
        match parse(spec)? {
            Spec::Card(card) => {
                let folder = self.config.cache_dir.join("models").join(&card.id);
                if !folder.is_dir() {
                    return Err(missing());
                }
                let _lock = Slots::new(&self.config.cache_dir, card).lock(progress)?;
                // Whoever waits for the lock must find it again.
                let is_lock = |path: &Path| {
                    path.extension()
                        .is_some_and(|extension| extension == "lock")
                };
                let entries = fs::read_dir(&folder).map_err(HubError::cache(&folder))?;
                let files = entries.filter_map(|entry| Some(entry.ok()?.path()));
                removed(files.filter(|path| !is_lock(path)), missing)
            }
            Spec::Repo(repo) if repo.revision.is_none() && repo.file.is_none() => {
                let name = repo.id.replace('/', "--");
                let folder = self.config.hf_cache_dir.join(format!("{PREFIX}{name}"));
                if !folder.is_dir() {
                    return Err(missing());
                }
                let _lock =
                    cache::lock(&self.config.cache_dir.join("models").join(name), progress)?;
                removed([folder].into_iter(), missing)
            }
            Spec::Repo(repo) => Err(HubError::RemovesAll {
                spec: spec.to_owned(),
                repo: repo.id.to_owned(),
            }),
            Spec::Path(_) => Err(missing()),
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

/// Removes files and folders; it is an error if there are none.
fn removed(
    paths: impl Iterator<Item = PathBuf>,
    missing: impl Fn() -> HubError,
) -> Result<Vec<Removed>, HubError> {
    let mut removed = Vec::new();
    for path in paths {
        let is_folder = path.is_dir();
        let size = match is_folder {
            true => size_of(&path),
            false => fs::metadata(&path).map_or(0, |metadata| metadata.len()),
        };
        let gone = if is_folder {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        gone.map_err(HubError::cache(&path))?;
        removed.push(Removed { path, size });
    }
    match removed.is_empty() {
        true => Err(missing()),
        false => Ok(removed),
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
