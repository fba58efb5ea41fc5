//! The numbers of a step, checked once and used by every layer: where tokens stand, where they go, who sees whom.

use std::borrow::Cow;

use candle_core::Result;

use super::Limits;
use crate::ops::{AttentionBatch, Numbers, Slots};
use crate::scheduler::StepPlan;

/// The numbers of a plan's rows, and of some more that nobody reads where a card computes as many rows each time.
pub(super) struct StepRows<'a> {
    token_ids: Cow<'a, [u32]>,
    positions: Cow<'a, [u32]>,
    slots: Cow<'a, [u32]>,
    num_used: usize,
    is_recorded: bool,
    /// Those whose logits are read; `None` where all are, in their order.
    sampled: Option<Vec<u32>>,
}

impl<'a> StepRows<'a> {
    /// Of the plan, or of a recorded step of so many rows.
    pub fn new(plan: &'a StepPlan, recorded: Option<usize>) -> Self {
        let num_rows = recorded.unwrap_or(plan.num_tokens());
        let padded = |numbers: &'a [u32], with: u32| match numbers.len() < num_rows {
            false => Cow::Borrowed(numbers),
            true => {
                let rest = std::iter::repeat_n(with, num_rows - numbers.len());
                Cow::Owned(numbers.iter().copied().chain(rest).collect())
            }
        };
        let sampled = || plan.samples.iter().map(|sample| sample.row_idx);
        Self {
            token_ids: padded(&plan.token_ids, 0),
            positions: padded(&plan.positions, 0),
            slots: padded(&plan.slot_mapping, Slots::NOBODY),
            num_used: plan.num_tokens(),
            is_recorded: recorded.is_some(),
            sampled: (!reads_all_rows(plan)).then(|| sampled().collect()),
        }
    }
}

/// Whether the logits of all rows are read, in their order.
pub(super) fn reads_all_rows(plan: &StepPlan) -> bool {
    let rows = plan.samples.iter().map(|sample| sample.row_idx);
    rows.eq(0..plan.num_tokens() as u32)
}

/// Of a plan.
pub(super) struct Step<'a> {
    pub token_ids: Numbers<'a>,
    pub positions: Numbers<'a>,
    pub slots: Slots<'a>,
    pub batch: AttentionBatch<'a>,
    /// The rows whose logits are read, and those alone as they attend; `None` where all are read.
    pub sampled: Option<(Numbers<'a>, AttentionBatch<'a>)>,
    /// Whether it is to be recorded, or was.
    pub is_recorded: bool,
}

impl<'a> Step<'a> {
    /// In the host's memory.
    ///
    /// # Errors
    /// If the plan is not for a cache of these limits.
    pub fn new(plan: &'a StepPlan, rows: &'a StepRows<'_>, limits: &Limits) -> Result<Self> {
        let &Limits {
            num_blocks,
            block_size,
            ..
        } = limits;
        let mut batch = AttentionBatch::new(
            &plan.cu_seqlens_q,
            &plan.context_lens,
            &plan.block_tables,
            &plan.block_table_offsets,
            num_blocks,
            block_size,
        )?;
        let sampled = match &rows.sampled {
            None => None,
            Some(rows) => Some((rows.into(), batch.select(rows)?)),
        };
        if rows.is_recorded {
            batch.pad(rows.token_ids.len())?;
        }
        Ok(Self {
            token_ids: (&rows.token_ids[..]).into(),
            positions: (&rows.positions[..]).into(),
            slots: Slots::padded(&rows.slots, rows.num_used, num_blocks * block_size)?,
            batch,
            sampled,
            is_recorded: rows.is_recorded,
        })
    }
}
