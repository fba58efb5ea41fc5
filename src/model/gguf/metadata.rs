//! Metadata: typed values by key, decoded from the file's bytes when they are asked for.
//!
//! Parsing walks every value once to validate it and keeps only key, type and position, so that a vocabulary of
//! 150,000 strings costs nothing until a tokenizer borrows it.

use super::error::{Fault, GgufError, shown};
use super::reader::Reader;

/// The shortest entry: length of an empty key, value type, one byte of value.
pub(super) const MIN_ENTRY_BYTES: usize = 8 + 4 + 1;
/// How deep arrays may be nested; real files do not nest them at all.
const MAX_DEPTH: usize = 8;
const DEFAULT_ALIGNMENT: usize = 32;

/// A metadata entry: where to decode its value. Sorted by key in [`super::Gguf`].
#[derive(Debug)]
pub(super) struct Entry {
    key: Box<str>,
    ty: ValueType,
    at: usize,
}

/// Reads and validates `count` entries; returns them sorted by key.
pub(super) fn read_entries(reader: &mut Reader<'_>, count: usize) -> Result<Vec<Entry>, GgufError> {
    let mut entries = Vec::with_capacity(count);
    for idx in 0..count {
        let key = reader.string().map_err(|fault| GgufError::Field {
            field: format!("key of metadata entry {idx}"),
            fault,
        })?;
        let ty = ValueType::read(reader).map_err(GgufError::key(key))?;
        let at = reader.at();
        Value::read(reader, ty, 0).map_err(GgufError::key(key))?;
        entries.push(Entry {
            key: key.into(),
            ty,
            at,
        });
    }
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
        Some(pair) => Err(GgufError::key(&pair[0].key)(Fault::Duplicate)),
        None => Ok(entries),
    }
}

/// One of the 13 value types of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueType {
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
    fn read(reader: &mut Reader<'_>) -> Result<Self, Fault> {
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
    fn read(reader: &mut Reader<'a>, ty: ValueType, depth: usize) -> Result<Self, Fault> {
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
    fn describe(&self) -> String {
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
                    Value::read(reader, ty, depth)?;
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
        (0..self.len).map(move |_| Value::read(&mut reader, ty, 0))
    }
}

/// The metadata of a file. Getters accept every width of integer or float whose value fits; `get_…` needs the key,
/// `opt_…` gives `None` without it. A value of another type is an error that names the key.
#[derive(Debug, Clone, Copy)]
pub struct Metadata<'a> {
    bytes: &'a [u8],
    entries: &'a [Entry],
}

/// The conversion of a value to what a getter returns; `None` if it is of another type or does not fit.
trait FromValue<'a>: Sized {
    fn from_value(value: &Value<'a>) -> Option<Self>;
}

macro_rules! from_integer {
    ($($int:ty),+) => {$(
        impl FromValue<'_> for $int {
            fn from_value(value: &Value<'_>) -> Option<Self> {
                match *value {
                    Value::Unsigned(n) => n.try_into().ok(),
                    Value::Signed(n) => n.try_into().ok(),
                    _ => None,
                }
            }
        }
    )+};
}
from_integer!(u32, u64, i32);

impl FromValue<'_> for f32 {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        match *value {
            Value::Float(x) => Some(x as f32),
            _ => None,
        }
    }
}

impl FromValue<'_> for bool {
    fn from_value(value: &Value<'_>) -> Option<Self> {
        match *value {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    fn from_value(value: &Value<'a>) -> Option<Self> {
        match *value {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
}

macro_rules! getters {
    ($($name:literal, $get:ident, $opt:ident, $read:ident -> $ty:ty, $want:literal;)+) => {$(
        #[doc = concat!("The value of `key` as ", $name, ".\n\n# Errors\nThe key is missing, or is not ", $want, ".")]
        pub fn $get(&self, key: &str) -> Result<$ty, GgufError> {
            self.$opt(key)?.ok_or_else(|| GgufError::MissingKey(shown(key)))
        }

        #[doc = concat!("The value of `key` as ", $name, ", `None` without the key.\n\n# Errors\nIt is not ", $want, ".")]
        pub fn $opt(&self, key: &str) -> Result<Option<$ty>, GgufError> {
            self.$read(key, $want)
        }
    )+};
}

impl<'a> Metadata<'a> {
    pub(super) fn new(bytes: &'a [u8], entries: &'a [Entry]) -> Self {
        Self { bytes, entries }
    }

    getters! {
        "a `u32`", get_u32, opt_u32, scalar -> u32, "an integer that fits 32 bits unsigned";
        "a `u64`", get_u64, opt_u64, scalar -> u64, "an integer that fits 64 bits unsigned";
        "an `f32`", get_f32, opt_f32, scalar -> f32, "a float";
        "a `bool`", get_bool, opt_bool, scalar -> bool, "a boolean";
        "a string", get_str, opt_str, scalar -> &'a str, "a string";
        "strings, borrowed", get_str_array, opt_str_array, array -> Vec<&'a str>, "an array of strings";
        "`i32`s", get_i32_array, opt_i32_array, array -> Vec<i32>, "an array of integers that fit 32 bits signed";
        "`f32`s", get_f32_array, opt_f32_array, array -> Vec<f32>, "an array of floats";
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &'a str> {
        self.entries.iter().map(|entry| &*entry.key)
    }

    /// The value of `key` whatever its type, `None` without the key.
    ///
    /// # Errors
    /// Only if the file was changed after it had been opened.
    pub fn value(&self, key: &str) -> Result<Option<Value<'a>>, GgufError> {
        let Ok(idx) = self.entries.binary_search_by(|entry| (*entry.key).cmp(key)) else {
            return Ok(None);
        };
        let Entry { ty, at, .. } = self.entries[idx];
        Value::read(&mut Reader::starting_at(self.bytes, at), ty, 0)
            .map(Some)
            .map_err(GgufError::key(key))
    }

    /// The alignment of tensor data: `general.alignment`, 32 without it.
    pub(super) fn alignment(&self) -> Result<usize, GgufError> {
        const KEY: &str = "general.alignment";
        let Some(alignment) = self.opt_u64(KEY)? else {
            return Ok(DEFAULT_ALIGNMENT);
        };
        let valid = u32::try_from(alignment)
            .ok()
            .filter(|a| a.is_power_of_two() && *a < 1 << 31);
        valid
            .map(|a| a as usize)
            .ok_or_else(|| GgufError::key(KEY)(Fault::Alignment(alignment)))
    }

    fn scalar<T: FromValue<'a>>(
        &self,
        key: &str,
        want: &'static str,
    ) -> Result<Option<T>, GgufError> {
        let Some(value) = self.value(key)? else {
            return Ok(None);
        };
        T::from_value(&value)
            .map(Some)
            .ok_or_else(|| GgufError::KeyType {
                key: shown(key),
                want,
                found: value.describe(),
            })
    }

    fn array<T: FromValue<'a>>(
        &self,
        key: &str,
        want: &'static str,
    ) -> Result<Option<Vec<T>>, GgufError> {
        let wrong = |found| GgufError::KeyType {
            key: shown(key),
            want,
            found,
        };
        let array = match self.value(key)? {
            None => return Ok(None),
            Some(Value::Array(array)) => array,
            Some(other) => return Err(wrong(other.describe())),
        };
        let mut values = Vec::with_capacity(array.len);
        for (idx, value) in array.iter().enumerate() {
            let value = value.map_err(GgufError::key(key))?;
            let Some(value) = T::from_value(&value) else {
                return Err(wrong(format!(
                    "an array whose element {idx} is {}",
                    value.describe()
                )));
            };
            values.push(value);
        }
        Ok(Some(values))
    }
}
