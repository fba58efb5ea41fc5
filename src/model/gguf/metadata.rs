//! Metadata: typed values by key, decoded from the file's bytes when they are asked for.
//!
//! Parsing walks every value once to validate it and keeps only key, type and position, so that a vocabulary of
//! 150,000 strings costs nothing until a tokenizer borrows it.

use std::fmt;

use super::error::{Fault, GgufError, shown};
use super::reader::Reader;
use super::value::{Value, ValueType};

/// The shortest entry: length of an empty key, value type, one byte of value.
pub(super) const MIN_ENTRY_BYTES: usize = 8 + 4 + 1;
const DEFAULT_ALIGNMENT: usize = 32;

/// A metadata entry: where to decode its value. Sorted by key in [`super::Gguf`].
#[derive(Debug)]
pub(super) struct Entry {
    key: Box<str>,
    ty: ValueType,
    at: usize,
    /// Where the value ends.
    end: usize,
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
        Value::read(reader, ty).map_err(GgufError::key(key))?;
        entries.push(Entry {
            key: key.into(),
            ty,
            at,
            end: reader.at(),
        });
    }
    entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
        Some(pair) => Err(GgufError::key(&pair[0].key)(Fault::Duplicate)),
        None => Ok(entries),
    }
}

/// The metadata of a file. Getters accept every width of integer or float whose value fits; `get_…` needs the key,
/// `opt_…` gives `None` without it. A value of another type is an error that names the key.
#[derive(Clone, Copy)]
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
    /// All entries, sorted by key: the key, and the bytes of value type and value as they stand in the file.
    pub(in crate::model) fn raw_entries(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        // The type's four bytes stand before the value.
        let bytes = move |entry: &Entry| &self.bytes[entry.at - 4..entry.end];
        self.entries
            .iter()
            .map(move |entry| (&*entry.key, bytes(entry)))
    }

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
        Value::read(&mut Reader::starting_at(self.bytes, at), ty)
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
        let mut values = Vec::with_capacity(array.len());
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

/// The keys only.
impl fmt::Debug for Metadata<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys()).finish()
    }
}
