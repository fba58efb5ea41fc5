//! The numbers that make the one decoder a particular model.

mod architecture;
mod gguf;
mod json;
mod json_layers;
mod json_rope;
mod packing;

pub(super) use gguf::Keys;
pub(super) use json::{HfConfig, error, positive};
pub(super) use packing::{Int4Layout, Packing};

use super::rope::RopeConfig;
use crate::ops::{Glu, KvDtype};

pub(super) const MAX_HEAD_DIM: usize = 256;

/// Shape of a Llama-like decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// What GGUF files call it.
    pub architecture: &'static str,
    /// The decoder's layers, in order.
    pub layers: Vec<LayerConfig>,
    /// Width of the residual stream, `H`.
    pub hidden_size: usize,
    /// Width of the gated feed-forward, `I`, in layers without experts.
    pub intermediate_size: usize,
    /// Of models that have layers with routed experts.
    pub experts: Option<ExpertsConfig>,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of a head, `D`.
    pub head_dim: usize,
    /// Tokens in the vocabulary, `V`.
    pub vocab_size: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f32,
    /// Tokens the model was made for.
    pub context_length: usize,
    /// Rotary embeddings, which layers choose from; divisors that stand in tensors are the first one's.
    pub ropes: Vec<RopeConfig>,
    /// What attention scores are multiplied by.
    pub attention_scale: f32,
    /// Bound of attention scores (Gemma 2).
    pub attention_softcap: Option<f32>,
    /// Bound of logits (Gemma 2).
    pub logit_softcap: Option<f32>,
    /// What embeddings are multiplied by (Gemma).
    pub embedding_scale: f32,
    /// Added to the weights of RMSNorm as they stand in the files (Gemma's safetensors).
    pub norm_offset: f32,
    /// The feed-forward's activation.
    pub glu: Glu,
    /// Whether q, k and v must have biases (Qwen2). Without this, too, a layer adds the biases that its file has.
    pub has_qkv_bias: bool,
    /// Whether router, experts and the attention's output must have biases, too (gpt-oss).
    pub has_all_biases: bool,
    /// Whether each head of q and k is normalised (Qwen3).
    pub has_qk_norm: bool,
    /// Whether the outputs of attention and feed-forward are normalised before they are added (Gemma).
    pub has_post_norms: bool,
    /// Whether each head has an attention sink (gpt-oss).
    pub has_sinks: bool,
}

/// What may differ between the layers of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// Which of the rotary embeddings turns queries and keys; none does in some of SmolLM3.
    pub rope_idx: Option<usize>,
    /// Tokens that a row attends to, itself included, where those are not all before it.
    pub window: Option<usize>,
    /// Whether the feed-forward consists of routed experts.
    pub has_experts: bool,
}

/// The routed experts of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpertsConfig {
    /// `E`.
    pub num_experts: usize,
    /// Those that a row goes to.
    pub top_k: usize,
    /// Width of an expert's feed-forward.
    pub intermediate_size: usize,
    /// Whether the weights of a row's experts sum to one.
    pub is_normalised: bool,
}

impl ModelConfig {
    /// Bytes of keys and values that one token takes in a cache of `dtype`.
    pub fn kv_bytes_per_token(&self, dtype: KvDtype) -> usize {
        self.layers.len() * 2 * self.num_kv_heads * dtype.bytes_per_head(self.head_dim)
    }
}
