//! One step's work as flat arrays, the form an executor consumes.

use std::ops::Range;
use std::sync::Arc;

use super::{Sequence, SequenceId};
use crate::constraint::MaskSlot;
use crate::kv::BlockMove;
use crate::request::{Adapter, SampledToken, SamplingParams};

/// One row whose logits are needed, and how to draw from them.
#[derive(Clone, Debug)]
pub struct SampleRow {
    /// Index into the step's `T` token rows.
    pub row_idx: u32,
    /// How to draw.
    pub sampling: Arc<SamplingParams>,
    /// Position, in its sequence, of the token to be drawn: part of the sampling noise's key.
    pub position: u32,
    /// Earlier tokens, as a range of [`StepPlan::history`]; empty unless the request has penalties.
    pub history: Range<usize>,
    /// How many tokens at the front of `history` are the prompt.
    pub num_prompt_tokens: usize,
    /// Tokens that may not be drawn, as a range of [`StepPlan::banned`].
    pub banned: Range<usize>,
    /// Where the mask of what may be drawn appears, once the step before is committed: not to be read before rows are drawn.
    pub mask: Option<Arc<MaskSlot>>,
    /// The token that is known to come next, of a row that is only to tell its log-probabilities.
    pub known: Option<u32>,
}

/// A token row whose token is not known when its step is launched, for the step before draws it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingInput {
    /// Index into the step's `T` token rows.
    pub row_idx: u32,
    /// Index into the sample rows of the step before.
    pub drawn_idx: u32,
    /// Where the token belongs in [`StepPlan::history`], of a request with penalties.
    history_idx: Option<usize>,
}

/// `T` token rows of `S` sequences. Rebuilt in place each step, so that planning allocates nothing in steady state.
///
/// A row may read keys and values that other rows of the same step store: in each layer all rows store before any attends.
#[derive(Clone, Debug, Default)]
pub struct StepPlan {
    /// Blocks to copy, in this order and before any row is computed.
    pub block_moves: Vec<BlockMove>,
    /// Input tokens, `[T]`; 0 for those of `pending`, until they are known.
    pub token_ids: Vec<u32>,
    /// Those that the step in flight draws when this one is launched.
    pub pending: Vec<PendingInput>,
    /// Position of each in its sequence, `[T]`.
    pub positions: Vec<u32>,
    /// KV cache slot each row's keys and values go to, `[T]`; all distinct.
    pub slot_mapping: Vec<u32>,
    /// The sequences, `[S]`.
    pub sequences: Vec<SequenceId>,
    /// What each is computed with besides the model, `[S]`.
    pub adapters: Vec<Option<Adapter>>,
    /// Rows of sequence `s` are `cu_seqlens_q[s]..cu_seqlens_q[s + 1]`, `[S + 1]`.
    pub cu_seqlens_q: Vec<u32>,
    /// Tokens in the cache once this step is done, `[S]`.
    pub context_lens: Vec<u32>,
    /// Block ids of all sequences, one after the other.
    pub block_tables: Vec<u32>,
    /// Blocks of sequence `s` are `block_tables[block_table_offsets[s]..block_table_offsets[s + 1]]`, `[S + 1]`.
    pub block_table_offsets: Vec<u32>,
    /// Rows whose logits are read. When made by the scheduler, for each sequence: the tokens of its prompt whose next one is to be
    /// scored; then, where its known tokens end in this step, the last of them; and then each drafted one.
    pub samples: Vec<SampleRow>,
    /// Backing store of [`SampleRow::history`]; as for `token_ids`.
    pub history: Vec<u32>,
    /// Backing store of [`SampleRow::banned`].
    pub banned: Vec<u32>,
}

impl StepPlan {
    /// Token rows in this step, `T`.
    pub fn num_tokens(&self) -> usize {
        self.token_ids.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.token_ids.is_empty()
    }

    /// Empties it, keeping the memory.
    pub fn clear(&mut self) {
        self.block_moves.clear();
        self.token_ids.clear();
        self.pending.clear();
        self.positions.clear();
        self.slot_mapping.clear();
        self.sequences.clear();
        self.adapters.clear();
        self.cu_seqlens_q.clear();
        self.cu_seqlens_q.push(0);
        self.context_lens.clear();
        self.block_tables.clear();
        self.block_table_offsets.clear();
        self.block_table_offsets.push(0);
        self.samples.clear();
        self.history.clear();
        self.banned.clear();
    }

    /// Adds the scheduled tokens of `sequence`, and sample rows when they reach its end.
    pub fn push(&mut self, sequence: &Sequence, block_size: usize) {
        let start = sequence.num_computed_tokens;
        let end = start + sequence.num_scheduled_tokens;
        let end_known = start + sequence.num_scheduled_known();
        let known = start..end_known.min(sequence.tokens.len());
        if known.end < end_known {
            self.push_pending(sequence);
        } else {
            self.token_ids.extend_from_slice(&sequence.tokens[known]);
        }
        let draft = sequence.draft.scheduled();
        self.token_ids.extend_from_slice(draft);
        self.positions.extend(start as u32..end as u32);
        self.slot_mapping
            .extend((start..end).map(|position| sequence.block_table.slot(position, block_size)));
        self.sequences.push(sequence.id);
        self.adapters.push(sequence.adapter.clone());
        self.cu_seqlens_q.push(self.token_ids.len() as u32);
        self.context_lens.push(end as u32);
        let blocks = &sequence.block_table.blocks()[..end.div_ceil(block_size)];
        self.block_tables.extend(blocks.iter().map(|block| block.0));
        self.block_table_offsets
            .push(self.block_tables.len() as u32);
        self.push_scored(sequence);
        if sequence.is_sampled_this_step() {
            self.push_samples(sequence);
        }
    }

    /// A row is all of a sequence whose token is being drawn: it has one token that is not computed, and no draft.
    fn push_pending(&mut self, sequence: &Sequence) {
        let has_penalties = sequence.sampling.has_penalties();
        self.pending.push(PendingInput {
            row_idx: self.token_ids.len() as u32,
            drawn_idx: sequence.pending_row,
            history_idx: has_penalties.then(|| self.history.len() + sequence.tokens.len()),
        });
        self.token_ids.push(0);
    }

    /// Takes in what the step before drew, of which an executor knows already. A sequence that was given no token ends: nobody reads
    /// its row.
    pub(super) fn settle(&mut self, drawn: &[Option<SampledToken>]) {
        for pending in &self.pending {
            if let Some(token) = &drawn[pending.drawn_idx as usize] {
                self.token_ids[pending.row_idx as usize] = token.token_id;
                if let Some(i) = pending.history_idx {
                    self.history[i] = token.token_id;
                }
            }
        }
    }

    fn push_scored(&mut self, sequence: &Sequence) {
        let Some((scored, sampling)) = sequence.scored_this_step() else {
            return;
        };
        let row_of_first = self.token_ids.len() - sequence.num_scheduled_tokens;
        for position in scored {
            self.samples.push(SampleRow {
                row_idx: (row_of_first + position - sequence.num_computed_tokens) as u32,
                sampling: Arc::clone(sampling),
                position: position as u32 + 1,
                history: 0..0,
                num_prompt_tokens: 0,
                banned: 0..0,
                mask: None,
                known: Some(sequence.tokens[position + 1]),
            });
        }
    }

    fn push_samples(&mut self, sequence: &Sequence) {
        let draft = sequence.draft.scheduled();
        let (num_known, num_rows) = (sequence.len(), 1 + draft.len());
        let history_start = self.history.len();
        let has_penalties = sequence.sampling.has_penalties();
        if has_penalties {
            self.history.extend_from_slice(&sequence.tokens);
            self.history.resize(history_start + num_known, 0);
            self.history.extend_from_slice(draft);
        }
        for i in 0..num_rows {
            let history_len = if has_penalties { num_known + i } else { 0 };
            let banned_start = self.banned.len();
            self.banned.extend_from_slice(sequence.banned_tokens(i));
            self.samples.push(SampleRow {
                row_idx: (self.token_ids.len() - num_rows + i) as u32,
                sampling: Arc::clone(&sequence.sampling),
                position: (num_known + i) as u32,
                history: history_start..history_start + history_len,
                num_prompt_tokens: sequence.num_prompt_tokens,
                banned: banned_start..self.banned.len(),
                mask: sequence.mask.clone(),
                known: None,
            });
        }
    }
}
