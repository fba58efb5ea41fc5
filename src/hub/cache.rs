//! The model cache on disk: `models/<card id>/<file>`, and beside it, each named after the file:
//!
//! - `.part`: being written; renamed onto the file only when its size and SHA-256 are right, so a file under its own
//!   name was once whole;
//! - `.lock`: held while one process fetches, so that two never write the same part;
//! - `.verified`: digest, size and time of modification of the file when it was last hashed. While they hold the file
//!   is taken as whole; else it is hashed again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::{Card, HubError, Progress, SourceError};

/// The place of one card's file.
pub(super) struct Slot<'a> {
    card: &'a Card,
    path: PathBuf,
}

/// What is known of a file that should be a card's.
pub(super) enum Check {
    Missing,
    Whole,
    Damaged(SourceError),
}

impl<'a> Slot<'a> {
    pub fn new(cache_dir: &Path, card: &'a Card) -> Slot<'a> {
        Slot {
            card,
            path: cache_dir.join("models").join(&card.id).join(&card.file),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `<file>.<suffix>` beside the file.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    /// Compares the file with the card.
    pub fn check(&self) -> Result<Check, HubError> {
        self.check_at(&self.path, "verified")
            .map_err(HubError::cache(&self.path))
    }

    /// Compares a file that lies elsewhere with the card; `record` is the suffix that its hashing is remembered under.
    pub fn check_at(&self, path: &Path, record: &str) -> io::Result<Check> {
        let record = self.beside(record);
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Check::Missing),
            Err(error) => return Err(error),
        };
        let (expected, found) = (self.card.size, metadata.len());
        if found != expected {
            return Ok(Check::Damaged(SourceError::WrongSize { expected, found }));
        }
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .map_err(io::Error::other)?;
        let stamp = format!("{} {found} {}\n", self.card.sha256, modified.as_nanos());
        if fs::read_to_string(&record).is_ok_and(|text| text == stamp) {
            return Ok(Check::Whole);
        }
        let found = sha256_of(path)?;
        if found != self.card.sha256 {
            return Ok(Check::Damaged(SourceError::WrongHash {
                expected: self.card.sha256.clone(),
                found,
            }));
        }
        // A cache that cannot be written (a read-only image) is still good to read: it is hashed at every start.
        let _ = fs::create_dir_all(record.parent().unwrap_or(Path::new(".")))
            .and_then(|()| fs::write(&record, stamp));
        Ok(Check::Whole)
    }

    /// Gives the finished part its name. The caller has verified it.
    pub fn publish(&self, part: &Path) -> Result<(), SourceError> {
        fs::rename(part, &self.path).map_err(SourceError::io(&self.path))
    }

    /// Waits for the right to change this slot, until the result is dropped.
    pub fn lock(&self, progress: &mut dyn Progress) -> Result<File, HubError> {
        lock(&self.path, progress)
    }
}

/// Holds `<path>.lock`, waiting for whoever holds it; creates the folder.
pub(super) fn lock(path: &Path, progress: &mut dyn Progress) -> Result<File, HubError> {
    let path = beside(path, "lock");
    let acquire = |progress: &mut dyn Progress| {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let file = File::create(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                progress.note("another process is fetching this model: waiting for it");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(file)
    };
    acquire(progress).map_err(HubError::cache(&path))
}

/// SHA-256 of a file in lower-case hexadecimal.
pub(super) fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(hasher)),
            n => hasher.update(&buffer[..n]),
        }
    }
}

pub(super) fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
