//! Why a model could not be loaded.

use super::gguf::GgufError;

/// Each names the key or tensor at fault.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file itself is broken, or a key or tensor is missing.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// A key holds something this decoder does not do.
    #[error("{key}: {message}")]
    Config {
        /// The metadata key.
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
