//! Metadata values: the 13 value types, read from the file's bytes and borrowing from them.

use super::error::{Fault, shown};
use super::reader::Reader;

/// How deep arrays may be nested; real files do not nest them at all.
const MAX_DEPTH: usize = 8;

/// One of the 13 value types of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Str,
    Array,
    U64,
    I64,
    F64,
}

impl ValueType {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
        Ok(match reader.u32()? {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Str,
            9 => Self::Array,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            other => return Err(Fault::ValueType(other)),
        })
    }

    fn min_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 | Self::Str => 8,
            Self::Array => 4 + 8,
        }
    }
}

/// A metadata value, borrowed from the file. The widths of integers and floats are not kept: they vary between
/// converters and mean nothing.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// An unsigned integer of any width.
    Unsigned(u64),
    /// A signed integer of any width.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A string.
    Str(&'a str),
    /// An array.
    Array(Array<'a>),
}

impl<'a> Value<'a> {
    /// Reads a value of type `ty`.
    pub(super) fn read(reader: &mut Reader<'a>, ty: ValueType) -> Result<Self, Fault> {
        Self::read_nested(reader, ty, 0)
    }

    fn read_nested(reader: &mut Reader<'a>, ty: ValueType, depth: usize) -> Result<Self, Fault> {
        Ok(match ty {
            ValueType::U8 => Self::Unsigned(reader.u8()?.into()),
            ValueType::I8 => Self::Signed(i8::from_le_bytes(reader.array()?).into()),
            ValueType::U16 => Self::Unsigned(u16::from_le_bytes(reader.array()?).into()),
            ValueType::I16 => Self::Signed(i16::from_le_bytes(reader.array()?).into()),
            ValueType::U32 => Self::Unsigned(reader.u32()?.into()),
            ValueType::I32 => Self::Signed(i32::from_le_bytes(reader.array()?).into()),
            ValueType::F32 => Self::Float(f32::from_le_bytes(reader.array()?).into()),
            ValueType::Bool => match reader.u8()? {
                0 => Self::Bool(false),
                1 => Self::Bool(true),
                other => return Err(Fault::Bool(other)),
            },
            ValueType::Str => Self::Str(reader.string()?),
            ValueType::Array => Self::Array(Array::read(reader, depth + 1)?),
            ValueType::U64 => Self::Unsigned(reader.u64()?),
            ValueType::I64 => Self::Signed(i64::from_le_bytes(reader.array()?)),
            ValueType::F64 => Self::Float(f64::from_le_bytes(reader.array()?)),
        })
    }

    /// What an error message calls it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Unsigned(n) => format!("the integer {n}"),
            Self::Signed(n) => format!("the integer {n}"),
            Self::Float(x) => format!("the float {x}"),
            Self::Bool(b) => format!("the boolean {b}"),
            Self::Str(s) => format!("the string {}", shown(s)),
            Self::Array(array) => format!("an array of {} values", array.len),
        }
    }
}

/// An array of metadata values of one type, borrowed from the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<'a> {
    ty: ValueType,
    len: usize,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    fn read(reader: &mut Reader<'a>, depth: usize) -> Result<Self, Fault> {
        if depth > MAX_DEPTH {
            return Err(Fault::Depth(MAX_DEPTH));
        }
        let ty = ValueType::read(reader)?;
        let len = reader.u64()?;
        let len = reader.count(len, ty.min_bytes(), 0)?;
        let start = reader.at();
        match ty {
            ValueType::Bool | ValueType::Str | ValueType::Array => {
                for _ in 0..len {
                    Value::read_nested(reader, ty, depth)?;
                }
            }
            // Any bits are a number: nothing to look at.
            _ => {
                reader.take((len * ty.min_bytes()) as u64)?;
            }
        }
        Ok(Self {
            ty,
            len,
            bytes: reader.since(start),
        })
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values in order. An error is possible only if the file was changed after it had been opened.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, Fault>> {
        let mut reader = Reader::new(self.bytes);
        let ty = self.ty;
        (0..self.len).map(move |_| Value::read(&mut reader, ty))
    }
}
