//! What is wrong with settings.

use std::path::PathBuf;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not TOML, or a value has the wrong type.
    #[error("{0}")]
    Toml(String),
    /// A key nobody knows.
    #[error("{section}: unknown key {key:?}{hint}")]
    UnknownKey {
        /// The table.
        section: &'static str,
        /// The key.
        key: String,
        /// The nearest known one.
        hint: String,
    },
    /// A setting whose value does not do.
    #[error("{name}: {message}")]
    Value {
        /// The setting, as the file spells it.
        name: &'static str,
        /// What is wrong and what would do.
        message: String,
    },
    /// A setting of a model that is not the first, or of a tenant.
    #[error("{of}: {error}")]
    Of {
        /// Which.
        of: String,
        /// What is wrong.
        error: Box<ConfigError>,
    },
}

impl ConfigError {
    pub(super) fn value(name: &'static str, message: impl Into<String>) -> Self {
        Self::Value {
            name,
            message: message.into(),
        }
    }

    /// The same, said of a model or a tenant.
    pub(super) fn of(self, of: impl Into<String>) -> Self {
        Self::Of {
            of: of.into(),
            error: Box::new(self),
        }
    }

    /// A key that is none of `known`.
    pub(super) fn unknown_key<'a>(
        section: &'static str,
        key: &str,
        known: impl Iterator<Item = &'a str>,
    ) -> Self {
        let likeness = |name: &str| strsim::jaro_winkler(name, key);
        let nearest = known.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        Self::UnknownKey {
            section,
            key: key.to_owned(),
            hint: nearest
                .map(|name| format!("; the nearest known one is {name}"))
                .unwrap_or_default(),
        }
    }
}
