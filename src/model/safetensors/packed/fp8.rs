//! Floats of 8 bits (E4M3), scaled as a whole, by output, or by block of outputs and inputs.

use super::super::{Entry, SafetensorsFolder};
use super::floats;
use crate::model::gguf::shown;
use crate::model::{Encoding, ModelError};

/// What the other parts are called; the first two are scales of the weights, by which they are multiplied.
pub(super) const COMPANIONS: [&str; 6] = [
    ".weight_scale_inv",
    ".weight_scale",
    ".input_scale",
    ".input_scale_ub",
    ".k_scale",
    ".v_scale",
];

/// What a file has where a number is none.
const NAN: u8 = 0x7f;

/// The parts.
pub(in super::super) struct Fp8<'a> {
    weight: &'a Entry,
    scales: &'a Entry,
    /// Outputs and inputs that share a scale.
    block: [usize; 2],
}

impl SafetensorsFolder {
    pub(super) fn fp8(&self, name: &str) -> Result<Fp8<'_>, ModelError> {
        let weight = &self.tensors[name];
        let stem = name.strip_suffix(".weight").unwrap_or(name);
        let scales = self.part(name, stem, COMPANIONS[0]);
        let scales = scales.or_else(|_| self.part(name, stem, COMPANIONS[1]))?;
        let (cols, rows) = (weight.dims[0], weight.dims[1..].iter().product::<usize>());
        let num_scales: usize = scales.dims.iter().product();
        let block = match self.packing.fp8_block {
            _ if num_scales == 1 => Some([rows, cols]),
            // One for each output.
            None if num_scales == rows => Some([1, cols]),
            block => block,
        };
        let fits = |&[outputs, inputs]: &[usize; 2]| {
            num_scales == rows.div_ceil(outputs) * cols.div_ceil(inputs)
        };
        match block.filter(fits) {
            Some(block) => Ok(Fp8 {
                weight,
                scales,
                block,
            }),
            None => {
                let message = format!(
                    "is {:?} with scales {:?} (fastest dimension first), which quantization_config.weight_block_size does not explain",
                    weight.dims, scales.dims
                );
                Err(ModelError::tensor(shown(name), message))
            }
        }
    }
}

impl Fp8<'_> {
    /// Encoding and dimensions.
    pub(super) fn shape(&self) -> Result<(Encoding, Vec<usize>), String> {
        let dims = self.weight.dims.clone();
        if dims.len() != 2 || !dims[0].is_multiple_of(32) {
            return Err(format!(
                "is {dims:?}; matrices of a multiple of 32 inputs are known"
            ));
        }
        if floats(self.scales.dtype, &[]).is_none() {
            return Err(format!(
                "has scales of type {:?}; floats are known",
                self.scales.dtype
            ));
        }
        Ok((Encoding::Fp8, dims))
    }

    /// Blocks of 32 with their scale, row by row; the shape was checked.
    pub(super) fn blocks(
        &self,
        folder: &SafetensorsFolder,
        name: &str,
    ) -> Result<Vec<u8>, ModelError> {
        let values = folder.data(self.weight);
        if values.iter().any(|value| value & 0x7f == NAN) {
            return Err(ModelError::tensor(shown(name), "holds a NaN"));
        }
        let scales = floats(self.scales.dtype, folder.data(self.scales)).unwrap_or_default();
        let [outputs, inputs] = self.block;
        let cols = self.weight.dims[0];
        let scales_per_row = cols.div_ceil(inputs);
        let mut out = Vec::with_capacity(values.len() / 32 * 36);
        for (row, values) in values.chunks_exact(cols).enumerate() {
            for (b, values) in values.as_chunks::<32>().0.iter().enumerate() {
                let scale = scales[row / outputs * scales_per_row + 32 * b / inputs];
                out.extend(scale.to_le_bytes());
                out.extend(values);
            }
        }
        Ok(out)
    }
}
