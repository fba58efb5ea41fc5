//! GGUF files on disk: the memory mapping.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

use super::{Gguf, GgufError, TensorView};

/// A file's bytes, mapped read-only and shared with the system's page cache.
///
/// Invariant: made only by [`GgufFile::open`], so its pages can always be read from the file again.
pub struct FileMap(Mmap);

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A GGUF file on disk, memory-mapped read-only.
pub type GgufFile = Gguf<FileMap>;

impl GgufFile {
    /// Maps the file and parses it; tensor data is read from disk when it is first touched.
    ///
    /// The file must not be changed in place while it is open: as with every mapped file, truncating it ends the
    /// process when the lost part is read. Replacing it by renaming another one over it is safe.
    ///
    /// # Errors
    /// [`GgufError::Open`], or [`GgufError::File`] with what is wrong in the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, GgufError> {
        let path = path.as_ref();
        let map = || {
            let file = File::open(path)?;
            // SAFETY: the mapping is read-only. That nobody changes the file meanwhile cannot be enforced; it is
            // documented as the operator's duty. Nothing here relies on two reads of a byte agreeing: strings are
            // checked again whenever they are handed out, and offsets and sizes were copied out while parsing.
            unsafe { Mmap::map(&file) }
        };
        let map = map().map_err(|source| GgufError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(FileMap(map)).map_err(|source| GgufError::File {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Gives the memory that holds `tensor`'s data back to the system, after it was repacked into another form; it
    /// stays readable, from the page cache or from disk.
    ///
    /// # Errors
    /// `InvalidInput` if `tensor` is no part of this file, else what `madvise` says.
    pub fn release_pages(&self, tensor: &TensorView<'_>) -> io::Result<()> {
        let data = tensor.data.as_ptr_range();
        let map = self.bytes.as_ref().as_ptr_range();
        if data.start < map.start || data.end > map.end {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the tensor belongs to another file",
            ));
        }
        let offset = data.start.addr() - map.start.addr();
        // SAFETY: the range lies inside of this mapping, and so do the pages it touches, because a mapping starts on a
        // page border and the system rounds its end up to one. A [`FileMap`] is shared, backed by its file and
        // never written: dropping its pages loses no data, also where an edge page holds bytes of a neighbour, and the
        // next access brings the same bytes back.
        unsafe {
            self.bytes.0.unchecked_advise_range(
                UncheckedAdvice::DontNeed,
                offset,
                tensor.data.len(),
            )
        }
    }
}
