//! A step of one sequence that nothing schedules: of a text that is scored, of a teacher's, of a measurement.

use std::ops::Range;
use std::sync::Arc;

use crate::request::SamplingParams;
use crate::scheduler::{SampleRow, SequenceId, StepPlan};

/// The tokens from position `first` on of a sequence whose blocks are those from 0 on, with the logits of the rows `sampled`.
pub(super) fn plan(tokens: &[u32], first: u32, sampled: Range<u32>, block_size: usize) -> StepPlan {
    let end = first + tokens.len() as u32;
    let mut plan = StepPlan::default();
    plan.clear();
    plan.token_ids.extend(tokens);
    plan.positions.extend(first..end);
    plan.slot_mapping.extend(first..end);
    plan.sequences.push(SequenceId(0));
    plan.adapters.push(None);
    plan.cu_seqlens_q.push(tokens.len() as u32);
    plan.context_lens.push(end);
    plan.block_tables
        .extend(0..(end as usize).div_ceil(block_size) as u32);
    plan.block_table_offsets
        .push(plan.block_tables.len() as u32);
    let sampling = Arc::new(SamplingParams::greedy());
    plan.samples.extend(sampled.map(|row_idx| SampleRow {
        known: None,
        mask: None,
        row_idx,
        sampling: Arc::clone(&sampling),
        position: first + row_idx + 1,
        history: 0..0,
        num_prompt_tokens: 0,
        banned: 0..0,
    }));
    plan
}
