//! What SQLite reports, as an error of a store.

use rusqlite::ErrorCode;
use rusqlite::ffi::SQLITE_IOERR_SHORT_READ;

use crate::store::StoreError;

/// Names the store in an error.
pub(super) trait Of<T> {
    fn of(self, store: &str) -> Result<T, StoreError>;
}

impl<T> Of<T> for rusqlite::Result<T> {
    fn of(self, store: &str) -> Result<T, StoreError> {
        self.map_err(|error| named(error, store.to_owned()))
    }
}

fn named(error: rusqlite::Error, store: String) -> StoreError {
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase, PermissionDenied,
        ReadOnly, Unknown,
    };
    let is_cut = error
        .sqlite_error()
        .is_some_and(|error| error.extended_code == SQLITE_IOERR_SHORT_READ);
    match error.sqlite_error_code() {
        Some(DatabaseBusy | DatabaseLocked) => StoreError::InUse { store },
        Some(NotADatabase) => StoreError::Foreign { store },
        Some(CannotOpen | PermissionDenied | ReadOnly) => StoreError::Denied { store },
        Some(_) if is_cut => StoreError::Damaged {
            store,
            what: "it ends early".to_owned(),
        },
        // The statements are always the same: if one makes no sense (Unknown) or a column has another type (no code), it is
        // the file.
        Some(DatabaseCorrupt | Unknown) | None => StoreError::Damaged {
            store,
            what: error.to_string(),
        },
        Some(_) => StoreError::Failed {
            store,
            source: error.into(),
        },
    }
}
