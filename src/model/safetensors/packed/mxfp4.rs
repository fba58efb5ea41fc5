//! MXFP4 (gpt-oss): blocks `[.., K / 32, 16]` of two elements a byte, and exponents `[.., K / 32]`.

use ::safetensors::tensor::Dtype;

use super::super::{Entry, SafetensorsFolder};
use crate::model::gguf::GgmlType;
use crate::model::{Encoding, ModelError};

/// What the names of such tensors end with.
pub(in super::super) const BLOCKS: &str = "_blocks";
pub(super) const SCALES: &str = "_scales";

/// The parts.
pub(in super::super) struct Mxfp4<'a> {
    blocks: &'a Entry,
    scales: &'a Entry,
}

impl SafetensorsFolder {
    pub(super) fn mxfp4(&self, name: &str) -> Result<Mxfp4<'_>, ModelError> {
        let stem = name.strip_suffix(BLOCKS).unwrap_or(name);
        Ok(Mxfp4 {
            blocks: self.part(name, stem, BLOCKS)?,
            scales: self.part(name, stem, SCALES)?,
        })
    }
}

impl<'f> Mxfp4<'f> {
    /// Encoding and dimensions.
    pub(super) fn shape(&self) -> Result<(Encoding, Vec<usize>), String> {
        let (blocks, scales) = (&self.blocks.dims, &self.scales.dims);
        let mut parts = [self.blocks, self.scales].into_iter();
        if !parts.all(|part| part.dtype == Dtype::U8)
            || blocks[0] != 16
            || blocks[1..] != scales[..]
        {
            return Err(format!(
                "is {blocks:?} with scales {scales:?} (fastest dimension first); bytes of [16, n, ..] and [n, ..] are known"
            ));
        }
        let mut dims = scales.clone();
        dims[0] *= 32;
        Ok((Encoding::Ggml(GgmlType::Mxfp4), dims))
    }

    /// Blocks and scales.
    pub(in super::super) fn data(&self, folder: &'f SafetensorsFolder) -> (&'f [u8], &'f [u8]) {
        (folder.data(self.blocks), folder.data(self.scales))
    }
}

/// GGUF's blocks: the exponent first, and elements `j` and `j + 16` in a byte, where the file has neighbours in one.
pub(in super::super) fn ggml_blocks(blocks: &[u8], scales: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(blocks.len() + scales.len());
    for (block, &scale) in blocks.as_chunks::<16>().0.iter().zip(scales) {
        let element = |i: usize| block[i / 2] >> (i % 2 * 4) & 15;
        out.push(scale);
        out.extend((0..16).map(|j| element(j) | element(j + 16) << 4));
    }
    out
}
