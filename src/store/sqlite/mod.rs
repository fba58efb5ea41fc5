//! A store in one file of SQLite.

mod failure;
mod file;
mod schema;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::time::Duration;

use ring::digest::{Context, SHA256};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};

use super::{Mark, Place, Read, Record, Records, StoreError};
use failure::Of;

/// How long a process that ends is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Records in a file, which this process has for itself while it is open: another one that opens it waits a few seconds, and
/// then gets an error.
///
/// * `put` returns when the records are in the log beside the file (`-wal`): a process that is killed loses nothing that was put, a
///   machine that loses its power at most what was put since the log was last taken into the file.
/// * Removing returns when what was removed is overwritten in the file, the log is empty, and both are on the disk. What
///   a disk or a file system keeps of overwritten blocks is beyond it.
/// * Every record has a digest of its own, so that damage is never taken for a record. Opening goes through the whole file
///   and gives an error if anything else is damaged; an error leaves the file as it is. Of a log that is damaged, what was put
///   before the damage is there: it looks as if the process had been killed then.
/// * The file is its owner's alone (mode 0600), from its beginning or from when it is opened.
#[derive(Debug)]
pub struct SqliteRecords {
    connection: Connection,
    /// The path, for messages.
    name: String,
}

impl SqliteRecords {
    /// Opens a file that was made with this mark, or begins one where there is none, or an empty one.
    pub fn open(path: &Path, mark: Mark) -> Result<Self, StoreError> {
        file::open(path, mark, PATIENCE)
    }

    fn write<T>(
        &mut self,
        act: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let done = begun.and_then(|transaction| {
            let done = act(&transaction)?;
            transaction.commit()?;
            Ok(done)
        });
        done.of(&self.name)
    }

    /// Takes the log into the file and empties it.
    fn empty_log(&self) -> Result<(), StoreError> {
        let is_busy: bool = self
            .connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0))
            .of(&self.name)?;
        match is_busy {
            false => Ok(()),
            true => Err(StoreError::InUse {
                store: self.name.clone(),
            }),
        }
    }
}

impl Records for SqliteRecords {
    fn put(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut put = transaction.prepare(
                "INSERT OR REPLACE INTO records (id, tenant, scope, expires, digest, value)
                 VALUES (?, ?, ?, ?, ?, ?)",
            )?;
            for record in records {
                put.execute(params![
                    record.id,
                    record.tenant,
                    record.scope,
                    ordered(record.expires),
                    digest_of(record),
                    record.value,
                ])?;
            }
            Ok(())
        })
    }

    fn remove(&mut self, ids: &[[u8; 16]]) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut remove = transaction.prepare("DELETE FROM records WHERE id = ?")?;
            for id in ids {
                remove.execute([id])?;
            }
            Ok(())
        })?;
        self.empty_log()
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.write(|transaction| transaction.execute("DELETE FROM records", ()))?;
        // Gives the room back.
        self.connection.execute_batch("VACUUM").of(&self.name)?;
        self.empty_log()
    }

    fn remove_expired(&mut self, now: u64) -> Result<usize, StoreError> {
        let num_removed = self.write(|transaction| {
            transaction.execute("DELETE FROM records WHERE expires < ?", [ordered(now)])
        })?;
        self.empty_log()?;
        Ok(num_removed)
    }

    fn each(
        &mut self,
        since: Place,
        now: u64,
        take: &mut dyn FnMut(Record),
    ) -> Result<Read, StoreError> {
        let mut read = Read {
            end: since,
            num_skipped: 0,
        };
        let mut go = || {
            // What has expired is sorted out here, where it is known whether the expiry can be trusted.
            let mut all = self.connection.prepare(
                "SELECT place, id, tenant, scope, expires, digest, value FROM records
                 WHERE place > ? ORDER BY place",
            )?;
            let mut rows = all.query([since.0])?;
            while let Some(row) = rows.next()? {
                read.end = Place(row.get(0)?);
                match trusted(row) {
                    Some(record) if record.expires >= now => take(record),
                    Some(_) => {}
                    None => read.num_skipped += 1,
                }
            }
            Ok(())
        };
        go().of(&self.name)?;
        Ok(read)
    }
}

/// The record in a row, if it is one and its digest says so.
fn trusted(row: &Row<'_>) -> Option<Record> {
    let parse = || -> rusqlite::Result<(Record, [u8; 32])> {
        let record = Record {
            id: row.get(1)?,
            tenant: row.get(2)?,
            scope: row.get(3)?,
            expires: unordered(row.get(4)?),
            value: row.get(6)?,
        };
        Ok((record, row.get(5)?))
    };
    let (record, digest) = parse().ok()?;
    (digest_of(&record) == digest).then_some(record)
}

fn digest_of(record: &Record) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&record.head());
    context.update(&record.value);
    let digest = context.finish();
    let digest = digest.as_ref().try_into();
    digest.expect("SHA-256 has 32 bytes: this is a bug")
}

/// As a signed integer, which is all there is in SQLite, in the same order.
fn ordered(seconds: u64) -> i64 {
    seconds.wrapping_add(1 << 63) as i64
}

fn unordered(seconds: i64) -> u64 {
    (seconds as u64).wrapping_add(1 << 63)
}
