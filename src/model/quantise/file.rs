//! Writing a model's tensors, quantised, as a GGUF file.

use std::borrow::Cow;
use std::io;
use std::path::Path;

use super::{Mix, encode_tensor};
use crate::backend::cpu::Cpu;
use crate::model::gguf::{GgmlType, Metadata, NewTensor, raw, shown, write};
use crate::model::source::Tensor;
use crate::model::{Encoding, Importance, ModelError, Quantisation, TensorSource};

/// A metadata entry: the key, and the value as it stands in a file, its type first.
pub type RawEntry<'a> = (Cow<'a, str>, Cow<'a, [u8]>);

/// What is written.
pub struct QuantiseJob<'a> {
    /// The tensors.
    pub source: &'a dyn TensorSource,
    /// All metadata but what says how weights are encoded.
    pub entries: Vec<RawEntry<'a>>,
    /// Which tensor gets which type.
    pub mix: Mix,
    /// What the weights meet.
    pub importance: Option<&'a Importance>,
    /// Where it is computed.
    pub cpu: &'a Cpu,
}

/// Why a model could not be quantised.
#[derive(Debug, thiserror::Error)]
pub enum QuantiseError {
    /// The model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The file to write.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The metadata of a GGUF file, for [`QuantiseJob::entries`].
pub fn entries_of(metadata: Metadata<'_>) -> Vec<RawEntry<'_>> {
    let of_encoding = [
        "general.file_type",
        "general.quantization_version",
        "general.alignment",
    ];
    let entries = metadata.raw_entries();
    let kept = entries.filter(|(key, _)| !of_encoding.contains(key));
    kept.map(|(key, value)| (key.into(), value.into()))
        .collect()
}

impl QuantiseJob<'_> {
    /// Writes the file; `progress` is told which tensor is next, of how many. A file that could not be written whole is not there.
    ///
    /// # Errors
    /// The tensor at fault, or what the system says of the file.
    pub fn write(
        &self,
        path: &Path,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<(), QuantiseError> {
        let mut entries = self.entries.clone();
        entries.push((
            "general.file_type".into(),
            raw::u32(self.file_type()).into(),
        ));
        entries.push(("general.quantization_version".into(), raw::u32(2).into()));
        let mut tensors = Vec::new();
        for shape in self.source.shapes() {
            let shape = shape?;
            let Encoding::Ggml(own) = shape.encoding else {
                let message = "is of an encoding that GGUF files do not have";
                return Err(ModelError::tensor(shown(shape.name), message).into());
            };
            tensors.push(NewTensor {
                ty: self.mix.type_of(shape.name, &shape.dims).unwrap_or(own),
                name: shape.name.to_owned(),
                dims: shape.dims,
            });
        }
        write(path, &entries, &tensors, |i| {
            progress(i, tensors.len());
            self.data(&tensors[i])
        })
    }

    /// llama.cpp's number of the mix.
    fn file_type(&self) -> u32 {
        match self.mix.target {
            Quantisation::Q4_0 => 2,
            Quantisation::Q8_0 => 7,
            Quantisation::Q4K => 15,
        }
    }

    fn data(&self, new: &NewTensor) -> Result<Vec<u8>, QuantiseError> {
        if !new.name.contains("_exps.") {
            let tensor = self.source.tensor(&new.name, self.cpu)?;
            return Ok(self.encoded(&tensor, new, 0)?.into_owned());
        }
        let mut data = Vec::new();
        for expert in 0..new.dims.last().copied().unwrap_or(0) {
            let tensor = self.source.expert(&new.name, expert, self.cpu)?;
            data.extend_from_slice(&self.encoded(&tensor, new, expert)?);
        }
        Ok(data)
    }

    fn encoded<'t>(
        &self,
        tensor: &'t Tensor<'_>,
        new: &NewTensor,
        expert: usize,
    ) -> Result<Cow<'t, [u8]>, ModelError> {
        if tensor.shape.encoding == Encoding::Ggml(new.ty) {
            return Ok(Cow::Borrowed(&tensor.data));
        }
        if new.ty == GgmlType::F32 {
            let values = tensor.dequantised(self.cpu)?.into_iter();
            return Ok(Cow::Owned(values.flat_map(f32::to_le_bytes).collect()));
        }
        let stem = new.name.strip_suffix(".weight").unwrap_or(&new.name);
        let importance = self.importance.and_then(|all| all.of(stem, expert));
        let data = encode_tensor(tensor, new.ty, importance.as_deref(), self.source, self.cpu)?;
        self.source.release(tensor.pages);
        Ok(Cow::Owned(data))
    }
}
