//! The end of a step: what it drew becomes known, or, where it failed, what it was to do is given up.

use std::time::Duration;

use super::{Scheduler, Sequence, SequenceId};
use crate::kv::BlockMove;
use crate::request::{FinishReason, SampledToken, Timing, TokenLogprobs};

/// A token that a step gave a sequence.
#[derive(Debug)]
pub struct Committed {
    /// The sequence.
    pub id: SequenceId,
    /// Its new token; `None` where the model gave nothing to draw from, which ends the sequence too.
    pub token: Option<SampledToken>,
    /// Set with the first token.
    pub timing: Option<Timing>,
    /// With the first token, of the prompt's tokens from the second on, where that was asked for; else empty.
    pub prompt_logprobs: Vec<TokenLogprobs>,
    /// Set when the token ended it. Blocks of an ended sequence are free again.
    pub finish: Option<FinishReason>,
}

impl Committed {
    fn is_last(&self) -> bool {
        self.finish.is_some() || self.token.is_none()
    }
}

impl Scheduler {
    /// Takes in the tokens drawn for the plan's sample rows, in their order, and appends what they led to.
    pub fn commit(
        &mut self,
        sampled: Vec<Option<SampledToken>>,
        now: Duration,
        committed: &mut Vec<Committed>,
    ) {
        assert_eq!(
            sampled.len(),
            self.plan.samples.len(),
            "one token a sample row: this is a bug"
        );
        debug_assert!(
            (self
                .running
                .iter()
                .filter(|s| s.num_scheduled_tokens > 0)
                .map(|s| s.id))
            .eq(self.plan.sequences.iter().copied()),
            "nobody comes or goes while a step is computed: this is a bug"
        );
        // A step that moves blocks between the cache and the host says little about what its rows take.
        let mut moves = self.plan.block_moves.iter();
        if moves.all(|block_move| matches!(block_move, BlockMove::Copy { .. })) {
            let time = now.saturating_sub(self.planned_at);
            self.cost.learn(self.budget.size(), time);
        }
        let mut sampled = sampled.into_iter();
        let (drafted_before, accepted_before) = (self.num_drafted, self.num_accepted);
        let mut num_decodes = 0;
        let max_model_len = self.config.max_model_len;
        let (pool, waiting) = (&mut self.pool, &mut self.waiting);
        self.running.retain_mut(|sequence| {
            let mut rows = sampled.by_ref().take(sequence.num_samples());
            let is_scored = sequence.take_scores(&mut rows);
            let num_drafted = sequence.draft.scheduled().len();
            sequence.num_computed_tokens += sequence.num_scheduled_known();
            let num_before = committed.len();
            sequence.take_tokens(rows, is_scored, now, max_model_len, committed);
            let num_given = committed.len() - num_before;
            if num_given > 0 {
                sequence.draft.note_given(num_given);
                num_decodes += 1;
            }
            self.num_drafted += num_drafted as u64;
            self.num_accepted += num_given.saturating_sub(1) as u64;
            sequence.unschedule();
            sequence.settle_blocks(pool);
            let is_over = committed[num_before..]
                .last()
                .is_some_and(Committed::is_last);
            if is_over {
                let finish = committed.last().and_then(|event| event.finish);
                let has_stopped = finish != Some(FinishReason::Length);
                (self.admission).ended(sequence.num_output_tokens(), has_stopped);
                sequence.release_blocks(pool);
                waiting.end(sequence);
            }
            !is_over
        });
        self.draft_yield.learn(
            num_decodes,
            self.num_drafted - drafted_before,
            self.num_accepted - accepted_before,
            self.budget.has_prompts(),
        );
        self.pool.step_done();
    }

    /// Gives up the step in flight, which failed: removes its sequences and forgets the blocks it was to complete.
    pub fn abandon_step(&mut self) {
        self.pool.step_failed();
        let failed = std::mem::take(&mut self.plan.sequences);
        self.remove(|id| failed.contains(&id));
        // The others may count on blocks that the step was to fill or to copy. They find again what is written.
        while let Some(last) = self.running.len().checked_sub(1) {
            self.preempt(last);
        }
        self.plan.clear();
    }
}

impl Sequence {
    /// Takes in the scores of its prompt's tokens; false if the model gave none.
    fn take_scores(&mut self, rows: &mut impl Iterator<Item = Option<SampledToken>>) -> bool {
        let num_scored = self.num_scored();
        let num_before = self.prompt_logprobs.len();
        let scores = rows.take(num_scored).flatten();
        (self.prompt_logprobs).extend(scores.filter_map(|token| token.logprobs));
        self.prompt_logprobs.len() == num_before + num_scored
    }

    /// Takes in what the rows of a step drew, as far as the rows after the first were drafted right.
    fn take_tokens(
        &mut self,
        mut rows: impl Iterator<Item = Option<SampledToken>>,
        is_scored: bool,
        now: Duration,
        max_model_len: usize,
        committed: &mut Vec<Committed>,
    ) {
        if !is_scored {
            committed.push(Committed {
                id: self.id,
                token: None,
                timing: None,
                prompt_logprobs: Vec::new(),
                finish: None,
            });
            return rows.for_each(drop);
        }
        for (i, token) in rows.by_ref().enumerate() {
            let timing = (self.num_output_tokens() == 0).then(|| self.timing(now));
            let token_id = token.as_ref().map(|token| token.token_id);
            let finish = token_id.and_then(|id| self.push(id, max_model_len));
            // The next row was computed after the drafted token: it counts if that is the one that was drawn.
            let is_foreseen = token_id.is_some_and(|id| self.draft.foresaw(i, id));
            let event = Committed {
                id: self.id,
                token,
                timing,
                prompt_logprobs: std::mem::take(&mut self.prompt_logprobs),
                finish,
            };
            let goes_on = is_foreseen && !event.is_last();
            committed.push(event);
            if !goes_on {
                break;
            }
            self.num_computed_tokens += 1;
        }
        rows.for_each(drop);
    }
}
