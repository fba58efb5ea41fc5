//! Tensors whose elements are packed into several of a file.

use std::borrow::Cow;

use ::safetensors::tensor::Dtype;

use super::{Entry, SafetensorsFolder};
use crate::model::ModelError;
use crate::model::gguf::{GgmlType, shown};
use crate::model::source::{Tensor, TensorShape};

/// What MXFP4 tensors end with: two elements a byte, and the exponents of 32.
pub(super) const BLOCKS: &str = "_blocks";
const SCALES: &str = "_scales";

/// MXFP4: blocks `[.., K / 32, 16]` and scales `[.., K / 32]`, both of bytes.
pub(super) struct Packed<'a> {
    blocks: &'a Entry,
    scales: &'a Entry,
}

impl SafetensorsFolder {
    /// The parts of the tensor whose first the file calls `name`, if it has several.
    pub(super) fn packed(&self, name: &str) -> Option<Packed<'_>> {
        let stem = name.strip_suffix(BLOCKS)?;
        let (_, blocks) = self.get(name)?;
        let (_, scales) = self.get(&format!("{stem}{SCALES}"))?;
        Some(Packed { blocks, scales })
    }

    /// Whether the tensor is a further part of another.
    pub(super) fn is_companion(&self, name: &str) -> bool {
        let stem = name.strip_suffix(SCALES);
        stem.is_some_and(|stem| self.get(&format!("{stem}{BLOCKS}")).is_some())
    }

    /// The tensor that the file calls `name`.
    pub(super) fn read<'a>(
        &'a self,
        name: &'a str,
        entry: &Entry,
    ) -> Result<Tensor<'a>, ModelError> {
        let shape = self.shape_of(name, entry)?;
        let pages = self.data(entry);
        let data = match self.packed(name) {
            Some(packed) => {
                let (blocks, scales) = packed.data(self);
                Cow::Owned(ggml_blocks(blocks, scales))
            }
            None => Cow::Borrowed(pages),
        };
        Ok(Tensor { shape, data, pages })
    }
}

impl<'f> Packed<'f> {
    /// Blocks and scales.
    pub(super) fn data(&self, folder: &'f SafetensorsFolder) -> (&'f [u8], &'f [u8]) {
        (folder.data(self.blocks), folder.data(self.scales))
    }

    pub(super) fn shape<'a>(&self, name: &'a str) -> Result<TensorShape<'a>, ModelError> {
        let (blocks, scales) = (&self.blocks.dims, &self.scales.dims);
        let are_bytes = [self.blocks, self.scales]
            .iter()
            .all(|part| part.dtype == Dtype::U8);
        if !are_bytes || blocks[0] != 16 || blocks[1..] != scales[..] {
            let message = format!(
                "is {blocks:?} with scales {scales:?} (fastest dimension first); bytes of [16, n, ..] and [n, ..] are known"
            );
            return Err(ModelError::tensor(shown(name), message));
        }
        let mut dims = scales.clone();
        dims[0] *= 32;
        Ok(TensorShape {
            name,
            ty: GgmlType::Mxfp4,
            dims,
        })
    }
}

/// GGUF's blocks: the exponent first, and elements `j` and `j + 16` in a byte, where the file has neighbours in one.
pub(super) fn ggml_blocks(blocks: &[u8], scales: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(blocks.len() + scales.len());
    for (block, &scale) in blocks.as_chunks::<16>().0.iter().zip(scales) {
        let element = |i: usize| block[i / 2] >> (i % 2 * 4) & 15;
        out.push(scale);
        out.extend((0..16).map(|j| element(j) | element(j + 16) << 4));
    }
    out
}
