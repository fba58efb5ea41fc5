//! GGUF files on disk.

use std::path::Path;

use super::{Gguf, GgufError};
use crate::model::file_map::FileMap;

/// A GGUF file on disk, memory-mapped read-only.
pub type GgufFile = Gguf<FileMap>;

impl GgufFile {
    /// Maps the file and parses it; tensor data is read from disk when it is first touched. The file must not be changed in
    /// place while it is open, see [`FileMap::open`].
    ///
    /// # Errors
    /// [`GgufError::Open`], or [`GgufError::File`] with what is wrong in the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let map = FileMap::open(path).map_err(|source| GgufError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(map).map_err(|source| GgufError::File {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }
}
