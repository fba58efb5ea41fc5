//! What may still join the step being planned.

use std::time::Duration;

use super::cost::{CostModel, StepSize};
use super::speculation::MAX_EXTRA_SAMPLES;
use super::{SchedulerConfig, Sequence};

/// Prompts may make a step of decodes longer by this part in any case, so that they advance however tight the target is.
const LEAST_PART: f64 = 0.5;

/// What a step takes in any case may be this part of what its prompts take: until then it is shared among prompts.
const SHARED_PART: u32 = 8;

/// How long a step of such decodes may take that several prompts share. Beyond that a shared step saves next to nothing, and
/// whoever came first would only wait for the others' rows.
pub(super) fn shared_limit(cost: &CostModel, decodes: StepSize) -> Duration {
    cost.predict(decodes) + cost.predict(StepSize::default()) * (SHARED_PART - 1)
}

/// How long a step may take whose decodes alone take `decodes`.
pub(super) fn within_reach(target: Duration, decodes: Duration) -> Duration {
    target.max(decodes.mul_f64(1.0 + LEAST_PART))
}

/// The step's size so far, and its limits: a number of tokens, and, while somebody waits for the next token of an answer, a
/// time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    num_tokens_left: usize,
    /// Tokens of prompts that can still be scored.
    num_scored_left: usize,
    target: Option<Duration>,
    size: StepSize,
    /// The size without prompts.
    decodes: StepSize,
    /// Tokens that the step is expected to give the sequences that decode.
    num_expected: f64,
    has_prompts: bool,
    is_time_up: bool,
}

impl Budget {
    pub(super) fn new(config: &SchedulerConfig) -> Self {
        Self {
            num_tokens_left: config.max_num_batched_tokens,
            num_scored_left: MAX_EXTRA_SAMPLES,
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
        self.num_expected += 1.0;
        self.take(sequence, 1);
        self.decodes = self.size;
    }

    fn has_decodes(&self) -> bool {
        self.num_expected > 0.0
    }

    /// Whether the step computes any of a prompt.
    pub(super) fn has_prompts(&self) -> bool {
        self.has_prompts
    }

    /// Whether a drafted row after `num_before` tokens, of use with the probability `chance`, makes the step give more
    /// tokens a second, and fits.
    pub(super) fn is_draft_worth(&self, chance: f64, num_before: usize, cost: &CostModel) -> bool {
        let (without, with) = (
            cost.predict(self.size),
            cost.predict(self.with_draft(num_before)),
        );
        let in_time = self.target.is_none_or(|target| with <= target);
        let takes = with.saturating_sub(without).as_secs_f64();
        // chance / takes > num_expected / without
        self.num_tokens_left > 0
            && in_time
            && chance * without.as_secs_f64() > self.num_expected * takes
    }

    fn with_draft(&self, num_before: usize) -> StepSize {
        let mut size = self.size;
        size.add_rows(1, num_before);
        size.num_samples += 1;
        size
    }

    /// Adds a drafted row.
    pub(super) fn draft(&mut self, chance: f64, num_before: usize) {
        self.size = self.with_draft(num_before);
        self.num_tokens_left -= 1;
        self.num_expected += chance;
    }

    /// Gives a sequence a chunk of its prompt; may be none.
    pub(super) fn prompt_chunk(&mut self, sequence: &mut Sequence, cost: &CostModel) {
        let mut num_rows = sequence.num_uncomputed_tokens().min(self.num_tokens_left);
        if sequence.is_scoring() {
            // The prompt's last row is drawn from, not scored, and has a place of its own among those that are read.
            let num_left = sequence.num_uncomputed_tokens();
            let num_most = sequence.num_unscored() + self.num_scored_left;
            if num_rows < num_left || num_left > num_most + 1 {
                num_rows = num_rows.min(num_most);
            }
        }
        let target = self.target.filter(|_| self.has_decodes());
        let target = target.map(|target| within_reach(target, cost.predict(self.decodes)));
        let shared = (self.has_prompts).then(|| shared_limit(cost, self.decodes));
        if let Some(limit) = target.into_iter().chain(shared).min() {
            let (size, num_computed) = (self.size, sequence.num_computed_tokens);
            let fitting = cost.rows_within(size, num_computed, num_rows, limit);
            self.is_time_up |= fitting < num_rows;
            let least = usize::from(!self.has_prompts).min(num_rows);
            num_rows = fitting.max(least);
        }
        self.has_prompts |= num_rows > 0;
        self.take(sequence, num_rows);
    }

    fn take(&mut self, sequence: &mut Sequence, num_rows: usize) {
        sequence.num_scheduled_tokens = num_rows;
        self.num_tokens_left -= num_rows;
        self.size.add_rows(num_rows, sequence.num_computed_tokens);
        self.size.num_samples += sequence.num_samples();
        self.num_scored_left = (self.num_scored_left)
            .checked_sub(sequence.num_scored())
            .expect("no more rows are scored than may be: this is a bug");
    }
}
