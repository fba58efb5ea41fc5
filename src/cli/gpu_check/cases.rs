//! Cases of attention: how keys and values are stored and attended to, by which sequences.

use std::ops::Range;

use anyhow::Result;

use super::paged::{BLOCK_SIZE, MAX_POSITIONS, NUM_BLOCKS, Paged};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::ops::{DType, KvDtype, RopeStyle, Spans};

/// How keys and values are stored and attended to.
#[derive(Clone, Copy)]
pub(super) struct Case {
    /// Query heads, those of keys, and their width.
    pub heads: (usize, usize, usize),
    /// What activations are of on a card.
    pub half: DType,
    pub kv_dtype: KvDtype,
    /// How many values of a head turn, and which of them together.
    pub rope: Option<(usize, RopeStyle)>,
    pub has_norm: bool,
    /// Of scores, times √D.
    pub scale: f32,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
    pub has_sinks: bool,
    /// What the room for spans that are split is for.
    pub max_model_len: usize,
}

/// The tokens of a sequence that are new, and all; its values depend on its number alone.
#[derive(Clone, Copy)]
pub(super) struct Sequence {
    pub number: u64,
    pub num_new: usize,
    pub context: usize,
}

/// What the new rows give.
pub(super) struct Attended {
    /// Their queries, turned.
    pub queries: Vec<f32>,
    pub out: Vec<f32>,
    /// How a card went through spans.
    pub spans: Vec<Spans>,
}

impl Case {
    pub fn new(head_dim: usize, half: DType, kv_dtype: KvDtype) -> Self {
        Self {
            heads: (8, 2, head_dim),
            half,
            kv_dtype,
            rope: Some((head_dim, RopeStyle::Half)),
            has_norm: false,
            scale: 1.0,
            window: None,
            softcap: None,
            has_sinks: false,
            max_model_len: MAX_POSITIONS,
        }
    }

    /// What a card attends in: no kernel attends over a cache of BF16 in half precision.
    pub fn attended_half(&self) -> DType {
        match self.kv_dtype {
            KvDtype::Bf16 => DType::BF16,
            _ => self.half,
        }
    }

    /// Values of a row that attention gives.
    pub fn width(&self) -> usize {
        self.heads.0 * self.heads.2
    }

    /// Stores what is there already, then the rows that are new, and attends from those.
    pub fn attend(&self, device: &Device, sequences: &[Sequence], cpu: &Cpu) -> Result<Attended> {
        let paged = Paged::new(self, device, cpu)?;
        paged.store(sequences, |s| 0..s.context - s.num_new)?;
        let qkv = paged.store(sequences, Sequence::new_rows)?;
        let (out, spans) = paged.attend(sequences, &qkv)?;
        let rows = qkv.chunks_exact(paged.row_len());
        let queries = rows.flat_map(|row| &row[..self.width()]);
        Ok(Attended {
            queries: queries.copied().collect(),
            out,
            spans,
        })
    }
}

impl Sequence {
    fn new_rows(&self) -> Range<usize> {
        self.context - self.num_new..self.context
    }

    /// That of tokens from `i` blocks on: the first has the blocks from the bottom, others from the top.
    pub fn block(&self, i: usize) -> u32 {
        let block = match self.number {
            0 => i,
            _ => NUM_BLOCKS - 1 - i,
        };
        block as u32
    }

    pub fn slot(&self, i: usize) -> u32 {
        self.block(i / BLOCK_SIZE) * BLOCK_SIZE as u32 + (i % BLOCK_SIZE) as u32
    }
}
