//! The paged key-value cache of one layer.
//!
//! Of each block `[2 (K, V), num_kv_heads, head_len]`: of each block and head all keys, then all values. A head's
//! part is `block_size` tokens of D units and, in formats that have them, `block_size` scales behind. Keys lie in tiles of
//! [`TILE`] tokens, `[block_size / TILE, D, TILE]`, so that 16 tokens' d are in a row for attention, which multiplies
//! a query's d with all of them; values lie token by token, `[block_size, D]`.

mod copy;
mod format;
mod host;
mod slots;

use std::fmt;

use candle_core::{DType, Result, bail};
use half::vec::HalfBitsVecExt;
use half::{bf16, f16};

pub(super) use format::{Bf16, F16, Int8, KvFormat};
pub use host::HostBlocks;
pub use slots::Slots;

use super::Tensor;
use crate::backend::Device;

/// Tokens that lie side by side in the keys.
pub(super) const TILE: usize = 16;

/// What keys and values are rounded to in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KvDtype {
    /// Half precision.
    F16,
    /// The upper half of a float32: its range with three digits less.
    Bf16,
    /// A byte a value, and a float32 scale for each token, head, and key or value: largest magnitude / 127.
    Int8,
}

/// As settings and kernels call it.
impl fmt::Display for KvDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

impl KvDtype {
    fn unit(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
            Self::Int8 => DType::U8,
        }
    }

    /// Bytes of one token's key or value in one head of width `head_dim`.
    pub fn bytes_per_head(self, head_dim: usize) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2 * head_dim,
            Self::Int8 => head_dim + size_of::<f32>(),
        }
    }
}

/// Keys and values of one layer for `num_blocks` blocks of `block_size` tokens.
pub struct KvCache {
    /// `[num_blocks, units of a block]`.
    pub(super) data: Tensor,
    pub(super) dtype: KvDtype,
    pub(super) num_blocks: usize,
    pub(super) num_kv_heads: usize,
    pub(super) block_size: usize,
    pub(super) head_dim: usize,
}

impl KvCache {
    /// A cache of zeros.
    ///
    /// # Errors
    /// If `block_size` is no multiple of 16, `head_dim` no multiple of 8 up to 256, or another number zero.
    pub fn new(
        dtype: KvDtype,
        num_blocks: usize,
        num_kv_heads: usize,
        block_size: usize,
        head_dim: usize,
        device: &Device,
    ) -> Result<Self> {
        if block_size == 0 || !block_size.is_multiple_of(TILE) {
            bail!("KV cache: block_size must be a multiple of {TILE}, is {block_size}");
        }
        if head_dim == 0 || !head_dim.is_multiple_of(8) || head_dim > MAX_HEAD_DIM {
            bail!("KV cache: D must be a multiple of 8 up to {MAX_HEAD_DIM}, is {head_dim}");
        }
        if num_blocks == 0 || num_kv_heads == 0 {
            bail!("KV cache: {num_blocks} blocks of {num_kv_heads} heads hold nothing");
        }
        let head_len = block_size * dtype.bytes_per_head(head_dim) / dtype.unit().size_in_bytes();
        let shape = (num_blocks, 2 * num_kv_heads * head_len);
        let data = match device {
            Device::Cpu => untouched_zeros(shape, dtype)?,
            Device::Cuda(_) => Tensor::zeros(shape, dtype.unit(), device)?,
        };
        Ok(Self {
            data,
            dtype,
            num_blocks,
            num_kv_heads,
            block_size,
            head_dim,
        })
    }

    /// Bytes of a block.
    fn block_bytes(&self) -> Result<usize> {
        Ok(self.data.dims()?.1 * self.dtype.unit().size_in_bytes())
    }

    /// Tokens it has room for.
    pub fn num_slots(&self) -> usize {
        self.num_blocks * self.block_size
    }

    /// Where the part of a block's head starts; `which` is 0 for keys, 1 for values.
    #[inline(always)]
    pub(super) fn head_start<F: KvFormat>(&self, block: usize, which: usize, head: usize) -> usize {
        ((block * 2 + which) * self.num_kv_heads + head) * self.head_len::<F>()
    }

    /// Units of a head's part.
    #[inline(always)]
    pub(super) fn head_len<F: KvFormat>(&self) -> usize {
        self.block_size * (self.head_dim + F::SCALE_UNITS)
    }
}

/// Zeros made from integers, which the allocator takes as untouched pages: memory is used as blocks are.
fn untouched_zeros(shape: (usize, usize), dtype: KvDtype) -> Result<Tensor> {
    let (device, len) = (&candle_core::Device::Cpu, shape.0 * shape.1);
    let zeros = match dtype {
        KvDtype::F16 => {
            let zeros: Vec<f16> = vec![0u16; len].reinterpret_into();
            candle_core::Tensor::from_vec(zeros, shape, device)
        }
        KvDtype::Bf16 => {
            let zeros: Vec<bf16> = vec![0u16; len].reinterpret_into();
            candle_core::Tensor::from_vec(zeros, shape, device)
        }
        KvDtype::Int8 => candle_core::Tensor::zeros(shape, DType::U8, device),
    };
    Ok(zeros?.into())
}

/// Values of a head, at most.
pub(super) const MAX_HEAD_DIM: usize = 256;
