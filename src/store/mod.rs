//! What outlives the process: records, each with an id that the caller chose, within a tenant, until they expire.
//!
//! One trait, `Records`, which a file of SQLite implements, and a database that replicas share can: ids come from the
//! caller, writes can be repeated, and reading can go on where it ended. `Sealed` encrypts values over any of them. Tenants and
//! expiries are kept as they are, also in a sealed store; ids and scopes are keyed digests there. A store is sealed with one key from its beginning, or
//! never, and is not opened otherwise. Everything here blocks: call it from a thread that may wait.

mod error;
mod key;
mod mark;
mod sealed;
mod sqlite;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use error::StoreError;
pub use key::{KeyError, SealingKey};
pub use mark::Mark;
pub use sealed::Sealed;
pub use sqlite::SqliteRecords;

/// A thing that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is replaced and removed by, also where others write to the same store: random, or a digest.
    pub id: [u8; 16],
    /// Whose it is.
    pub tenant: String,
    /// What it counts for within the tenant: a digest.
    pub scope: [u8; 32],
    /// Unix seconds after which it counts for nothing.
    pub expires: u64,
    /// What is kept.
    pub value: Vec<u8>,
}

impl Record {
    /// All but the value, so that no two records have the same bytes: id, tenant's length and tenant, scope, expiry.
    fn head(&self) -> Vec<u8> {
        let mut head = Vec::with_capacity(64 + self.tenant.len());
        head.extend(self.id);
        head.extend((self.tenant.len() as u64).to_le_bytes());
        head.extend(self.tenant.as_bytes());
        head.extend(self.scope);
        head.extend(self.expires.to_le_bytes());
        head
    }
}

/// A place in the order in which the records of a store were put; the default is before the first. Means nothing to
/// another store, nor where this one was opened anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(i64);

/// What came of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where to go on: after the last one that was read.
    pub end: Place,
    /// Records that are there and cannot be trusted: damaged, tampered with, or sealed for other ids, tenants, scopes or expiries.
    pub num_skipped: usize,
}

/// A store, which one thread at a time uses.
pub trait Records: Send {
    /// Puts all of them or, with an error, none. One whose id is there takes that one's place and becomes the newest; of several
    /// with one id the last counts. When it returns, they outlive the process.
    fn put(&mut self, records: &[Record]) -> Result<(), StoreError>;

    /// Removes those with these ids, as far as they are there. When it returns, their values are in no file of the store.
    fn remove(&mut self, ids: &[[u8; 16]]) -> Result<(), StoreError>;

    /// Removes all, in the same way.
    fn clear(&mut self) -> Result<(), StoreError>;

    /// Removes those that have expired by `now`, in Unix seconds, in the same way, and says how many those were.
    fn remove_expired(&mut self, now: u64) -> Result<usize, StoreError>;

    /// Gives every record that was put after `since` and has not expired by `now`, in Unix seconds, the newest last, one at a time.
    /// One that cannot be trusted is counted instead. Where others write at the same time, one may be given
    /// again by the next call, and none is passed over. What others removed is not told.
    fn each(
        &mut self,
        since: Place,
        now: u64,
        take: &mut dyn FnMut(Record),
    ) -> Result<Read, StoreError>;
}

/// Opens the store in this file, or begins one where there is none or an empty one: sealed with the key, or as it is without one.
pub fn open(path: &Path, key: Option<&SealingKey>) -> Result<Box<dyn Records>, StoreError> {
    Ok(match key {
        None => Box::new(SqliteRecords::open(path, Mark::Plain)?),
        Some(key) => Box::new(Sealed::open(key, |mark| SqliteRecords::open(path, mark))?),
    })
}
