//! Attention on a card: `kernels/attention.cu`.

use std::ops::Range;

use candle_core::{DType, Result, bail};

use super::batch::Chunk;
use super::{AttentionBatch, AttentionParams, SPAN};
use crate::backend::cuda::Slice;
use crate::ops::numbers::NumberBuffer;
use crate::ops::tensor::CudaTensor;
use crate::ops::{KvCache, KvDtype};

/// Query rows and heads of a block, its warps, and the tokens of a step, for heads of some width: `Shape` in the kernel.
#[derive(Clone, Copy)]
struct Shape {
    num_warps: usize,
    tile: usize,
    head_dim: usize,
}

impl Shape {
    fn new(head_dim: usize) -> Self {
        match head_dim > 128 {
            true => Self {
                num_warps: 2,
                tile: 32,
                head_dim,
            },
            false => Self {
                num_warps: 4,
                tile: 64,
                head_dim,
            },
        }
    }

    /// Queries that a block has: rows times the heads that share keys.
    fn num_queries(self) -> usize {
        self.num_warps * 16
    }

    /// Dynamic shared memory, bytes.
    fn shared(self, is_int8: bool, has_total: bool) -> usize {
        let Self { tile, head_dim, .. } = self;
        let wide = tile * (head_dim + 8) * 2;
        let stages = match is_int8 {
            true => wide + 2 * tile * (head_dim + 4),
            false => 2 * wide,
        };
        let total = if has_total {
            self.num_queries() * head_dim * 4
        } else {
            0
        };
        self.num_queries() * (head_dim + 8) * 2 + stages + total
    }
}

/// Fails, saying which there are, where `heads_per_kv` query heads of width `head_dim` to a key-value head have no kernel.
///
/// # Errors
/// If so.
pub fn check_heads_for_card(heads_per_kv: usize, head_dim: usize) -> Result<()> {
    if ![64, 96, 128, 256].contains(&head_dim) {
        bail!(
            "attention: cards compute heads of 64, 96, 128 and 256, not of {head_dim}; use --device cpu"
        );
    }
    let queries = Shape::new(head_dim).num_queries();
    if heads_per_kv == 0 || heads_per_kv > queries {
        bail!(
            "attention: {heads_per_kv} query heads share keys; cards compute up to {queries} of width {head_dim}; use --device cpu"
        );
    }
    Ok(())
}

/// Fails, saying what to do, where activations have no kernels for a cache.
///
/// # Errors
/// If so.
pub fn check_kv_dtype_for_card(activation: DType, kv_dtype: KvDtype) -> Result<()> {
    match (activation, kv_dtype) {
        (DType::F16, KvDtype::Bf16) => {
            bail!(
                "kv_cache_dtype: a model in half precision has no kernels for bf16; use f16 or int8"
            )
        }
        _ => Ok(()),
    }
}

/// Floats of a row and head in memory for partials.
fn partial_len(head_dim: usize) -> usize {
    head_dim + 4
}

/// Bytes that splitting takes, at most: what is more is not split, which is no slower then, for there are many rows.
pub fn max_partial_bytes(max_model_len: usize, num_heads: usize, head_dim: usize) -> usize {
    const ROWS: usize = 256;
    const MOST: usize = 64 << 20;
    let row = max_model_len.div_ceil(SPAN) * num_heads * partial_len(head_dim) * 4;
    (ROWS * row).min(MOST.max(row))
}

/// How a batch is cut for layers of one window.
#[derive(Debug)]
struct Cut {
    window: Option<usize>,
    num_tiles: usize,
    /// Of a tile, at most.
    most_spans: usize,
    num_partials: usize,
    tiles: Range<usize>,
    merges: Range<usize>,
}

/// A batch's tiles, on their way to the card.
#[derive(Debug)]
pub struct CardBatch {
    cuts: Vec<Cut>,
    block_tables: Range<usize>,
}

/// A batch's tiles in the card's memory.
#[derive(Debug)]
pub(super) struct OnCard {
    cuts: Vec<(Cut, Slice, Slice)>,
    block_tables: Slice,
    partials: Slice,
}

impl AttentionBatch<'_> {
    /// Cuts the batch for kernels: layers of these windows, `heads_per_kv` query heads to a key-value head of width `head_dim`.
    ///
    /// # Errors
    /// If too many heads share keys.
    pub fn cut(
        &self,
        numbers: &mut NumberBuffer,
        windows: &[Option<usize>],
        heads_per_kv: usize,
        head_dim: usize,
    ) -> Result<CardBatch> {
        check_heads_for_card(heads_per_kv, head_dim)?;
        let queries = Shape::new(head_dim).num_queries();
        let mut tables: Vec<u32> = Vec::new();
        // Chunks of one sequence are neighbours.
        let mut sequences: Vec<(Range<usize>, usize, usize)> = Vec::new();
        let mut last: Option<&Chunk<'_>> = None;
        for chunk in &self.chunks {
            let is_more = last.is_some_and(|last| {
                std::ptr::eq(last.blocks, chunk.blocks)
                    && chunk.visible == last.visible + last.rows.len()
                    && chunk.rows.start == last.rows.end
            });
            match sequences.last_mut() {
                Some((rows, ..)) if is_more => rows.end = chunk.rows.end,
                _ => {
                    sequences.push((chunk.rows.clone(), chunk.visible, tables.len()));
                    tables.extend_from_slice(chunk.blocks);
                }
            }
            last = Some(chunk);
        }
        let cuts = windows
            .iter()
            .map(|window| cut(&sequences, *window, queries / heads_per_kv, numbers));
        let cuts = cuts.collect();
        Ok(CardBatch {
            cuts,
            block_tables: numbers.push(&tables),
        })
    }

    /// Takes in where the numbers lie, once they are sent. `partials` is memory for the spans of rows that are split; where it has not
    /// enough, they are not.
    ///
    /// # Errors
    /// If the numbers are others.
    pub fn put_on_card(
        &mut self,
        batch: CardBatch,
        numbers: &NumberBuffer,
        partials: &Slice,
    ) -> Result<()> {
        let cuts = batch.cuts.into_iter().map(|cut| {
            let (tiles, merges) = (numbers.slice(&cut.tiles)?, numbers.slice(&cut.merges)?);
            Ok((cut, tiles, merges))
        });
        self.on_card = Some(OnCard {
            cuts: cuts.collect::<Result<_>>()?,
            block_tables: numbers.slice(&batch.block_tables)?,
            partials: partials.clone(),
        });
        Ok(())
    }
}

fn cut(
    sequences: &[(Range<usize>, usize, usize)],
    window: Option<usize>,
    rows_per_tile: usize,
    numbers: &mut NumberBuffer,
) -> Cut {
    let (mut tiles, mut merges) = (Vec::new(), Vec::new());
    let (mut num_partials, mut most_spans) = (0, 0);
    for (rows, visible, blocks) in sequences {
        for start in (0..rows.len()).step_by(rows_per_tile) {
            let num_rows = rows_per_tile.min(rows.len() - start);
            let visible = visible + start;
            let first_span = window.map_or(0, |window| visible.saturating_sub(window)) / SPAN;
            let num_spans = (visible + num_rows - 1).div_ceil(SPAN) - first_span;
            let tile = [rows.start + start, num_rows, visible, *blocks, num_partials];
            tiles.extend(tile.map(|x| x as u32));
            for row in 0..num_rows {
                let own_spans = (visible + row).div_ceil(SPAN) - first_span;
                merges.extend([num_partials + row, num_rows, own_spans].map(|x| x as u32));
            }
            num_partials += num_spans * num_rows;
            most_spans = most_spans.max(num_spans);
        }
    }
    Cut {
        window,
        num_tiles: tiles.len() / 5,
        most_spans,
        num_partials,
        tiles: numbers.push(&tiles),
        merges: numbers.push(&merges),
    }
}

/// Blocks for each multiprocessor from which on spans are not split: more would only add what is to be merged.
const BLOCKS_FOR_ALL: usize = 4;

/// [`paged_attention`](super::paged_attention) on a card: out and qkv of 16 bits.
pub(super) fn cuda_fwd(
    out: &CudaTensor,
    qkv: &CudaTensor,
    cache: &KvCache,
    batch: &AttentionBatch<'_>,
    params: AttentionParams<'_>,
    (row_len, num_heads): (usize, usize),
) -> Result<()> {
    let half = qkv.half_name("paged_attention: qkv")?;
    out.expect_same("paged_attention: out", qkv)?;
    let &KvCache {
        num_kv_heads,
        head_dim,
        block_size,
        dtype,
        ..
    } = cache;
    check_kv_dtype_for_card(qkv.dtype, dtype)?;
    let on_card = batch.on_card.as_ref();
    let cut = on_card.and_then(|batch| {
        let cut = batch
            .cuts
            .iter()
            .find(|cut| cut.0.window == params.window)?;
        Some((cut, batch))
    });
    let Some((
        (cut, tiles, merges),
        OnCard {
            block_tables,
            partials,
            ..
        },
    )) = cut
    else {
        bail!(
            "paged_attention: the batch is not on the card for a window of {:?}",
            params.window
        );
    };
    let cuda = out.card();
    let num_blocks = cut.num_tiles * num_kv_heads;
    let partial_bytes = cut.num_partials * num_heads * partial_len(head_dim) * 4;
    let is_split = cut.most_spans > 1
        && num_blocks < BLOCKS_FOR_ALL * cuda.card().num_multiprocessors
        && partial_bytes <= partials.num_bytes();
    let sinks = params
        .sinks
        .map(|sinks| sinks.slice("paged_attention: sinks"));
    let sinks = sinks.transpose()?;
    let (has_sinks, shape) = (usize::from(sinks.is_some()), Shape::new(head_dim));
    let window = params.window.unwrap_or(usize::MAX).min(i32::MAX as usize);
    let ints = [
        row_len,
        num_heads,
        num_kv_heads,
        block_size,
        window,
        has_sinks,
        usize::from(is_split),
    ];
    let spans = if is_split { cut.most_spans } else { 1 };
    let name = format!("attention_{half}_{dtype}_{head_dim}");
    cuda.kernel(
        "attention",
        name,
        [cut.num_tiles, num_kv_heads, spans],
        shape.num_warps * 32,
    )
    .shared(shape.shared(dtype == KvDtype::Int8, !is_split && cut.most_spans > 1))
    .slice(&out.slice)
    .slice(&qkv.slice)
    .slice(cache.data.slice("paged_attention: cache")?)
    .slice(tiles)
    .slice(block_tables)
    .opt_slice(sinks)
    .slice(partials)
    .fields(&ints, &[params.scale, params.softcap.unwrap_or(0.0)])
    .run()?;
    if is_split {
        let grid = [batch.num_rows, num_heads.div_ceil(4), 1];
        cuda.kernel("attention", format!("attention_merge_{half}"), grid, 128)
            .slice(&out.slice)
            .slice(partials)
            .slice(merges)
            .opt_slice(sinks)
            .int(has_sinks)
            .int(num_heads)
            .int(head_dim)
            .run()?;
    }
    Ok(())
}
