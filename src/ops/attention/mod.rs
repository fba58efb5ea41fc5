//! Attention over the paged key-value cache, for batches of any mix of prompts and single tokens.
//!
//! Invariant: a query row's result depends only on its own query and its visible context. The context is cut at absolute
//! multiples of [`SPAN`]; inside a span, online softmax runs over tiles of [`TILE`] tokens in ascending order; spans merge
//! in ascending order. How rows are chunked into calls, tasks and register tiles changes no bit. Keys and values come
//! only from the cache, also for the tokens of this step.

mod task;
#[cfg(test)]
mod tests;

use std::ops::Range;

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor, bail};
use half::f16;

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, DisjointMut};

/// Tokens between merges of the softmax state.
const SPAN: usize = 256;
/// Tokens a step of the online softmax.
const TILE: usize = 16;
/// Query rows a task: they share the conversion of each tile.
const ROWS: usize = 16;

/// Which queries and which cached tokens belong to which sequence; S sequences.
#[derive(Clone, Copy, Debug)]
pub struct AttentionBatch<'a> {
    /// `[S + 1]`: sequence s has the query rows `cu_seqlens_q[s]..cu_seqlens_q[s + 1]`.
    pub cu_seqlens_q: &'a [u32],
    /// `[S]`: tokens in the cache, those of this step included; the last query row is the last of them.
    pub context_lens: &'a [u32],
    /// Block ids of all sequences, one after the other.
    pub block_tables: &'a [u32],
    /// `[S + 1]`: sequence s has the blocks `block_tables[block_table_offsets[s]..block_table_offsets[s + 1]]`.
    pub block_table_offsets: &'a [u32],
}

/// Causal attention: row i of a sequence with q_len rows sees the tokens `0..=context_len - q_len + i`, and
/// `out = softmax(scale · q · Kᵀ) · V` by head.
///
/// out and q `[T, num_heads · D]` f32; cache `[num_blocks, 2, num_kv_heads, block_size, D]` f16 with the second dimension
/// (key, value). Query head h reads key-value head `h / (num_heads / num_kv_heads)`. Sources: Kwon et al.,
/// "PagedAttention", 2023; Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
///
/// # Errors
/// If a shape or the batch does not fit, D is no multiple of 8 up to 256, or block_size is no multiple of 16.
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
    if block_size == 0 || !block_size.is_multiple_of(TILE) {
        bail!("paged_attention: block_size must be a multiple of {TILE}, is {block_size}");
    }
    let (num_rows, width) = rows_and_columns("paged_attention: q", q)?;
    expect_dims("paged_attention: out", out, &[num_rows, width])?;
    if num_kv_heads == 0 || width == 0 || !width.is_multiple_of(num_kv_heads * head_dim) {
        bail!(
            "paged_attention: q has rows of {width}, no multiple of {num_kv_heads} key-value heads of {head_dim}"
        );
    }
    let sequences = sequences(batch, num_rows, num_blocks, block_size)?;
    let heads_per_kv = width / (num_kv_heads * head_dim);
    out.inplace_op3(
        q,
        cache,
        &Attention {
            sequences,
            num_kv_heads,
            heads_per_kv,
            block_size,
            head_dim,
            scale,
            cpu,
        },
    )
}

/// A sequence of the batch, checked.
struct Sequence<'a> {
    rows: Range<usize>,
    context_len: usize,
    blocks: &'a [u32],
}

fn sequences<'a>(
    batch: &AttentionBatch<'a>,
    num_rows: usize,
    num_blocks: usize,
    block_size: usize,
) -> Result<Vec<Sequence<'a>>> {
    let num_sequences = batch.context_lens.len();
    let ranges = |name: &str, bounds: &[u32], end: usize| -> Result<Vec<Range<usize>>> {
        if bounds.len() != num_sequences + 1 {
            bail!(
                "paged_attention: {name} must have {} values, has {}",
                num_sequences + 1,
                bounds.len()
            );
        }
        let ascending =
            bounds.is_sorted() && bounds[0] == 0 && bounds[num_sequences] as usize == end;
        if !ascending {
            bail!("paged_attention: {name} must ascend from 0 to {end}");
        }
        Ok(bounds
            .windows(2)
            .map(|pair| pair[0] as usize..pair[1] as usize)
            .collect())
    };
    let rows = ranges("cu_seqlens_q", batch.cu_seqlens_q, num_rows)?;
    let blocks = ranges(
        "block_table_offsets",
        batch.block_table_offsets,
        batch.block_tables.len(),
    )?;
    let mut sequences = Vec::with_capacity(num_sequences);
    for (s, (rows, blocks)) in rows.into_iter().zip(blocks).enumerate() {
        let context_len = batch.context_lens[s] as usize;
        if context_len < rows.len() {
            bail!(
                "paged_attention: context_lens[{s}] is {context_len}, below the sequence's {} rows",
                rows.len()
            );
        }
        let (num_have, num_used) = (blocks.len(), context_len.div_ceil(block_size));
        if num_have < num_used {
            bail!(
                "paged_attention: sequence {s} has {num_have} blocks, {context_len} tokens take {num_used}"
            );
        }
        let blocks = &batch.block_tables[blocks][..num_used];
        if let Some(i) = blocks
            .iter()
            .position(|&block| block as usize >= num_blocks)
        {
            bail!(
                "paged_attention: block {i} of sequence {s} is {}, the cache has {num_blocks}",
                blocks[i]
            );
        }
        sequences.push(Sequence {
            rows,
            context_len,
            blocks,
        });
    }
    Ok(sequences)
}

struct Attention<'a> {
    sequences: Vec<Sequence<'a>>,
    num_kv_heads: usize,
    heads_per_kv: usize,
    block_size: usize,
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
        // The last chunks of a prompt see most and start first, which leaves short tasks for the end.
        let mut chunks: Vec<(&Sequence<'_>, Range<usize>)> = Vec::new();
        for sequence in &self.sequences {
            let rows = 0..sequence.rows.len();
            chunks.extend(
                rows.clone()
                    .step_by(ROWS)
                    .rev()
                    .map(|row| (sequence, row..rows.end.min(row + ROWS))),
            );
        }
        let run = |task: usize| {
            let (sequence, rows) = &chunks[task / self.num_kv_heads];
            let kv_head = task % self.num_kv_heads;
            task::run(self, sequence, kv_head, rows.clone(), q, cache, &out);
        };
        let num_tasks = chunks.len() * self.num_kv_heads;
        let num_scores: usize = chunks
            .iter()
            .map(|(sequence, rows)| sequence.context_len * rows.len())
            .sum();
        if num_scores * self.num_kv_heads * self.heads_per_kv * self.head_dim * 2 < MIN_MACS {
            (0..num_tasks).for_each(run);
        } else {
            self.cpu.run(num_tasks, &run);
        }
        Ok(())
    }
}
