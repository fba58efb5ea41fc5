//! Settings that must never be printed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use toml::Value;

/// Text that shows as `***`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// One string or a list of them. The error does not repeat what was there.
pub(super) fn one_or_many<'de, D: Deserializer<'de>, T: From<String>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    let text = |value| match value {
        Value::String(text) => Ok(T::from(text)),
        _ => Err(serde::de::Error::custom(
            "must be a string or a list of strings",
        )),
    };
    match Value::deserialize(deserializer)? {
        Value::Array(list) => list.into_iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}
