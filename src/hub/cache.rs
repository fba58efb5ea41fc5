//! The model cache on disk: `models/<card id>/<file>` for each file of a card, and beside it, each named after the file:
//!
//! - `.part`: being written; renamed onto the file only when its size and SHA-256 are right, so a file under its own
//!   name was once whole;
//! - `.lock`: held while one process fetches, so that two never write the same part; a card has it beside its first file;
//! - `.verified`: digest, size and time of modification of the file when it was last hashed. While they hold the file
//!   is taken as whole; else it is hashed again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::card::CardFile;
use super::{Card, HubError, Progress, SourceError};

/// The places of a card's files; never empty.
pub(super) struct Slots<'a> {
    card: &'a Card,
    folder: PathBuf,
    slots: Vec<Slot<'a>>,
}

/// The place of one file.
pub(super) struct Slot<'a> {
    pub file: &'a CardFile,
    path: PathBuf,
}

/// What is known of a file that should be a card's.
pub(super) enum Check {
    Missing,
    Whole,
    Damaged(SourceError),
}

impl<'a> Slots<'a> {
    pub fn new(cache_dir: &Path, card: &'a Card) -> Slots<'a> {
        let folder = cache_dir.join("models").join(&card.id);
        let slot = |file: &'a CardFile| Slot {
            file,
            path: folder.join(&file.name),
        };
        Slots {
            card,
            slots: card.files.iter().map(slot).collect(),
            folder,
        }
    }

    /// Where the model is when all is whole.
    pub fn path(&self) -> PathBuf {
        self.card.path_in(&self.folder)
    }

    pub fn all(&self) -> &[Slot<'a>] {
        &self.slots
    }

    /// The first, whose name stands for all.
    pub fn first(&self) -> &Slot<'a> {
        &self.slots[0]
    }

    /// Whether all files are as the card says, telling `damaged` of each that is not.
    pub fn check(
        &self,
        mut damaged: impl FnMut(&Slot<'a>, SourceError) -> Result<(), HubError>,
    ) -> Result<bool, HubError> {
        let mut is_whole = true;
        for slot in &self.slots {
            match slot.check()? {
                Check::Whole => {}
                Check::Missing => is_whole = false,
                Check::Damaged(reason) => {
                    is_whole = false;
                    damaged(slot, reason)?;
                }
            }
        }
        Ok(is_whole)
    }

    /// Waits for the right to change these slots, until the result is dropped.
    pub fn lock(&self, progress: &mut dyn Progress) -> Result<File, HubError> {
        lock(&self.first().path, progress)
    }
}

impl Slot<'_> {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `<file>.<suffix>` beside the file.
    pub fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    /// Compares the file with the card.
    fn check(&self) -> Result<Check, HubError> {
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
        let (expected, found) = (self.file.size, metadata.len());
        if found != expected {
            return Ok(Check::Damaged(SourceError::WrongSize { expected, found }));
        }
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .map_err(io::Error::other)?;
        let stamp = format!("{} {found} {}\n", self.file.sha256, modified.as_nanos());
        if fs::read_to_string(&record).is_ok_and(|text| text == stamp) {
            return Ok(Check::Whole);
        }
        let found = sha256_of(path)?;
        if found != self.file.sha256 {
            return Ok(Check::Damaged(SourceError::WrongHash {
                expected: self.file.sha256.clone(),
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
