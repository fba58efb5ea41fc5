//! Keys as they are typed.

use std::fmt;

use super::ConfigError;

/// An API key and whose it is. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedKey {
    /// Whose it is, in logs.
    pub name: String,
    /// The key.
    pub key: String,
}

impl fmt::Debug for NamedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=***", self.name)
    }
}

impl NamedKey {
    /// Key `i`, given as `KEY`, `NAME=KEY`, `env:VARIABLE` or `NAME=env:VARIABLE`. What follows the name must be more than
    /// `=`, so that the padding of a base64 key does not make the key a name.
    pub(super) fn parse(i: usize, text: &str) -> Result<Self, ConfigError> {
        let numbered = format!("key-{}", i + 1);
        let named = text.split_once('=').filter(|(name, key)| {
            !name.is_empty() && !name.starts_with("env:") && !key.trim_matches('=').is_empty()
        });
        let (name, key) = named.unwrap_or((&numbered, text));
        Self::of_called(name, key, &numbered)
    }

    /// A key of `name`, given as `KEY` or `env:VARIABLE`.
    pub(super) fn of(name: &str, key: &str) -> Result<Self, ConfigError> {
        Self::of_called(name, key, &format!("a key of {name:?}"))
    }

    fn of_called(name: &str, key: &str, called: &str) -> Result<Self, ConfigError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.len() > 64 || !name.chars().all(is_plain) {
            let message = format!(
                "the name of {called} must be up to 64 letters, digits, '.', '_' or '-'; a key with '=' in it needs one: NAME=KEY"
            );
            return Err(ConfigError::value("api_key", message));
        }
        let key = match key.strip_prefix("env:") {
            None => key.to_owned(),
            Some(variable) => std::env::var(variable).map_err(|_| {
                let message = format!("the environment variable {variable} is not set");
                ConfigError::value("api_key", message)
            })?,
        };
        // Headers are compared trimmed, and variables often end in a newline.
        let key = key.trim();
        if key.is_empty() {
            return Err(ConfigError::value("api_key", format!("{called} is empty")));
        }
        Ok(Self {
            name: name.to_owned(),
            key: key.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_padding_of_a_key_is_part_of_the_key() {
        for (text, name, key) in [
            ("c2VjcmV0==", "key-1", "c2VjcmV0=="),
            ("c2VjcmV0=", "key-1", "c2VjcmV0="),
            ("team=c2VjcmV0==", "team", "c2VjcmV0=="),
        ] {
            let parsed = NamedKey::parse(0, text).unwrap();
            assert_eq!((parsed.name.as_str(), parsed.key.as_str()), (name, key));
        }
        let error = NamedKey::parse(0, "c2Vj+cmV0=x").unwrap_err().to_string();
        assert!(!error.contains("c2Vj"), "{error}");
    }
}
