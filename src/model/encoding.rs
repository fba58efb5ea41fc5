//! How the elements of a tensor are encoded, whatever the files are.

use super::gguf::{BlockLayout, GgmlType, dequantise};
use crate::backend::cpu::Cpu;
use crate::ops::{PackedWeight, WeightFormat};

/// ggml's types, and those that blocks are made of when safetensors files are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As in GGUF files; also the plain floats of safetensors.
    Ggml(GgmlType),
    /// Integers of 4 bits (AWQ, GPTQ): [`WeightFormat::Int4`].
    Int4,
    /// Floats of 8 bits: [`WeightFormat::Fp8`].
    Fp8,
}

impl Encoding {
    /// The format in which the kernels keep such weights; `None` if they are dequantised to float32.
    pub fn weight_format(self) -> Option<WeightFormat> {
        match self {
            Self::Ggml(ty) => ty.weight_format(),
            Self::Int4 => Some(WeightFormat::Int4),
            Self::Fp8 => Some(WeightFormat::Fp8),
        }
    }

    /// Whether elements are plain floats of at least 16 bits.
    pub fn is_float(self) -> bool {
        use GgmlType::{BF16, F16, F32, F64};
        matches!(self, Self::Ggml(F32 | F16 | BF16 | F64))
    }

    /// How elements are packed.
    pub(super) fn layout(self) -> BlockLayout {
        let layout = |block_size, block_bytes| BlockLayout {
            block_size,
            block_bytes,
        };
        match self {
            Self::Ggml(ty) => ty
                .layout()
                .expect("a tensor of an unsupported type was read: this is a bug"),
            Self::Int4 => layout(32, 19),
            Self::Fp8 => layout(32, 36),
        }
    }

    /// Bytes of a row of `cols` elements, a whole number of blocks.
    pub(super) fn row_bytes(self, cols: usize) -> usize {
        let layout = self.layout();
        cols / layout.block_size * layout.block_bytes
    }

    /// The values of `[rows, cols]` elements.
    ///
    /// # Errors
    /// A text: the bytes are not what so many elements take.
    pub(super) fn dequantised(
        self,
        rows: usize,
        cols: usize,
        data: &[u8],
        cpu: &Cpu,
    ) -> Result<Vec<f32>, String> {
        let mut values = vec![0.0; rows * cols];
        let format = match self {
            Self::Ggml(ty) => {
                dequantise(ty, data, &mut values).map_err(|error| error.to_string())?;
                return Ok(values);
            }
            Self::Int4 => WeightFormat::Int4,
            Self::Fp8 => WeightFormat::Fp8,
        };
        let packed = PackedWeight::new(format, rows, cols, data, cpu);
        let packed = packed.map_err(|error| error.to_string())?;
        for (row, values) in values.chunks_exact_mut(cols).enumerate() {
            let read = packed.dequantise_row(row, values);
            read.map_err(|error| error.to_string())?;
        }
        Ok(values)
    }
}
