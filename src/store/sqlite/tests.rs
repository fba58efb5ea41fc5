//! What holds for a file, whatever happens to it.

mod crash;
mod damage;
mod file;
mod purge;

use std::path::Path;

use super::*;

fn plain(path: &Path) -> Result<SqliteRecords, StoreError> {
    super::file::open(path, Mark::Plain, Duration::ZERO)
}
