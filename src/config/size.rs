//! Amounts of memory as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes: `512MiB`, `2GiB`, `80GB`, or plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "String")]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u64); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
];

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (number, unit) = UNITS
            .iter()
            .find_map(|&(name, unit)| Some((text.strip_suffix(name)?.trim_end(), unit)))
            .unwrap_or((text, 1));
        let bytes = number
            .parse::<f64>()
            .ok()
            .map(|number| number * unit as f64);
        match bytes {
            Some(bytes) if (0.0..=(1u64 << 53) as f64).contains(&bytes) => Ok(Self(bytes as u64)),
            _ => Err(format!(
                "{text:?} is not an amount of memory; write 512MiB, 2GiB or 80GB"
            )),
        }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS[..4].iter().rev().find(|&&(_, unit)| self.0 >= unit) {
            Some(&(name, unit)) if self.0.is_multiple_of(unit) => {
                write!(f, "{}{name}", self.0 / unit)
            }
            Some(&(name, unit)) => write!(f, "{:.1}{name}", self.0 as f64 / unit as f64),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A size in a file: text, or a plain number of bytes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Bytes(u64),
    Text(String),
}

impl TryFrom<Written> for ByteSize {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match written {
            Written::Bytes(bytes) => Ok(Self(bytes)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        format!("{}B", size.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("512MiB", 512 << 20),
            ("2 GiB", 2 << 30),
            ("80GB", 80_000_000_000),
            ("1.5KiB", 1536),
            ("7", 7),
            ("9B", 9),
        ] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "GiB", "-1GiB", "1 potato", "NaN", "1e40TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_size_survives_a_round_trip() {
        for bytes in [0, 1, 1536, 512 << 20, (2 << 30) + 1] {
            assert_eq!(String::from(ByteSize(bytes)).parse(), Ok(ByteSize(bytes)));
        }
        assert_eq!(ByteSize(512 << 20).to_string(), "512MiB");
        assert_eq!(ByteSize(1_600_000).to_string(), "1.5MiB");
    }
}
