//! How much a decoder is to hold.

use crate::ops::KvDtype;

/// What the buffers are made for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Token rows a step.
    pub max_num_batched_tokens: usize,
    /// Sampled rows a step.
    pub max_samples: usize,
    /// Positions a sequence may reach.
    pub max_model_len: usize,
    /// Blocks of the KV cache.
    pub num_blocks: usize,
    /// Blocks of the host's arena; 0 for none.
    pub num_host_blocks: usize,
    /// Tokens a block; a multiple of 16.
    pub block_size: usize,
    /// What keys and values are rounded to.
    pub kv_dtype: KvDtype,
}
