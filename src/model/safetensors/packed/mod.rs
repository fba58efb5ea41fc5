//! Tensors whose elements are packed into several of a file, or are scaled by another: made into blocks as they are read.

mod fp8;
mod int4;
mod mxfp4;

use std::borrow::Cow;

use ::safetensors::tensor::Dtype;
use half::{bf16, f16};

use super::{Entry, SafetensorsFolder};
use crate::backend::cpu::Cpu;
use crate::model::ModelError;
use crate::model::gguf::shown;
use crate::model::source::{Tensor, TensorShape};

pub(super) use mxfp4::{BLOCKS, Mxfp4, ggml_blocks};

/// What the quants of AWQ and GPTQ are called, in the place of `.weight`.
pub(super) const QUANTS: &str = ".qweight";

/// The parts of a tensor.
pub(super) enum Packed<'a> {
    Mxfp4(Mxfp4<'a>),
    Int4(int4::Int4<'a>),
    Fp8(fp8::Fp8<'a>),
}

impl SafetensorsFolder {
    /// The parts of the tensor whose first the file calls `name`, if it has several.
    pub(super) fn packed(
        &self,
        name: &str,
        entry: &Entry,
    ) -> Option<Result<Packed<'_>, ModelError>> {
        if name.ends_with(BLOCKS) {
            return Some(self.mxfp4(name).map(Packed::Mxfp4));
        }
        if name.ends_with(QUANTS) {
            return Some(self.int4(name).map(Packed::Int4));
        }
        match entry.dtype {
            Dtype::F8_E4M3 => Some(self.fp8(name).map(Packed::Fp8)),
            _ => None,
        }
    }

    /// Whether the tensor is a further part of another. Scales of activations and of cached keys and values are none that anything
    /// here is rounded with.
    pub(super) fn is_companion(&self, name: &str) -> bool {
        let is_part_of = |suffix: &str, first: &str| {
            let stem = name.strip_suffix(suffix);
            stem.is_some_and(|stem| self.tensors.contains_key(format!("{stem}{first}").as_str()))
        };
        is_part_of(mxfp4::SCALES, BLOCKS)
            || int4::COMPANIONS.iter().any(|part| is_part_of(part, QUANTS))
            || fp8::COMPANIONS
                .iter()
                .any(|part| is_part_of(part, ".weight"))
    }

    /// The tensor that the file calls `name`.
    pub(super) fn read<'a>(
        &'a self,
        name: &'a str,
        entry: &Entry,
        cpu: &Cpu,
    ) -> Result<Tensor<'a>, ModelError> {
        let shape = self.shape_of(name, entry)?;
        let pages = self.data(entry);
        let data = match self.packed(name, entry).transpose()? {
            Some(Packed::Mxfp4(parts)) => {
                let (blocks, scales) = parts.data(self);
                Cow::Owned(ggml_blocks(blocks, scales))
            }
            Some(Packed::Int4(parts)) => Cow::Owned(parts.blocks(self, cpu)),
            Some(Packed::Fp8(parts)) => Cow::Owned(parts.blocks(self, name)?),
            None => Cow::Borrowed(pages),
        };
        Ok(Tensor { shape, data, pages })
    }

    /// The tensor `{stem}{suffix}`, which `name` cannot be without.
    fn part(&self, name: &str, stem: &str, suffix: &str) -> Result<&Entry, ModelError> {
        let part = format!("{stem}{suffix}");
        self.tensors.get(part.as_str()).ok_or_else(|| {
            let message = format!("is packed, but {} is missing", shown(&part));
            ModelError::tensor(shown(name), message)
        })
    }
}

impl Packed<'_> {
    pub(super) fn shape<'a>(&self, name: &'a str) -> Result<TensorShape<'a>, ModelError> {
        let (encoding, dims) = match self {
            Self::Mxfp4(parts) => parts.shape(),
            Self::Int4(parts) => parts.shape(),
            Self::Fp8(parts) => parts.shape(),
        }
        .map_err(|message| ModelError::tensor(shown(name), message))?;
        Ok(TensorShape {
            name,
            encoding,
            dims,
        })
    }
}

/// The values of a tensor of floats; `None` if it has another type.
pub(in crate::model) fn floats(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    let twos = || data.as_chunks::<2>().0.iter();
    Some(match dtype {
        Dtype::F32 => {
            let fours = data.as_chunks::<4>().0.iter();
            fours.map(|&bytes| f32::from_le_bytes(bytes)).collect()
        }
        Dtype::F16 => twos()
            .map(|&bytes| f16::from_le_bytes(bytes).to_f32())
            .collect(),
        Dtype::BF16 => twos()
            .map(|&bytes| bf16::from_le_bytes(bytes).to_f32())
            .collect(),
        _ => return None,
    })
}
