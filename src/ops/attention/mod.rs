//! Attention over the paged key-value cache, for batches of any mix of prompts and single tokens.
//!
//! Invariant: a query row's result depends only on its own query and its visible context. The context is cut at absolute
//! multiples of [`SPAN`]; inside a span, online softmax runs over tiles of [`TILE`] tokens in ascending order; spans merge
//! in ascending order. How rows are chunked into calls, tasks and register tiles changes no bit. Keys and values come
//! only from the cache, also for the tokens of this step.

mod batch;
mod task;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor, bail};
use half::f16;

pub use batch::AttentionBatch;

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, DisjointMut};

/// Tokens between merges of the softmax state.
const SPAN: usize = 256;
/// Tokens a step of the online softmax.
const TILE: usize = 16;
/// Query rows a task: they share the conversion of each tile.
const ROWS: usize = 16;

/// Causal attention: row i of a sequence with q_len rows sees the tokens `0..=context_len - q_len + i`, and
/// `out = softmax(scale · q · Kᵀ) · V` by head.
///
/// out and q `[T, num_heads · D]` f32; cache `[num_blocks, 2, num_kv_heads, block_size, D]` f16 with the second dimension
/// (key, value). Query head h reads key-value head `h / (num_heads / num_kv_heads)`. Sources: Kwon et al.,
/// "PagedAttention", 2023; Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
///
/// # Errors
/// If a shape does not fit, the batch was made for another cache, or D is no multiple of 8 up to 256.
pub fn paged_attention(
    out: &Tensor,
    q: &Tensor,
    cache: &Tensor,
    batch: &AttentionBatch<'_>,
    scale: f32,
    cpu: &Cpu,
) -> Result<()> {
    let &[num_blocks, 2, num_kv_heads, block_size, head_dim] = cache.dims() else {
        bail!(
            "paged_attention: cache must be [num_blocks, 2, num_kv_heads, block_size, D], is {:?}",
            cache.dims()
        );
    };
    if head_dim == 0 || !head_dim.is_multiple_of(8) || head_dim > 256 {
        bail!("paged_attention: D must be a multiple of 8 up to 256, is {head_dim}");
    }
    if (num_blocks, block_size) != (batch.num_blocks, batch.block_size) {
        bail!(
            "paged_attention: batch is for a cache of {} blocks of {} tokens, cache has {num_blocks} of {block_size}",
            batch.num_blocks,
            batch.block_size
        );
    }
    let (_, width) = rows_and_columns("paged_attention: q", q)?;
    expect_dims("paged_attention: q", q, &[batch.num_rows, width])?;
    expect_dims("paged_attention: out", out, &[batch.num_rows, width])?;
    if num_kv_heads == 0 || width == 0 || !width.is_multiple_of(num_kv_heads * head_dim) {
        bail!(
            "paged_attention: q has rows of {width}, no multiple of {num_kv_heads} key-value heads of {head_dim}"
        );
    }
    let heads_per_kv = width / (num_kv_heads * head_dim);
    out.inplace_op3(
        q,
        cache,
        &Attention {
            batch,
            num_kv_heads,
            heads_per_kv,
            head_dim,
            scale,
            cpu,
        },
    )
}

struct Attention<'a> {
    batch: &'a AttentionBatch<'a>,
    num_kv_heads: usize,
    heads_per_kv: usize,
    head_dim: usize,
    scale: f32,
    cpu: &'a Cpu,
}

impl InplaceOp3 for Attention<'_> {
    fn name(&self) -> &'static str {
        "paged_attention"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        q: &CpuStorage,
        q_layout: &Layout,
        cache: &CpuStorage,
        cache_layout: &Layout,
    ) -> Result<()> {
        /// Below this many multiply-adds (a few µs) waking a thread does not pay.
        const MIN_MACS: usize = 1 << 16;
        let out = DisjointMut::new(slice_mut::<f32>("paged_attention: out", out, out_layout)?);
        let q = slice::<f32>("paged_attention: q", q, q_layout)?;
        let cache = slice::<f16>("paged_attention: cache", cache, cache_layout)?;
        let chunks = &self.batch.chunks;
        let run = |task: usize| {
            let (chunk, kv_head) = (&chunks[task / self.num_kv_heads], task % self.num_kv_heads);
            task::run(self, chunk, kv_head, q, cache, &out);
        };
        let num_tasks = chunks.len() * self.num_kv_heads;
        let num_scores: usize = chunks
            .iter()
            .map(|chunk| chunk.visible * chunk.rows.len())
            .sum();
        let macs_per_score = 2 * self.num_kv_heads * self.heads_per_kv * self.head_dim;
        if num_scores.saturating_mul(macs_per_score) < MIN_MACS {
            (0..num_tasks).for_each(run);
        } else {
            self.cpu.run(num_tasks, &run);
        }
        Ok(())
    }
}
