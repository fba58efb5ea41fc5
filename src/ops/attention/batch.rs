//! Which rows attend to which cached tokens: checked once a step, used by every layer.

use std::ops::Range;

use candle_core::{Result, bail};

use super::card::OnCard;
use super::{ROWS, SPAN, TILE};

/// The queries and the cached tokens of S sequences with T query rows in all.
///
/// Invariant: the chunks' rows ascend from 0 to T (less, where it is padded) without gaps, and every block is one of the cache that the batch was made
/// for, enough of them for what the chunk's last row sees.
#[derive(Debug)]
pub struct AttentionBatch<'a> {
    pub(super) chunks: Vec<Chunk<'a>>,
    /// Spans of all chunks.
    pub(super) num_spans: usize,
    /// Pairs of a row and a span of its chunk.
    pub(super) num_partials: usize,
    pub(super) num_rows: usize,
    pub(super) num_blocks: usize,
    pub(super) block_size: usize,
    /// Whether there may be rows behind those of the chunks, which nobody reads.
    pub(super) is_padded: bool,
    pub(super) on_card: Option<OnCard>,
}

/// Up to [`ROWS`] query rows of one sequence.
#[derive(Debug)]
pub(super) struct Chunk<'a> {
    /// In q and out.
    pub(super) rows: Range<usize>,
    /// Tokens that the first row sees; every further row sees one more.
    pub(super) visible: usize,
    pub(super) blocks: &'a [u32],
    /// Spans of the chunks before.
    pub(super) first_span: usize,
    /// Pairs of a row and a span of the chunks before.
    pub(super) first_partial: usize,
}

impl<'a> AttentionBatch<'a> {
    /// Checks a step's arrays against a cache of `num_blocks` blocks of `block_size` tokens.
    ///
    /// `cu_seqlens_q` `[S + 1]`: sequence s has the query rows `cu_seqlens_q[s]..cu_seqlens_q[s + 1]`. `context_lens`
    /// `[S]`: its tokens in the cache, those of this step included; its last query row is the last of them.
    /// `block_tables`: block ids of all sequences, one after the other. `block_table_offsets` `[S + 1]`: sequence s has
    /// the blocks `block_tables[block_table_offsets[s]..block_table_offsets[s + 1]]`.
    ///
    /// # Errors
    /// If block_size is no multiple of 16, an array has another length, offsets do not ascend, a context is shorter than
    /// its query, or blocks are missing or outside the cache.
    pub fn new(
        cu_seqlens_q: &[u32],
        context_lens: &[u32],
        block_tables: &'a [u32],
        block_table_offsets: &[u32],
        num_blocks: usize,
        block_size: usize,
    ) -> Result<Self> {
        if block_size == 0 || !block_size.is_multiple_of(TILE) {
            bail!("attention batch: block_size must be a multiple of {TILE}, is {block_size}");
        }
        let num_sequences = context_lens.len();
        check_offsets("cu_seqlens_q", cu_seqlens_q, num_sequences)?;
        let num_entries = check_offsets("block_table_offsets", block_table_offsets, num_sequences)?;
        if num_entries != block_tables.len() {
            bail!(
                "attention batch: block_table_offsets end at {num_entries}, but block_tables has {} values",
                block_tables.len()
            );
        }
        let mut batch = Self {
            chunks: Vec::new(),
            num_spans: 0,
            num_partials: 0,
            num_rows: 0,
            num_blocks,
            block_size,
            is_padded: false,
            on_card: None,
        };
        for (s, &context_len) in context_lens.iter().enumerate() {
            let context_len = context_len as usize;
            let rows = cu_seqlens_q[s] as usize..cu_seqlens_q[s + 1] as usize;
            if context_len < rows.len() {
                bail!(
                    "attention batch: context_lens[{s}] is {context_len}, below the sequence's {} rows",
                    rows.len()
                );
            }
            let blocks =
                &block_tables[block_table_offsets[s] as usize..block_table_offsets[s + 1] as usize];
            let num_used = context_len.div_ceil(block_size);
            let Some(used) = blocks.get(..num_used) else {
                bail!(
                    "attention batch: sequence {s} has {} blocks, {context_len} tokens take {num_used}",
                    blocks.len()
                );
            };
            if let Some(i) = used.iter().position(|&block| block as usize >= num_blocks) {
                bail!(
                    "attention batch: block {i} of sequence {s} is {}, the cache has {num_blocks}",
                    used[i]
                );
            }
            let num_before = context_len - rows.len();
            for first in rows.clone().step_by(ROWS) {
                let num_rows = ROWS.min(rows.end - first);
                batch.push(num_rows, num_before + (first - rows.start) + 1, used);
            }
        }
        Ok(batch)
    }

    /// The batch whose row i is row `rows[i]` of this one, with the same context; a row may stand several times.
    ///
    /// # Errors
    /// If a row is not below T.
    pub fn select(&self, rows: &[u32]) -> Result<Self> {
        let mut selected = Self {
            chunks: Vec::new(),
            num_spans: 0,
            num_partials: 0,
            num_rows: 0,
            num_blocks: self.num_blocks,
            block_size: self.block_size,
            is_padded: false,
            on_card: None,
        };
        for (i, &row) in rows.iter().enumerate() {
            let row = row as usize;
            let chunk = self.chunks.partition_point(|chunk| chunk.rows.end <= row);
            let Some(chunk) = self.chunks.get(chunk) else {
                bail!(
                    "attention batch: rows[{i}] is {row}, but there are {} rows",
                    self.num_rows
                );
            };
            selected.push(1, chunk.visible + (row - chunk.rows.start), chunk.blocks);
        }
        Ok(selected)
    }

    /// Adds rows that attend to nothing, for a card that computes as many rows each time: what it has for them stays.
    ///
    /// # Errors
    /// If it has more rows than `num_rows`.
    pub fn pad(&mut self, num_rows: usize) -> Result<()> {
        if num_rows < self.num_rows {
            bail!(
                "attention batch: {} rows are more than {num_rows}",
                self.num_rows
            );
        }
        self.num_rows = num_rows;
        self.is_padded = true;
        Ok(())
    }

    fn push(&mut self, num_rows: usize, visible: usize, blocks: &'a [u32]) {
        let num_spans = (visible + num_rows - 1).div_ceil(SPAN);
        self.chunks.push(Chunk {
            rows: self.num_rows..self.num_rows + num_rows,
            visible,
            blocks,
            first_span: self.num_spans,
            first_partial: self.num_partials,
        });
        self.num_rows += num_rows;
        self.num_spans += num_spans;
        self.num_partials += num_spans * num_rows;
    }
}

/// The last of a sequence's `num_sequences + 1` bounds, which must ascend from 0.
fn check_offsets(name: &str, bounds: &[u32], num_sequences: usize) -> Result<usize> {
    if bounds.len() != num_sequences + 1 {
        bail!(
            "attention batch: {name} must have {} values, has {}",
            num_sequences + 1,
            bounds.len()
        );
    }
    if bounds[0] != 0 || !bounds.is_sorted() {
        bail!("attention batch: {name} must ascend from 0");
    }
    Ok(bounds[num_sequences] as usize)
}
