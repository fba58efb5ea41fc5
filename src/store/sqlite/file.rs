//! Opening the file.

use std::ffi::OsString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::Of;
use super::{SqliteRecords, schema};
use crate::store::{Mark, StoreError};

/// The owner may read and write it, nobody else.
const MODE: u32 = 0o600;

/// Every database begins with as many bytes.
const HEADER_LEN: u64 = 100;

/// What holds for the connection, before anything is read. With `locking_mode` the lock is kept from the first read on.
const SETTINGS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA cell_size_check = ON;
    PRAGMA trusted_schema = OFF;
    PRAGMA secure_delete = ON;
    PRAGMA temp_store = MEMORY;
    PRAGMA synchronous = NORMAL;";

/// Opens the file, waiting up to `patience` for another process that has it. With an error, a file that was there is as it was.
pub(super) fn open(
    path: &Path,
    mark: Mark,
    patience: Duration,
) -> Result<SqliteRecords, StoreError> {
    let name = path.display().to_string();
    let path = found_or_made(path, &name)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&path, flags).of(&name)?;
    // What a crash left in the log is not taken into the file before it is known to be ours.
    let keeps_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    connection.set_db_config(keeps_log, true).of(&name)?;
    connection.busy_timeout(patience).of(&name)?;
    connection.execute_batch(SETTINGS).of(&name)?;
    if connection.is_readonly("main").of(&name)? {
        return Err(StoreError::Denied { store: name });
    }
    let is_new = schema::is_new(&connection).of(&name)?;
    if !is_new {
        mark.compare(schema::check(&connection, &name)?, &name)?;
    }
    for own in [&path, &log_of(&path)] {
        keep_to_owner(own).map_err(failed(&name))?;
    }
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))
        .of(&name)?;
    if is_new {
        schema::begin(&mut connection, mark).of(&name)?;
    }
    connection.set_db_config(keeps_log, false).of(&name)?;
    Ok(SqliteRecords { connection, name })
}

/// The file's path, absolute, so that no name means anything else to SQLite. A file that is there is not opened: closing it would give up
/// the locks that this process has on it.
fn found_or_made(path: &Path, name: &str) -> Result<PathBuf, StoreError> {
    let len = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if len(&real) == 0 && len(&log_of(&real)) > 0 {
        return Err(StoreError::Damaged {
            store: name.to_owned(),
            what: "there is nothing in it, but something in its log".to_owned(),
        });
    }
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(name)(error)),
        _ => {
            let path = fs::canonicalize(path).map_err(failed(name))?;
            // SQLite takes a file of one byte for an empty one.
            match path.is_file() && !(1..HEADER_LEN).contains(&len(&path)) {
                true => Ok(path),
                false => Err(StoreError::Foreign {
                    store: name.to_owned(),
                }),
            }
        }
    }
}

fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    PathBuf::from(log)
}

fn keep_to_owner(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(found) if found.permissions().mode() & 0o777 == MODE => Ok(()),
        Ok(_) => fs::set_permissions(path, Permissions::from_mode(MODE)),
        Err(error) => Err(error),
    }
}

fn failed(name: &str) -> impl FnOnce(io::Error) -> StoreError {
    let store = name.to_owned();
    |source| StoreError::Open { store, source }
}
