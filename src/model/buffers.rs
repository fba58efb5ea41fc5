//! The decoder's memory for the activations of one step. Made once, written in place.

use candle_core::{DType, Result};

use super::{Limits, ModelConfig};
use crate::backend::Device;
use crate::ops::{CardRouting, Tensor};

/// Activations of one step; a step of `T` rows uses the first `T` of each. float32, but on a card all except the residual stream and
/// logits are of 16 bits.
pub(super) struct Buffers {
    /// Residual stream, `[max_tokens, H]`.
    pub hidden: Tensor,
    /// Normalised input of a block, `[max_tokens, H]`.
    pub normed: Tensor,
    /// Queries, keys and values, `[max_tokens, (num_heads + 2 num_kv_heads) * D]`.
    pub qkv: Tensor,
    /// `[max_tokens, num_heads * D]`.
    pub attention: Tensor,
    /// Output of a block before it is added, `[max_tokens, H]`.
    pub delta: Tensor,
    /// The same, normalised, of models that do so; else of no rows.
    pub delta_normed: Tensor,
    /// `[max_tokens, 2 I]`.
    pub gate_up: Tensor,
    /// The gated activation, `[max_tokens, I]`.
    pub activated: Tensor,
    /// Of models with routed experts.
    pub experts: Option<ExpertBuffers>,
    /// The rows of `hidden` to sample, `[max_samples, H]`.
    pub sampled_hidden: Tensor,
    /// The rows of `qkv` to sample.
    pub sampled_qkv: Tensor,
    /// `[max_samples, V]`.
    pub logits: Tensor,
}

/// What routed experts need; a pair is a row and one of its k experts.
pub(super) struct ExpertBuffers {
    /// `[max_tokens, E]`.
    pub logits: Tensor,
    /// Of a card.
    pub routing: Option<CardRouting>,
    /// The pairs' rows, `[max_tokens k, H]`.
    pub gathered: Tensor,
    /// `[max_tokens k, 2 I]`, with the experts' own I.
    pub gate_up: Tensor,
    /// `[max_tokens k, I]`.
    pub activated: Tensor,
    /// `[max_tokens k, H]`.
    pub outputs: Tensor,
}

impl Buffers {
    pub(super) fn new(
        config: &ModelConfig,
        limits: &Limits,
        activation: DType,
        device: &Device,
    ) -> Result<Self> {
        let floats =
            |num_rows: usize, width: usize| Tensor::zeros((num_rows, width), DType::F32, device);
        let rows =
            |num_rows: usize, width: usize| Tensor::zeros((num_rows, width), activation, device);
        let max_tokens = limits.max_num_batched_tokens;
        let tokens = |width: usize| rows(max_tokens, width);
        let q_size = config.num_heads * config.head_dim;
        let qkv_size = q_size + 2 * config.num_kv_heads * config.head_dim;
        Ok(Self {
            hidden: floats(max_tokens, config.hidden_size)?,
            normed: tokens(config.hidden_size)?,
            qkv: tokens(qkv_size)?,
            attention: tokens(q_size)?,
            delta: tokens(config.hidden_size)?,
            delta_normed: rows(
                if config.has_post_norms { max_tokens } else { 0 },
                config.hidden_size,
            )?,
            gate_up: tokens(2 * config.intermediate_size)?,
            activated: tokens(config.intermediate_size)?,
            experts: match config.experts {
                None => None,
                Some(experts) => {
                    let num_pairs = max_tokens * experts.top_k;
                    let pairs = |width: usize| rows(num_pairs, width);
                    Some(ExpertBuffers {
                        logits: floats(max_tokens, experts.num_experts)?,
                        routing: match device {
                            Device::Cpu => None,
                            Device::Cuda(cuda) => Some(CardRouting::new(
                                cuda,
                                max_tokens,
                                experts.num_experts,
                                experts.top_k,
                            )?),
                        },
                        gathered: pairs(config.hidden_size)?,
                        gate_up: pairs(2 * experts.intermediate_size)?,
                        activated: pairs(experts.intermediate_size)?,
                        outputs: pairs(config.hidden_size)?,
                    })
                }
            },
            sampled_hidden: floats(limits.max_samples, config.hidden_size)?,
            sampled_qkv: rows(limits.max_samples, qkv_size)?,
            logits: floats(limits.max_samples, config.vocab_size)?,
        })
    }
}
