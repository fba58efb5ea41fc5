//! A model on disk, in either of its forms.

use std::path::Path;

use super::config::HfConfig;
use super::gguf::{GgufFile, Metadata};
use super::safetensors::SafetensorsFolder;
use super::source::TensorSource;
use super::{ModelConfig, ModelError};
use crate::ops::WeightFormat;

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

/// What is known of a model without reading its weights.
pub struct Outline {
    /// What it computes.
    pub config: ModelConfig,
    /// Whether the embedding is the LM head, too.
    pub has_tied_head: bool,
    /// Bytes of its repacked matrices, if they are kept in the few bits that they have already and not as floats.
    pub quantised_bytes: Option<u64>,
}

/// What a config.json or a .gguf file is a model of; weights are not read.
///
/// # Errors
/// Each names the file or key at fault.
pub fn read_outline(path: &Path) -> Result<Outline, ModelError> {
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        let HfConfig {
            model: config,
            has_tied_head,
            packing,
        } = HfConfig::read(path)?;
        let bytes = |_| config.bytes_in(has_tied_head, |name, _| packing.format_of(name));
        return Ok(Outline {
            quantised_bytes: packing.format.map(bytes),
            config,
            has_tied_head,
        });
    }
    let file = GgufFile::open(path)?;
    Ok(Outline {
        config: ModelConfig::from_gguf(file.metadata())?,
        has_tied_head: !file.has_tensor("output.weight"),
        quantised_bytes: quantised_bytes(&file)?,
    })
}

fn quantised_bytes(file: &GgufFile) -> Result<Option<u64>, ModelError> {
    let (mut bytes, mut is_quantised) = (0, false);
    for shape in file.shapes() {
        let shape = shape?;
        let format = shape.encoding.weight_format().unwrap_or(WeightFormat::F32);
        if shape.dims.len() > 1 {
            bytes += format.packed_bytes(shape.rows(), shape.cols()) as u64;
            is_quantised |= !shape.encoding.is_float();
        }
    }
    Ok(is_quantised.then_some(bytes))
}
