//! GGUF files: metadata, tensors and their dequantisation, without a copy of the file.
//!
//! The layout is that of the GGUF specification (ggml's `docs/gguf.md`), versions 2 and 3, little endian.
//!
//! Invariants, all established by [`Gguf::parse`] and relied on afterwards:
//! - every count and length was compared with the bytes left before anything was allocated for it, so that parsing
//!   allocates less than four times the size of the file, whatever the file says;
//! - keys and tensor names are UTF-8 and unique;
//! - every tensor of a supported type has 1 to 4 non-zero dimensions and lies aligned inside the file; no two overlap;
//! - a tensor of an unsupported type does not keep the file from opening; only asking for it is an error.

mod dequant;
mod error;
mod ggml_type;
mod mapping;
mod metadata;
mod reader;
mod tensor;
#[cfg(test)]
mod tests;
mod value;
mod writer;

pub use dequant::{DequantError, dequantise};
pub(super) use error::shown;
pub use error::{Fault, GgufError};
pub use ggml_type::{BlockLayout, GgmlType};
pub use mapping::GgufFile;
pub use metadata::Metadata;
pub use tensor::TensorView;
pub use value::{Array, Value};
pub use writer::raw;
pub(super) use writer::{NewTensor, head, write};

use std::fmt;

use metadata::{Entry, MIN_ENTRY_BYTES, read_entries};
use reader::Reader;
use tensor::{MIN_INFO_BYTES, TensorTable};

/// A parsed GGUF file over the bytes `B`: a mapping ([`GgufFile`]), a slice, a vector.
pub struct Gguf<B> {
    bytes: B,
    version: u32,
    entries: Vec<Entry>,
    tensors: TensorTable,
}

impl<B: AsRef<[u8]>> Gguf<B> {
    /// Parses and validates the header, the metadata and the tensor table; tensor data is not touched.
    ///
    /// # Errors
    /// Any violation of the format, named by header field, key or tensor.
    pub fn parse(bytes: B) -> Result<Self, GgufError> {
        let mut reader = Reader::new(bytes.as_ref());
        let magic = reader.array::<4>().map_err(GgufError::field("magic"))?;
        if &magic != b"GGUF" {
            return Err(GgufError::Magic(magic));
        }
        let version = reader.u32().map_err(GgufError::field("version"))?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 1..=3) => return Err(GgufError::BigEndian),
            _ => return Err(GgufError::Version(version)),
        }
        let num_tensors = reader.u64().map_err(GgufError::field("tensor_count"))?;
        let num_entries = reader
            .u64()
            .map_err(GgufError::field("metadata_kv_count"))?;
        let num_tensors = reader
            .count(num_tensors, MIN_INFO_BYTES, 0)
            .map_err(GgufError::field("tensor_count"))?;
        let num_entries = reader
            .count(num_entries, MIN_ENTRY_BYTES, num_tensors * MIN_INFO_BYTES)
            .map_err(GgufError::field("metadata_kv_count"))?;

        let entries = read_entries(&mut reader, num_entries)?;
        let alignment = Metadata::new(bytes.as_ref(), &entries).alignment()?;
        let tensors = TensorTable::read(&mut reader, num_tensors, alignment)?;
        Ok(Self {
            bytes,
            version,
            entries,
            tensors,
        })
    }

    /// The version of the format the file is written in: 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The metadata: hyperparameters, tokenizer, chat template.
    pub fn metadata(&self) -> Metadata<'_> {
        Metadata::new(self.bytes.as_ref(), &self.entries)
    }

    /// The tensor `name`.
    ///
    /// # Errors
    /// [`GgufError::MissingTensor`], or [`GgufError::UnsupportedType`] with the name of its type.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>, GgufError> {
        match self.tensors.find(name) {
            Some(info) => info.view(self.bytes.as_ref()),
            None => Err(GgufError::missing_tensor(name)),
        }
    }

    /// Whether there is a tensor `name`, of whatever type.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.find(name).is_some()
    }

    /// The file's bytes.
    pub(super) fn bytes(&self) -> &B {
        &self.bytes
    }

    /// All tensors in the order of their data in the file, which is the order to read them in; for one of an
    /// unsupported type the error that names it.
    pub fn tensors(&self) -> impl ExactSizeIterator<Item = Result<TensorView<'_>, GgufError>> {
        self.tensors
            .iter()
            .map(|info| info.view(self.bytes.as_ref()))
    }
}

/// Version and keys only: never the bytes.
impl<B: AsRef<[u8]>> fmt::Debug for Gguf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gguf")
            .field("version", &self.version)
            .field("metadata", &self.metadata())
            .finish_non_exhaustive()
    }
}
