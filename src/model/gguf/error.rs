//! What can be wrong with a GGUF file: [`GgufError`] says where, [`Fault`] says what.

use std::path::PathBuf;

use super::dequant::DequantError;
use super::ggml_type::GgmlType;

/// Longest part of a name from a file that a message repeats, in characters.
const SHOWN_CHARS: usize = 80;

/// Why a GGUF file, a key or a tensor of it cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufError {
    /// The file cannot be opened or mapped.
    #[error("cannot open the model file {path}: {source}")]
    Open {
        /// The path as given.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file was opened, but what is in it is not valid.
    #[error("{path}: {source}")]
    File {
        /// The path as given.
        path: PathBuf,
        /// What is wrong in it.
        source: Box<GgufError>,
    },
    /// The first four bytes are not `GGUF`.
    #[error(
        "not a GGUF file: it starts with \"{}\", not with \"GGUF\" (an unfinished download, a Git LFS pointer or a web \
         page saved in its place?)", .0.escape_ascii()
    )]
    Magic([u8; 4]),
    /// The version is neither 2 nor 3.
    #[error(
        "GGUF version {0} is not supported, only 2 and 3 are: convert the model with a current converter"
    )]
    Version(u32),
    /// The file was written for big-endian machines.
    #[error("the file is big-endian GGUF, which is not supported: convert it to little endian")]
    BigEndian,
    /// A field of the header, or the key of a metadata entry, is damaged.
    #[error("GGUF header, {field}: {fault}")]
    Field {
        /// The field's name in the specification.
        field: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A metadata value is damaged.
    #[error("metadata key {key}: {fault}")]
    Key {
        /// The key, quoted.
        key: String,
        /// What is wrong with its value.
        fault: Fault,
    },
    /// A tensor's entry or its place in the file is not valid.
    #[error("tensor {name}: {fault}")]
    Tensor {
        /// The tensor's name, quoted.
        name: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A required metadata key is absent.
    #[error("metadata key {0} is missing: the model cannot be used without it")]
    MissingKey(String),
    /// A metadata value has another type than its reader needs, or does not fit it.
    #[error("metadata key {key} should be {want}, but it is {found}")]
    KeyType {
        /// The key, quoted.
        key: String,
        /// What the reader needs.
        want: &'static str,
        /// What the file has.
        found: String,
    },
    /// A required tensor is absent.
    #[error(
        "tensor {0} is missing: the file is incomplete, one part of a split model, or of another architecture"
    )]
    MissingTensor(String),
    /// The tensor's quantisation is not implemented.
    #[error(
        "tensor {name} has the type {ty}, which is not supported: use a file quantised as Q4_0, Q4_1, Q8_0 or Q4_K_M"
    )]
    UnsupportedType {
        /// The tensor's name, quoted.
        name: String,
        /// Its type.
        ty: GgmlType,
    },
    /// The tensor cannot be dequantised into the buffer given.
    #[error("tensor {name}: {source}")]
    Dequantise {
        /// The tensor's name, quoted.
        name: String,
        /// Why not.
        source: DequantError,
    },
}

/// What is wrong at one place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends early.
    #[error(
        "{need} bytes are needed at byte {at}, but only {left} are left: the file is truncated or damaged"
    )]
    End {
        /// Where, in bytes from the start.
        at: usize,
        /// Bytes needed.
        need: u64,
        /// Bytes left.
        left: usize,
    },
    /// A count that the rest of the file cannot hold.
    #[error(
        "it counts {count} items, more than the {left} bytes left can hold: the file is truncated or damaged"
    )]
    Count {
        /// The count in the file.
        count: u64,
        /// Bytes left.
        left: usize,
    },
    /// A string is not UTF-8.
    #[error("the string at byte {at} is not UTF-8")]
    Utf8 {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// A metadata value type outside 0..=12.
    #[error("unknown value type {0}")]
    ValueType(u32),
    /// A boolean that is neither 0 nor 1.
    #[error("{0} is not a boolean (0 or 1)")]
    Bool(u8),
    /// Arrays of arrays of arrays …
    #[error("its arrays are nested more than {0} deep")]
    Depth(usize),
    /// The same key or tensor name twice.
    #[error("it occurs more than once")]
    Duplicate,
    /// `general.alignment` is not a power of two.
    #[error("{0} is not an alignment: it has to be a power of two below 2^31")]
    Alignment(u64),
    /// A tensor has no or too many dimensions.
    #[error("it has {0} dimensions; 1 to 4 are possible")]
    NumDims(u32),
    /// A dimension is zero.
    #[error("dimension {0} is zero")]
    ZeroDim(usize),
    /// The number of elements or bytes overflows.
    #[error("the dimensions {0:?} multiply to more than can be addressed")]
    DimsOverflow(Vec<u64>),
    /// A row is no whole number of blocks.
    #[error("its rows of {cols} elements are not whole blocks of {block_size}, as type {ty} needs")]
    PartialBlock {
        /// Elements a row.
        cols: usize,
        /// The tensor's type.
        ty: GgmlType,
        /// Elements a block.
        block_size: usize,
    },
    /// The data offset does not respect the alignment.
    #[error("its offset {offset} is not a multiple of the alignment {alignment}")]
    Misaligned {
        /// Offset in the data section, in bytes.
        offset: u64,
        /// The file's alignment.
        alignment: usize,
    },
    /// The data lies outside of the file.
    #[error(
        "its offset {offset} and size {size} reach past the end of the file ({file_bytes} bytes): it is truncated"
    )]
    Outside {
        /// Offset in the data section, in bytes.
        offset: u64,
        /// Bytes of data.
        size: usize,
        /// Bytes of the file.
        file_bytes: usize,
    },
    /// Two tensors share bytes.
    #[error("its data overlaps that of tensor {0}")]
    Overlap(String),
}

impl GgufError {
    pub(super) fn field(field: &str) -> impl FnOnce(Fault) -> Self {
        move |fault| Self::Field {
            field: field.to_owned(),
            fault,
        }
    }

    pub(super) fn key(key: &str) -> impl FnOnce(Fault) -> Self {
        move |fault| Self::Key {
            key: shown(key),
            fault,
        }
    }

    pub(super) fn tensor(name: &str) -> impl FnOnce(Fault) -> Self {
        move |fault| Self::Tensor {
            name: shown(name),
            fault,
        }
    }

    pub(super) fn missing_tensor(name: &str) -> Self {
        Self::MissingTensor(shown(name))
    }
}

/// `name` quoted and escaped, cut to what a log line can bear: it comes from an untrusted file.
pub(in crate::model) fn shown(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}
