//! The decoder's memory: activations of one step, and the paged key-value cache. Made once, written in place.

use candle_core::{DType, Device, Result, Tensor};
use half::f16;
use half::vec::HalfBitsVecExt;

use super::ModelConfig;
use super::decoder::Limits;

/// Activations of one step, float32; a step of `T` rows uses the first `T` of each.
pub(super) struct Buffers {
    /// Residual stream, `[max_tokens, H]`.
    pub hidden: Tensor,
    /// Normalised input of a block, `[max_tokens, H]`.
    pub normed: Tensor,
    /// `[max_tokens, num_heads * D]`.
    pub q: Tensor,
    /// `[max_tokens, num_kv_heads * D]`.
    pub k: Tensor,
    /// `[max_tokens, num_kv_heads * D]`.
    pub v: Tensor,
    /// `[max_tokens, num_heads * D]`.
    pub attention: Tensor,
    /// Output of a block before it is added, `[max_tokens, H]`.
    pub delta: Tensor,
    /// `[max_tokens, I]`.
    pub gate: Tensor,
    /// `[max_tokens, I]`.
    pub up: Tensor,
    /// `silu(gate) * up`, `[max_tokens, I]`.
    pub activated: Tensor,
    /// Rows to sample, `[max_samples, H]`.
    pub sampled: Tensor,
    /// The same, normalised.
    pub sampled_normed: Tensor,
    /// `[max_samples, V]`.
    pub logits: Tensor,
}

impl Buffers {
    pub(super) fn new(config: &ModelConfig, limits: &Limits, device: &Device) -> Result<Self> {
        let rows =
            |num_rows: usize, width: usize| Tensor::zeros((num_rows, width), DType::F32, device);
        let tokens = |width: usize| rows(limits.max_num_batched_tokens, width);
        let (q_size, kv_size) = (
            config.num_heads * config.head_dim,
            config.num_kv_heads * config.head_dim,
        );
        Ok(Self {
            hidden: tokens(config.hidden_size)?,
            normed: tokens(config.hidden_size)?,
            q: tokens(q_size)?,
            k: tokens(kv_size)?,
            v: tokens(kv_size)?,
            attention: tokens(q_size)?,
            delta: tokens(config.hidden_size)?,
            gate: tokens(config.intermediate_size)?,
            up: tokens(config.intermediate_size)?,
            activated: tokens(config.intermediate_size)?,
            sampled: rows(limits.max_samples, config.hidden_size)?,
            sampled_normed: rows(limits.max_samples, config.hidden_size)?,
            logits: rows(limits.max_samples, config.vocab_size)?,
        })
    }
}

/// One cache tensor a layer, `[num_blocks, 2 (K, V), num_kv_heads, block_size, D]` float16.
///
/// Made from integer zeros, which the allocator takes as untouched pages: memory is used as blocks are.
pub(super) fn kv_cache(
    config: &ModelConfig,
    limits: &Limits,
    device: &Device,
) -> Result<Vec<Tensor>> {
    let shape = [
        limits.num_blocks,
        2,
        config.num_kv_heads,
        limits.block_size,
        config.head_dim,
    ];
    let len = shape.iter().product();
    (0..config.num_layers)
        .map(|_| {
            let zeros: Vec<f16> = vec![0u16; len].reinterpret_into();
            Tensor::from_vec(zeros, &shape, device)
        })
        .collect()
}
