//! What can go wrong with a store; each message names the store and the way out.

use std::error::Error;

/// Why a store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file cannot be made or reached.
    #[error(
        "cannot open the store {store}: {source}; name a file in a folder that is there and may be written"
    )]
    Open {
        /// The path.
        store: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error(
        "the store {store} is in use by another process: stop that one, or name another file for this one"
    )]
    InUse {
        /// The path.
        store: String,
    },
    /// The file is something else.
    #[error(
        "{store} is not a store of flambeau, or its beginning is damaged: name another file, or move this one away to begin anew"
    )]
    Foreign {
        /// The path.
        store: String,
    },
    /// A newer release made it.
    #[error(
        "the store {store} is of format {found}, and this release knows {known}: use the release that made it, or name another file"
    )]
    Format {
        /// The path.
        store: String,
        /// The format it is in.
        found: i64,
        /// The format that is known.
        known: i64,
    },
    /// It is not as it was written.
    #[error(
        "the store {store} is damaged ({what}): put a copy in its place, or move it away, with the files beside it that begin with its name, to begin anew"
    )]
    Damaged {
        /// The path.
        store: String,
        /// What is wrong.
        what: String,
    },
    /// The system does not let the process use it.
    #[error(
        "the store {store} may not be read and written: give the server the right to both, of the file and its folder, or name another file"
    )]
    Denied {
        /// The path.
        store: String,
    },
    /// It is sealed with another key.
    #[error(
        "the store {store} is sealed with another key: give the key it was made with, or name another file"
    )]
    WrongKey {
        /// The store.
        store: String,
    },
    /// It is sealed, and no key was given.
    #[error(
        "the store {store} is sealed and no key was given: give the key it was made with, or name another file"
    )]
    NeedsKey {
        /// The store.
        store: String,
    },
    /// It is not sealed, and a key was given.
    #[error(
        "the store {store} is not sealed and a key was given: open it without one, or name another file"
    )]
    NotSealed {
        /// The store.
        store: String,
    },
    /// A value could not be sealed.
    #[error(
        "cannot seal values: the system gives no random numbers, or a value is of 64 GiB or more"
    )]
    Seal,
    /// Reading or writing failed.
    #[error("cannot use the store {store}: {source}; see that its disk has room and works")]
    Failed {
        /// The store.
        store: String,
        /// The reason.
        source: Box<dyn Error + Send + Sync>,
    },
}
