//! Why a model could not be loaded.

use std::path::{Path, PathBuf};

use super::gguf::GgufError;

/// Each names the key or tensor at fault.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file itself is broken, or a key or tensor is missing.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A file of a model's folder cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of a model's folder is broken.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        message: String,
    },
    /// A key holds something this decoder does not do.
    #[error("{key}: {message}")]
    Config {
        /// The key, of a GGUF file's metadata or of config.json.
        key: String,
        /// What is wrong and what would do.
        message: String,
    },
    /// A tensor has a shape the configuration contradicts, or one nobody expects.
    #[error("tensor {name}: {message}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// Buffers or tables could not be made.
    #[error("model buffers: {0}")]
    Buffers(#[from] candle_core::Error),
}

impl ModelError {
    pub(super) fn open(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Open {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn file(path: &Path, message: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            message: message.into(),
        }
    }

    pub(super) fn config(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config {
            key: key.into(),
            message: message.into(),
        }
    }

    pub(super) fn tensor(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Tensor {
            name: name.into(),
            message: message.into(),
        }
    }
}
