//! Why a student could not be made.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::ModelError;

/// Each names what is at fault.
#[derive(Debug, thiserror::Error)]
pub enum DistillError {
    /// The teacher.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Computing.
    #[error("training: {0}")]
    Compute(#[from] candle_core::Error),
    /// A file of the output.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
}

impl DistillError {
    pub(super) fn file(path: &Path, message: impl ToString) -> Self {
        Self::File {
            path: path.to_owned(),
            message: message.to_string(),
        }
    }

    pub(super) fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::file(path, error)
    }
}
