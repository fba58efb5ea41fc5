//! The end of a step: what it drew becomes known, or, where it failed, what it was to do is given up.

use std::time::Duration;

use super::drafter::DraftSource;
use super::in_flight::Part;
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
    /// With the first token, of the prompt's tokens that are scored, where that was asked for; else empty.
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
    /// Takes in the tokens that the oldest step in flight drew for its plan's sample rows, in their order, and appends what they led to.
    /// Rows of sequences that are gone count for nothing.
    pub fn commit(
        &mut self,
        sampled: Vec<Option<SampledToken>>,
        now: Duration,
        committed: &mut Vec<Committed>,
    ) {
        let step = (self.in_flight.pop()).expect("a step is in flight: this is a bug");
        assert_eq!(
            sampled.len(),
            step.plan.samples.len(),
            "one token a sample row: this is a bug"
        );
        // A step that moves blocks between the cache and the host says little about what its rows take.
        let mut moves = step.plan.block_moves.iter();
        if moves.all(|block_move| matches!(block_move, BlockMove::Copy { .. })) {
            // One that was planned ahead has waited for the one before.
            let begun = step.planned_at.max(self.last_commit);
            let took = now.saturating_sub(begun);
            self.cost.learn(step.size, took.saturating_sub(self.waited));
        }
        self.last_commit = now;
        self.waited = Duration::ZERO;
        if let Some(behind) = self.in_flight.oldest_mut() {
            behind.settle(&sampled);
        }
        let mut sampled = sampled.into_iter();
        let (drafted_before, accepted_before) = (self.num_drafted(), self.num_accepted());
        let (mut num_decodes, mut guess) = (0, 0);
        for (&id, &part) in step.plan.sequences.iter().zip(&step.parts) {
            let num_rows = part.num_scored + part.num_drawn;
            let rows = sampled.by_ref().take(num_rows);
            let Some(i) = self.find_running(id, guess) else {
                rows.for_each(drop);
                continue;
            };
            guess = i + 1;
            let sequence = &mut self.running[i];
            let num_before = committed.len();
            sequence.take_rows(part, rows, now, self.config.max_model_len, committed);
            let num_given = committed.len() - num_before;
            if num_given > 0 {
                sequence.draft.note_given(num_given);
                num_decodes += 1;
            }
            let totals = &mut self.drafts[sequence.draft.source as usize];
            totals.num_drafted += part.num_drawn.saturating_sub(1) as u64;
            let num_right = num_given.saturating_sub(1);
            totals.num_accepted += num_right as u64;
            if let (DraftSource::Recalled, Some(recalled)) =
                (sequence.draft.source, &sequence.recalled)
            {
                recalled.was_right(num_right);
            }
            sequence.draft.clear();
            sequence.settle_blocks(&mut self.pool);
            if committed[num_before..]
                .last()
                .is_some_and(Committed::is_last)
            {
                let finish = committed.last().and_then(|event| event.finish);
                self.end(i, finish);
                guess = i;
            }
        }
        self.draft_yield.learn(
            num_decodes,
            self.num_drafted() - drafted_before,
            self.num_accepted() - accepted_before,
            step.has_prompts,
        );
        self.pool.step_done(self.in_flight.is_empty());
        self.in_flight.recycle(step);
    }

    /// Where a sequence runs; `guess` is looked at first, and then what comes after it, since plans are in the order of `running`.
    fn find_running(&self, id: SequenceId, guess: usize) -> Option<usize> {
        let (before, after) = self.running.split_at(guess.min(self.running.len()));
        let is_it = |sequence: &Sequence| sequence.id == id;
        let found = after.iter().position(is_it).map(|i| before.len() + i);
        found.or_else(|| before.iter().position(is_it))
    }

    /// A running sequence has its last token.
    fn end(&mut self, i: usize, finish: Option<FinishReason>) {
        let mut sequence = self.running.remove(i);
        let has_stopped = finish != Some(FinishReason::Length);
        (self.admission).ended(sequence.num_output_tokens(), has_stopped);
        sequence.release_blocks(&mut self.pool);
        self.waiting.end(&sequence);
        if let Some(speculation) = &mut self.speculation {
            speculation.forget(sequence.id);
        }
    }

    /// Gives up what is in flight, for the oldest step failed at `now`: removes its sequences and forgets the blocks that it, or a step
    /// behind it, was to complete.
    pub fn abandon_step(&mut self, now: Duration) {
        let failed = self.in_flight.oldest().sequences.clone();
        let moves = self.in_flight.plans().flat_map(|plan| &plan.block_moves);
        self.pool.steps_failed(moves);
        while let Some(step) = self.in_flight.pop() {
            self.in_flight.recycle(step);
        }
        self.remove(|id| failed.contains(&id));
        // The others may count on blocks that the step was to fill or to copy. They find again what is written.
        while let Some(last) = self.running.len().checked_sub(1) {
            self.preempt(last, now);
        }
    }

    /// Gives up what is in flight and all that the cache and the host hold, for whoever computed is lost: removes the sequences of the steps
    /// in flight, and says which. The others are computed anew.
    pub fn lose_cache(&mut self, now: Duration) -> Vec<SequenceId> {
        let plans = self.in_flight.plans();
        let lost: Vec<SequenceId> = plans
            .flat_map(|plan| plan.sequences.iter().copied())
            .collect();
        self.abandon_step(now);
        self.remove(|id| lost.contains(&id));
        self.clear_prefix_cache();
        lost
    }
}

impl Sequence {
    /// Takes in what its rows of a step gave.
    fn take_rows(
        &mut self,
        part: Part,
        mut rows: impl Iterator<Item = Option<SampledToken>>,
        now: Duration,
        max_model_len: usize,
        committed: &mut Vec<Committed>,
    ) {
        let is_scored = self.take_scores(part.num_scored, &mut rows);
        self.num_pending -= part.num_drawn.min(1);
        self.take_tokens(rows, is_scored, now, max_model_len, committed);
    }

    /// Takes in the scores of its prompt's tokens; false if the model gave none.
    fn take_scores(
        &mut self,
        num_scored: usize,
        rows: &mut impl Iterator<Item = Option<SampledToken>>,
    ) -> bool {
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
