//! Attention over the paged key-value cache, for batches of any mix of prompts and single tokens.
//!
//! Invariant: a query row's result depends only on its own query and its visible context. The context is cut at absolute
//! multiples of [`SPAN`]: a span is one softmax, whose sums run in ascending tokens; spans merge in ascending order. How
//! rows are chunked into calls, tasks and register tiles, and whether spans are computed one after the other or at once,
//! changes no bit. Keys and values come only from the cache, also for the tokens of this step.
#![allow(unsafe_code)]

mod batch;
mod card;
mod products;
mod softmax;
mod span;
mod task;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, bail};

pub use batch::AttentionBatch;
pub use card::{BatchCutter, Spans, check_heads_for_card, check_kv_dtype_for_card};

use super::kv_cache::{Bf16, F16, Int8, KvCache, KvDtype, KvFormat, TILE};
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use super::{Tensor, Vector};
use crate::backend::cpu::{Cpu, DisjointMut};

/// Tokens of one softmax.
const SPAN: usize = 256;
/// Query rows a task: they share the conversion of each tile.
const ROWS: usize = 16;

/// What a model's attention is besides its shapes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionParams<'a> {
    /// What scores are multiplied by.
    pub scale: f32,
    /// Tokens that a row sees, itself included, where those are not all before it.
    pub window: Option<usize>,
    /// Scores are `cap · tanh(score / cap)` (Gemma 2).
    pub softcap: Option<f32>,
    /// `[num_heads]`: a score of each head that takes its part of the softmax and has no value (gpt-oss).
    pub sinks: Option<&'a Vector>,
}

/// Causal attention: row i of a sequence with q_len rows sees the tokens `0..=context_len - q_len + i`, or of them the last
/// `window`, and `out = softmax(scale · q · Kᵀ) · V` by head, with what [`AttentionParams`] says besides.
///
/// out `[T, num_heads · D]` f32; qkv `[T, at least that]` f32, of which the first `num_heads · D` columns are the queries.
/// Query head h reads key-value head `h / (num_heads / num_kv_heads)`. Sources: Kwon et al., "PagedAttention", 2023;
/// Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018.
///
/// # Errors
/// If a shape does not fit, the batch was made for another cache, or a parameter is out of range.
pub fn paged_attention(
    out: &Tensor,
    qkv: &Tensor,
    cache: &KvCache,
    batch: &AttentionBatch<'_>,
    params: AttentionParams<'_>,
    cpu: &Cpu,
) -> Result<()> {
    let &KvCache {
        num_blocks,
        num_kv_heads,
        block_size,
        head_dim,
        ..
    } = cache;
    if (num_blocks, block_size) != (batch.num_blocks, batch.block_size) {
        bail!(
            "paged_attention: batch is for a cache of {} blocks of {} tokens, cache has {num_blocks} of {block_size}",
            batch.num_blocks,
            batch.block_size
        );
    }
    if params.window == Some(0) {
        bail!("paged_attention: window must be at least 1, is 0");
    }
    if let Some(cap) = params.softcap.filter(|cap| cap.is_nan() || *cap <= 0.0) {
        bail!("paged_attention: softcap must be positive, is {cap}");
    }
    let (_, width) = rows_and_columns("paged_attention: out", out)?;
    let (_, row_len) = rows_and_columns("paged_attention: qkv", qkv)?;
    expect_dims("paged_attention: out", out, &[batch.num_rows, width])?;
    expect_dims(
        "paged_attention: qkv",
        qkv,
        &[batch.num_rows, row_len.max(width)],
    )?;
    if width == 0 || !width.is_multiple_of(num_kv_heads * head_dim) {
        bail!(
            "paged_attention: out has rows of {width}, no multiple of {num_kv_heads} key-value heads of {head_dim}"
        );
    }
    if let Some(sinks) = params.sinks.filter(|sinks| sinks.len() != width / head_dim) {
        bail!(
            "paged_attention: sinks must have {} values (num_heads), has {}",
            width / head_dim,
            sinks.len()
        );
    }
    if let Tensor::Cuda(out) = out {
        let qkv = qkv.cuda("paged_attention: qkv", out)?;
        let sizes = (row_len, width / head_dim);
        return card::cuda_fwd(out, qkv, cache, batch, params, sizes);
    }
    out.cpu("paged_attention: out")?.inplace_op3(
        qkv.cpu("paged_attention: qkv")?,
        cache.data.cpu("paged_attention: cache")?,
        &Attention {
            batch,
            cache,
            row_len,
            heads_per_kv: width / (num_kv_heads * head_dim),
            window: params.window.unwrap_or(usize::MAX),
            params,
            cpu,
        },
    )
}

struct Attention<'a> {
    batch: &'a AttentionBatch<'a>,
    cache: &'a KvCache,
    /// Of a row of qkv.
    row_len: usize,
    heads_per_kv: usize,
    params: AttentionParams<'a>,
    /// Tokens that a row sees, at most.
    window: usize,
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
        qkv: &CpuStorage,
        qkv_layout: &Layout,
        cache: &CpuStorage,
        cache_layout: &Layout,
    ) -> Result<()> {
        let out = slice_mut::<f32>("paged_attention: out", out, out_layout)?;
        let qkv = slice::<f32>("paged_attention: qkv", qkv, qkv_layout)?;
        let cache = (cache, cache_layout);
        match self.cache.dtype {
            KvDtype::F16 => self.attend::<F16>(out, qkv, cache),
            KvDtype::Bf16 => self.attend::<Bf16>(out, qkv, cache),
            KvDtype::Int8 => self.attend::<Int8>(out, qkv, cache),
        }
    }
}

thread_local! {
    /// The split spans of the call in progress, kept for the next one.
    static PARTIALS: RefCell<Vec<[f32; 8]>> = RefCell::default();
}

impl Attention<'_> {
    fn attend<F: KvFormat>(
        &self,
        out: &mut [f32],
        qkv: &[f32],
        (cache, cache_layout): (&CpuStorage, &Layout),
    ) -> Result<()> {
        let out = DisjointMut::new(out);
        let inputs = Inputs::<F> {
            op: self,
            qkv,
            cache: slice::<F::Unit>("paged_attention: cache", cache, cache_layout)?,
        };
        let (batch, num_kv_heads) = (self.batch, self.cache.num_kv_heads);
        let num_tasks = batch.chunks.len() * num_kv_heads;
        // The last chunks of a prompt see most and start first, which leaves short tasks for the end.
        let task = |i: usize| {
            let i = num_tasks - 1 - i;
            (i / num_kv_heads, i % num_kv_heads)
        };
        match self.parallelism() {
            Parallelism::None => (0..num_tasks).for_each(|i| {
                // SAFETY: each pair of a chunk and a head runs once.
                unsafe { task::whole(&inputs, task(i), &out) }
            }),
            Parallelism::Chunks => self.cpu.run(num_tasks, &|i| {
                // SAFETY: as above.
                unsafe { task::whole(&inputs, task(i), &out) }
            }),
            Parallelism::Spans => PARTIALS.with_borrow_mut(|partials| {
                partials.resize(self.num_partial_vectors(), [0.0; 8]);
                let parts = DisjointMut::new(partials);
                self.cpu.run(batch.num_spans * num_kv_heads, &|i| {
                    // SAFETY: each pair of a span and a head runs once.
                    unsafe { task::part(&inputs, (i / num_kv_heads, i % num_kv_heads), &parts) }
                });
                self.cpu.run(num_tasks, &|i| {
                    // SAFETY: each pair of a chunk and a head runs once.
                    unsafe { task::merge(self, task(i), partials, &out) }
                });
            }),
        }
        Ok(())
    }

    fn num_heads(&self) -> usize {
        self.cache.num_kv_heads * self.heads_per_kv
    }

    /// Vectors of eight that hold every row's and head's partials.
    fn num_partial_vectors(&self) -> usize {
        (self.batch.num_partials * self.num_heads()).saturating_mul(self.partial_len())
    }

    /// How the work is shared; changes no bit.
    fn parallelism(&self) -> Parallelism {
        /// Below this many multiply-adds (a few µs) waking a thread does not pay.
        const MIN_MACS: usize = 1 << 16;
        /// With so many tasks a thread, what the last ones keep waiting is little.
        const MIN_TASKS: usize = 8;
        /// 64 MiB of partials, which a thread keeps; no memory plan counts them.
        const MAX_PARTIAL_VECTORS: usize = (64 << 20) / size_of::<[f32; 8]>();
        let batch = self.batch;
        let num_scores: usize = batch
            .chunks
            .iter()
            .map(|chunk| chunk.visible.min(self.window) * chunk.rows.len())
            .sum();
        let num_macs = num_scores.saturating_mul(2 * self.num_heads() * self.cache.head_dim);
        if num_macs < MIN_MACS {
            return Parallelism::None;
        }
        let num_tasks = batch.chunks.len() * self.cache.num_kv_heads;
        let is_enough = num_tasks >= MIN_TASKS * self.cpu.num_threads();
        let has_one_span_each = batch.num_spans == batch.chunks.len();
        let is_too_much = self.num_partial_vectors() > MAX_PARTIAL_VECTORS;
        match self.cpu.num_threads() == 1 || is_enough || has_one_span_each || is_too_much {
            true => Parallelism::Chunks,
            false => Parallelism::Spans,
        }
    }
}

/// What tasks are.
enum Parallelism {
    /// All work is the caller's.
    None,
    /// A chunk and a key-value head.
    Chunks,
    /// A span of a chunk and a key-value head; a second pass merges.
    Spans,
}

/// What every task reads.
struct Inputs<'a, F: KvFormat> {
    op: &'a Attention<'a>,
    qkv: &'a [f32],
    cache: &'a [F::Unit],
}
