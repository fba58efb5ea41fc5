//! A model on disk, in either of its forms.

use std::path::Path;

use super::config::HfConfig;
use super::gguf::{GgufFile, Metadata};
use super::safetensors::SafetensorsFolder;
use super::source::TensorSource;
use super::{ModelConfig, ModelError};

/// A GGUF file, or a folder with config.json and safetensors.
pub enum Checkpoint {
    /// With its tokenizer and chat template in the metadata.
    Gguf(GgufFile),
    /// With its tokenizer and chat template in files beside it.
    Folder(SafetensorsFolder),
}

impl Checkpoint {
    /// Opens what is at `path`, a folder or a file, and reads what it is a model of.
    ///
    /// # Errors
    /// Each names the file, key or tensor at fault.
    pub fn open(path: &Path) -> Result<(Self, ModelConfig), ModelError> {
        if path.is_dir() {
            let config = HfConfig::read(&path.join("config.json"))?;
            let tensors = SafetensorsFolder::open(path, config.has_tied_head, config.packing)?;
            return Ok((Self::Folder(tensors), config.model));
        }
        let file = GgufFile::open(path)?;
        let config = ModelConfig::from_gguf(file.metadata())?;
        Ok((Self::Gguf(file), config))
    }

    /// Its tensors.
    pub fn tensors(&self) -> &dyn TensorSource {
        match self {
            Self::Gguf(file) => file,
            Self::Folder(folder) => folder,
        }
    }

    /// What a GGUF file says besides.
    pub fn metadata(&self) -> Option<Metadata<'_>> {
        match self {
            Self::Gguf(file) => Some(file.metadata()),
            Self::Folder(_) => None,
        }
    }
}

/// What a config.json or a .gguf file is a model of, and whether its LM head is the embedding; weights are not read.
///
/// # Errors
/// Each names the file or key at fault.
pub fn read_config(path: &Path) -> Result<(ModelConfig, bool), ModelError> {
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let config = HfConfig::read(path)?;
        return Ok((config.model, config.has_tied_head));
    }
    let file = GgufFile::open(path)?;
    let config = ModelConfig::from_gguf(file.metadata())?;
    Ok((config, !file.has_tensor("output.weight")))
}
