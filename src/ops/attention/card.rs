//! Attention on a card: `kernels/attention.cu`.

use std::ops::Range;

use candle_core::{DType, Result, bail};

use super::batch::Chunk;
use super::{AttentionBatch, AttentionParams, SPAN};
use crate::backend::cuda::{Cuda, Slice};
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
fn max_partial_bytes(max_model_len: usize, num_heads: usize, head_dim: usize) -> usize {
    const ROWS: usize = 256;
    const MOST: usize = 64 << 20;
    let row = max_model_len.div_ceil(SPAN) * num_heads * partial_len(head_dim) * 4;
    (ROWS * row).min(MOST.max(row))
}

/// How the spans of tiles are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spans {
    /// There is one.
    One,
    /// A block goes through all of its tile.
    InTurn,
    /// Each has a block; so many are launched for a tile.
    Split(usize),
}

/// A batch cut for layers of one window.
#[derive(Debug)]
struct Cut {
    window: Option<usize>,
    num_tiles: usize,
    spans: Spans,
    tiles: Range<usize>,
    merges: Range<usize>,
}

/// A batch's tiles, on their way to the card.
#[derive(Debug)]
pub struct CardBatch {
    cuts: Vec<Cut>,
    block_tables: Range<usize>,
    partials: Slice,
}

/// A batch's tiles in the card's memory.
#[derive(Debug)]
pub(super) struct OnCard {
    cuts: Vec<(Cut, Slice, Slice)>,
    block_tables: Slice,
    partials: Slice,
}

impl CardBatch {
    /// What of launches depends on the batch, beside its number of rows where that is padded.
    pub fn spans(&self) -> Vec<Spans> {
        self.cuts.iter().map(|cut| cut.spans).collect()
    }
}

/// Cuts batches for a card's kernels.
#[derive(Debug)]
pub struct BatchCutter {
    /// Of the layers, each once.
    windows: Vec<Option<usize>>,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    num_multiprocessors: usize,
    /// For the spans of rows that are split; where it has not enough, they are not.
    partials: Slice,
}

/// Blocks for each multiprocessor from which on spans are not split: more would only add what is to be merged.
const BLOCKS_FOR_ALL: usize = 4;

impl BatchCutter {
    /// For layers of these windows, with so many heads of width `head_dim`.
    ///
    /// # Errors
    /// If there is no kernel for them, or the card has no room.
    pub fn new(
        cuda: &Cuda,
        windows: Vec<Option<usize>>,
        (num_heads, num_kv_heads, head_dim): (usize, usize, usize),
        max_model_len: usize,
    ) -> Result<Self> {
        check_heads_for_card(num_heads / num_kv_heads.max(1), head_dim)?;
        Ok(Self {
            windows,
            num_heads,
            num_kv_heads,
            head_dim,
            num_multiprocessors: cuda.card().num_multiprocessors,
            partials: cuda.alloc(max_partial_bytes(max_model_len, num_heads, head_dim))?,
        })
    }

    /// Cuts a batch. Of one that is padded the numbers but for block tables, which are the last, lie where they do for any other of as
    /// many rows.
    pub fn cut(&self, batch: &AttentionBatch<'_>, numbers: &mut NumberBuffer) -> CardBatch {
        let mut tables: Vec<u32> = Vec::new();
        // Chunks of one sequence are neighbours.
        let mut sequences: Vec<(Range<usize>, usize, usize)> = Vec::new();
        let mut last: Option<&Chunk<'_>> = None;
        for chunk in &batch.chunks {
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
        let padding = batch.is_padded.then_some(batch.num_rows);
        let cuts = (self.windows.iter())
            .map(|window| self.cut_for(&sequences, *window, padding, numbers))
            .collect();
        CardBatch {
            cuts,
            block_tables: numbers.push(&tables),
            partials: self.partials.clone(),
        }
    }

    fn cut_for(
        &self,
        sequences: &[(Range<usize>, usize, usize)],
        window: Option<usize>,
        padding: Option<usize>,
        numbers: &mut NumberBuffer,
    ) -> Cut {
        let heads_per_kv = self.num_heads / self.num_kv_heads;
        let rows_per_tile = Shape::new(self.head_dim).num_queries() / heads_per_kv;
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
        if let Some(num_rows) = padding {
            // Tiles of no rows, and rows of no spans; and few numbers that launches depend on. Partials are as many as there are: where they
            // begin is part of the tiles.
            tiles.resize(num_rows * TILE_LEN, 0);
            merges.resize(num_rows * MERGE_LEN, 0);
            most_spans = most_spans.next_power_of_two();
        }
        let num_tiles = tiles.len() / TILE_LEN;
        let partial_bytes = num_partials * self.num_heads * partial_len(self.head_dim) * 4;
        let is_small = num_tiles * self.num_kv_heads < BLOCKS_FOR_ALL * self.num_multiprocessors;
        Cut {
            window,
            num_tiles,
            spans: match most_spans {
                0 | 1 => Spans::One,
                _ if is_small && partial_bytes <= self.partials.num_bytes() => {
                    Spans::Split(most_spans)
                }
                _ => Spans::InTurn,
            },
            tiles: numbers.push(&tiles),
            merges: numbers.push(&merges),
        }
    }
}

/// Numbers of a tile and of a row to merge.
const TILE_LEN: usize = 5;
const MERGE_LEN: usize = 3;

impl AttentionBatch<'_> {
    /// Takes in where the numbers lie, once they are sent.
    ///
    /// # Errors
    /// If the numbers are others.
    pub fn put_on_card(&mut self, batch: CardBatch, numbers: &NumberBuffer) -> Result<()> {
        let cuts = batch.cuts.into_iter().map(|cut| {
            let (tiles, merges) = (numbers.slice(&cut.tiles)?, numbers.slice(&cut.merges)?);
            Ok((cut, tiles, merges))
        });
        self.on_card = Some(OnCard {
            cuts: cuts.collect::<Result<_>>()?,
            block_tables: numbers.slice(&batch.block_tables)?,
            partials: batch.partials,
        });
        Ok(())
    }
}

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
    let (num_spans, is_split) = match cut.spans {
        Spans::Split(num_spans) => (num_spans, true),
        Spans::One | Spans::InTurn => (1, false),
    };
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
    let name = format!("attention_{half}_{dtype}_{head_dim}");
    cuda.kernel(
        "attention",
        name,
        [cut.num_tiles, num_kv_heads, num_spans],
        shape.num_warps * 32,
    )
    .shared(shape.shared(dtype == KvDtype::Int8, cut.spans == Spans::InTurn))
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
