//! Files on disk, mapped into memory.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::{Mmap, UncheckedAdvice};

/// A file's bytes, mapped read-only and shared with the system's page cache.
///
/// Invariant: made only by [`FileMap::open`], so its pages can always be read from the file again.
pub struct FileMap(Mmap);

impl AsRef<[u8]> for FileMap {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl FileMap {
    /// Maps the file; its bytes are read from disk when they are first touched.
    ///
    /// The file must not be changed in place while it is mapped: truncating it ends the process when the lost part is
    /// read. Replacing it by renaming another one over it is safe.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is read-only. That nobody changes the file meanwhile cannot be enforced; it is documented as
        // the operator's duty. Readers must not rely on two reads of a byte agreeing: they check strings again whenever they
        // hand them out, and copy offsets and sizes out while parsing.
        unsafe { Mmap::map(&file) }.map(Self)
    }

    /// Gives the memory that holds `data` back to the system, after it was repacked into another form; it stays readable,
    /// from the page cache or from disk.
    ///
    /// # Errors
    /// `InvalidInput` if `data` is no part of this file, else what `madvise` says.
    pub fn release(&self, data: &[u8]) -> io::Result<()> {
        let range = data.as_ptr_range();
        let map = self.0.as_ptr_range();
        if range.start < map.start || range.end > map.end {
            let message = "the bytes belong to another file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let offset = range.start.addr() - map.start.addr();
        // SAFETY: the range lies inside of this mapping, and so do the pages it touches, because a mapping starts on a
        // page border and the system rounds its end up to one. The mapping is shared, backed by its file and never written:
        // dropping its pages loses no data, also where an edge page holds bytes of a neighbour, and the next access brings
        // the same bytes back.
        unsafe {
            self.0
                .unchecked_advise_range(UncheckedAdvice::DontNeed, offset, data.len())
        }
    }
}
