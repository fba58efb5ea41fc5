//! The largest step there can be and a recorded one, so that what they take can be measured before requests come.

use std::sync::Arc;

use super::{Limits, Runner};
use crate::engine::{Executor, ExecutorError};
use crate::request::SamplingParams;
use crate::scheduler::{SampleRow, SequenceId, StepPlan};

/// Computes one step of as many rows as a step may have, with every kind of memory that drawing takes.
///
/// # Errors
/// If the executor fails.
pub fn warm_up(runner: &mut Runner, limits: &Limits) -> Result<(), ExecutorError> {
    let capacity = limits.num_blocks * limits.block_size;
    let num_rows = (limits.max_num_batched_tokens)
        .min(limits.max_model_len)
        .min(capacity) as u32;
    let num_blocks = num_rows.div_ceil(limits.block_size as u32);
    let sampling = Arc::new(SamplingParams {
        temperature: 1.0,
        top_p: 0.9,
        presence_penalty: 1.0,
        logprobs: Some(1),
        ..SamplingParams::greedy()
    });
    let sample = SampleRow {
        row_idx: num_rows - 1,
        sampling,
        position: num_rows,
        history: 0..1,
        num_prompt_tokens: 1,
        banned: 0..0,
        mask: None,
        known: None,
    };
    let plan = StepPlan {
        token_ids: vec![0; num_rows as usize],
        positions: (0..num_rows).collect(),
        slot_mapping: (0..num_rows).collect(),
        sequences: vec![SequenceId(0)],
        adapters: vec![None],
        cu_seqlens_q: vec![0, num_rows],
        context_lens: vec![num_rows],
        block_tables: (0..num_blocks).collect(),
        block_table_offsets: vec![0, num_blocks],
        samples: vec![sample; limits.max_samples.min(limits.max_num_batched_tokens)],
        history: vec![0],
        ..StepPlan::default()
    };
    runner.step(&plan).map(|_| ())
}

/// Computes the smallest step that is recorded: launched the first time, which brings whatever its kernels take, recorded and replayed the
/// second.
///
/// # Errors
/// If the executor fails.
pub fn warm_up_smallest(runner: &mut Runner) -> Result<(), ExecutorError> {
    let sample = SampleRow {
        row_idx: 0,
        sampling: Arc::new(SamplingParams::greedy()),
        position: 1,
        history: 0..0,
        num_prompt_tokens: 1,
        banned: 0..0,
        mask: None,
        known: None,
    };
    let plan = StepPlan {
        token_ids: vec![0],
        positions: vec![0],
        slot_mapping: vec![0],
        sequences: vec![SequenceId(0)],
        adapters: vec![None],
        cu_seqlens_q: vec![0, 1],
        context_lens: vec![1],
        block_tables: vec![0],
        block_table_offsets: vec![0, 1],
        samples: vec![sample],
        ..StepPlan::default()
    };
    runner.step(&plan).map(|_| ())
}
