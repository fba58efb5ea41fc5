//! What is in the file.

use ring::digest::{SHA256, digest};
use rusqlite::Connection;

use super::failure::Of;
use crate::store::{Mark, StoreError};

/// "flmb".
const APPLICATION: i64 = 0x666c_6d62;
const FORMAT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE store (mark BLOB NOT NULL, digest BLOB NOT NULL) STRICT;
    CREATE TABLE records (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id BLOB NOT NULL UNIQUE,
        tenant TEXT NOT NULL,
        scope BLOB NOT NULL,
        expires INTEGER NOT NULL,
        digest BLOB NOT NULL,
        value BLOB NOT NULL
    ) STRICT;";

/// Whether nothing was ever written.
pub(super) fn is_new(connection: &Connection) -> rusqlite::Result<bool> {
    let is_empty = definitions(connection)?.is_empty();
    let claims = (
        number(connection, "application_id")?,
        number(connection, "user_version")?,
    );
    Ok(is_empty && claims == (0, 0))
}

/// Makes the tables, all or nothing.
pub(super) fn begin(connection: &mut Connection, mark: Mark) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO store VALUES (?, ?)",
        (mark.as_bytes(), digest(&SHA256, mark.as_bytes()).as_ref()),
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()
}

/// Reads through a file that is not new, and gives its mark.
pub(super) fn check(connection: &Connection, name: &str) -> Result<Mark, StoreError> {
    let store = || name.to_owned();
    let damaged = |what: &str| StoreError::Damaged {
        store: store(),
        what: what.to_owned(),
    };
    if number(connection, "application_id").of(name)? != APPLICATION {
        return Err(StoreError::Foreign { store: store() });
    }
    let found = number(connection, "user_version").of(name)?;
    if found != FORMAT {
        return Err(StoreError::Format {
            store: store(),
            found,
            known: FORMAT,
        });
    }
    if definitions(connection).of(name)? != expected().of(name)? {
        return Err(damaged("it has other tables"));
    }
    // Also compares the index with its table: an id that is missing there could not be removed.
    let found: String = connection
        .query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
        .of(name)?;
    if found != "ok" {
        return Err(damaged(found.trim()));
    }
    let (mark, kept): (Vec<u8>, Vec<u8>) = connection
        .query_row("SELECT mark, digest FROM store", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .of(name)?;
    let is_kept = kept == digest(&SHA256, &mark).as_ref();
    let mark = Mark::from_bytes(&mark).filter(|_| is_kept);
    mark.ok_or_else(|| damaged("its mark is not what was written"))
}

type Definition = (String, String, Option<String>);

/// Everything that is defined: tables and indices, and what else somebody put there.
fn definitions(connection: &Connection) -> rusqlite::Result<Vec<Definition>> {
    let mut all = connection.prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY name")?;
    all.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

fn expected() -> rusqlite::Result<Vec<Definition>> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(TABLES)?;
    definitions(&connection)
}

fn number(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}
