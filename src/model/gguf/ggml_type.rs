//! ggml's tensor types: ids, names, block layouts.

use std::fmt;

use crate::ops::WeightFormat;

/// How a tensor's elements are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GgmlType {
    /// IEEE single.
    F32,
    /// IEEE half.
    F16,
    /// The upper half of an IEEE single.
    BF16,
    /// IEEE double.
    F64,
    /// 4-bit quants, one scale for 32.
    Q4_0,
    /// 4-bit quants, scale and minimum for 32.
    Q4_1,
    /// 5-bit quants, one scale for 32.
    Q5_0,
    /// 5-bit quants, scale and minimum for 32.
    Q5_1,
    /// 8-bit quants, one scale for 32.
    Q8_0,
    /// 2-bit quants, 4-bit scales and minima for 16.
    Q2K,
    /// 3-bit quants, 6-bit scales for 16.
    Q3K,
    /// 4-bit quants, 6-bit scales and minima for 32.
    Q4K,
    /// 5-bit quants, 6-bit scales and minima for 32.
    Q5K,
    /// 6-bit quants, 8-bit scales for 16.
    Q6K,
    /// 4-bit indices into a table of 16 levels, one scale for 32.
    Iq4Nl,
    /// As IQ4_NL, with 6-bit scales for 32.
    Iq4Xs,
    /// 3-valued quants, five to a byte, one scale for 256.
    Tq1_0,
    /// 3-valued quants of 2 bits, one scale for 256.
    Tq2_0,
    /// Floats of 4 bits, a power of two as the scale of 32 (OCP Microscaling).
    Mxfp4,
    /// Any other type, by its id in the file; known by name at most.
    Unsupported(u32),
}

/// How a type packs elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockLayout {
    /// Elements a block.
    pub block_size: usize,
    /// Bytes a block.
    pub block_bytes: usize,
}

/// Type, id, elements a block, bytes a block (`ggml.h`, `ggml-common.h`).
const SUPPORTED: [(GgmlType, u32, usize, usize); 19] = [
    (GgmlType::F32, 0, 1, 4),
    (GgmlType::F16, 1, 1, 2),
    (GgmlType::Q4_0, 2, 32, 2 + 16),
    (GgmlType::Q4_1, 3, 32, 2 + 2 + 16),
    (GgmlType::Q5_0, 6, 32, 2 + 4 + 16),
    (GgmlType::Q5_1, 7, 32, 2 + 2 + 4 + 16),
    (GgmlType::Q8_0, 8, 32, 2 + 32),
    (GgmlType::Q2K, 10, 256, 16 + 64 + 2 + 2),
    (GgmlType::Q3K, 11, 256, 32 + 64 + 12 + 2),
    (GgmlType::Q4K, 12, 256, 2 + 2 + 12 + 128),
    (GgmlType::Q5K, 13, 256, 2 + 2 + 12 + 32 + 128),
    (GgmlType::Q6K, 14, 256, 128 + 64 + 16 + 2),
    (GgmlType::Iq4Nl, 20, 32, 2 + 16),
    (GgmlType::Iq4Xs, 23, 256, 2 + 2 + 4 + 128),
    (GgmlType::F64, 28, 1, 8),
    (GgmlType::BF16, 30, 1, 2),
    (GgmlType::Tq1_0, 34, 256, 48 + 4 + 2),
    (GgmlType::Tq2_0, 35, 256, 64 + 2),
    (GgmlType::Mxfp4, 39, 32, 1 + 16),
];

/// ggml's names by id, also of types it has removed.
const NAMES: [&str; 42] = [
    "F32",
    "F16",
    "Q4_0",
    "Q4_1",
    "Q4_2",
    "Q4_3",
    "Q5_0",
    "Q5_1",
    "Q8_0",
    "Q8_1",
    "Q2_K",
    "Q3_K",
    "Q4_K",
    "Q5_K",
    "Q6_K",
    "Q8_K",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ3_XXS",
    "IQ1_S",
    "IQ4_NL",
    "IQ3_S",
    "IQ2_S",
    "IQ4_XS",
    "I8",
    "I16",
    "I32",
    "I64",
    "F64",
    "IQ1_M",
    "BF16",
    "Q4_0_4_4",
    "Q4_0_4_8",
    "Q4_0_8_8",
    "TQ1_0",
    "TQ2_0",
    "IQ4_NL_4_4",
    "IQ4_NL_4_8",
    "IQ4_NL_8_8",
    "MXFP4",
    "NVFP4",
    "Q1_0",
];

impl GgmlType {
    /// The type with this id in a file.
    pub fn from_id(id: u32) -> Self {
        let row = SUPPORTED.iter().find(|row| row.1 == id);
        row.map_or(Self::Unsupported(id), |row| row.0)
    }

    /// The format in which the kernels keep such weights; `None` if they are dequantised to float32.
    pub fn weight_format(self) -> Option<WeightFormat> {
        Some(match self {
            Self::F32 => WeightFormat::F32,
            Self::F16 => WeightFormat::F16,
            Self::BF16 => WeightFormat::BF16,
            Self::Q4_0 => WeightFormat::Q4_0,
            Self::Q4_1 => WeightFormat::Q4_1,
            Self::Q5_0 => WeightFormat::Q5_0,
            Self::Q5_1 => WeightFormat::Q5_1,
            Self::Q8_0 => WeightFormat::Q8_0,
            Self::Q2K => WeightFormat::Q2K,
            Self::Q3K => WeightFormat::Q3K,
            Self::Q4K => WeightFormat::Q4K,
            Self::Q5K => WeightFormat::Q5K,
            Self::Q6K => WeightFormat::Q6K,
            Self::Iq4Nl => WeightFormat::Iq4Nl,
            Self::Iq4Xs => WeightFormat::Iq4Xs,
            Self::Tq1_0 => WeightFormat::Tq1_0,
            Self::Tq2_0 => WeightFormat::Tq2_0,
            Self::Mxfp4 => WeightFormat::Mxfp4,
            Self::F64 | Self::Unsupported(_) => return None,
        })
    }

    /// The type's id in a file.
    pub fn id(self) -> u32 {
        match self {
            Self::Unsupported(id) => id,
            _ => {
                self.row()
                    .expect("a supported type without a row: this is a bug")
                    .1
            }
        }
    }

    /// How the type packs elements; `None` if it is not supported.
    pub fn layout(self) -> Option<BlockLayout> {
        self.row().map(|row| BlockLayout {
            block_size: row.2,
            block_bytes: row.3,
        })
    }

    fn row(self) -> Option<&'static (GgmlType, u32, usize, usize)> {
        SUPPORTED.iter().find(|row| row.0 == self)
    }
}

/// ggml's name for it, e.g. `Q4_K`; `number 99` for an id without one.
impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.id();
        match NAMES.get(id as usize) {
            Some(name) => f.pad(name),
            None => write!(f, "number {id}"),
        }
    }
}
