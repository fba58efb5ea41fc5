//! What may still join the step being planned.

use std::time::Duration;

use super::cost::{CostModel, StepSize};
use super::{SchedulerConfig, Sequence};

/// Rows that a step computes of prompts in any case, so that they advance however tight the target is.
const MIN_PROMPT_ROWS: usize = 4;

/// The step's size so far, and its limits: a number of tokens, and, while somebody waits for the next token of an answer, a
/// time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    num_tokens_left: usize,
    target: Option<Duration>,
    size: StepSize,
    has_decodes: bool,
    has_prompts: bool,
    is_time_up: bool,
}

impl Budget {
    pub(super) fn new(config: &SchedulerConfig) -> Self {
        Self {
            num_tokens_left: config.max_num_batched_tokens,
            target: config.target_itl,
            ..Self::default()
        }
    }

    /// The step's size so far.
    pub(super) fn size(&self) -> StepSize {
        self.size
    }

    /// Whether no prompt can join any more.
    pub(super) fn is_spent(&self) -> bool {
        self.num_tokens_left == 0 || self.is_time_up
    }

    /// Gives a sequence its next token.
    pub(super) fn decode(&mut self, sequence: &mut Sequence) {
        self.has_decodes = true;
        self.take(sequence, 1);
    }

    /// Gives a sequence a chunk of its prompt; may be none.
    pub(super) fn prompt_chunk(&mut self, sequence: &mut Sequence, cost: &CostModel) {
        let mut num_rows = sequence.num_uncomputed_tokens().min(self.num_tokens_left);
        if let Some(target) = self.target.filter(|_| self.has_decodes) {
            let (size, num_computed) = (self.size, sequence.num_computed_tokens);
            let fitting = cost.rows_within(size, num_computed, num_rows, target);
            self.is_time_up |= fitting < num_rows;
            let least = if self.has_prompts { 0 } else { MIN_PROMPT_ROWS };
            num_rows = fitting.max(least.min(num_rows));
        }
        self.has_prompts |= num_rows > 0;
        self.take(sequence, num_rows);
    }

    fn take(&mut self, sequence: &mut Sequence, num_rows: usize) {
        sequence.num_scheduled_tokens = num_rows;
        self.num_tokens_left -= num_rows;
        self.size.add_rows(num_rows, sequence.num_computed_tokens);
        self.size.num_samples += usize::from(sequence.is_sampled_this_step());
    }
}
