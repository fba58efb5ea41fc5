//! Speculation: a step computes drafted tokens after a sequence's known ones, as if they were known, and draws a token at
//! each. As long as what is drawn is what was drafted, the step has given several tokens in place of one.
//!
//! Answers stay what they are: a token is drawn from the same logits, with the same noise, whether the tokens before it were
//! known or drafted. (Leviathan et al., "Fast Inference from Transformers via Speculative Decoding", 2023, accept with a
//! probability; with noise that is a function of the position there is nothing to decide.)
//!
//! A drafted row is computed where it raises the tokens that are expected a second: where the chance that it is of use, over
//! what it costs, is more than what the step gives anyway. So drafts stop by themselves where they often fail, and where the
//! step is full of others' rows.

use super::budget::Budget;
use super::recall::recalled;
use super::{CostModel, DraftSource, Drafter, Scheduler, Sequence, SequenceId};
use crate::kv::BlockPool;
use crate::request::Recalled;

/// Rows whose logits a step reads beside one a sequence, at most: drafted ones or, in steps with prompts, scored ones.
pub(super) const MAX_EXTRA_SAMPLES: usize = 32;
/// Drafted rows a sequence, at most.
const MAX_DRAFT_LEN: usize = 15;
/// The weight of a drafted token in a sequence's accept rate.
const RATE_STEP: f64 = 0.15;
/// Steps that a sequence's pace is told from.
const PACE_MEMORY: f64 = 8.0;
/// Steps that the yield of drafts is told from.
const YIELD_MEMORY: f64 = 64.0;
/// What a sequence's accept rate starts from.
const FIRST_RATE: f64 = 0.5;

/// What is drafted after a sequence's tokens.
#[derive(Debug)]
pub(super) struct Draft {
    tokens: Vec<u32>,
    /// How many of `tokens` are computed in the step that draws the token before them.
    num_scheduled: usize,
    /// Where they are from.
    pub source: DraftSource,
    /// How often a drafted token was right, of late, where all before it were; for each source.
    accept_rates: [f64; DraftSource::ALL.len()],
    /// Tokens that its steps gave the sequence, on average of late.
    pace: f64,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            tokens: Vec::new(),
            num_scheduled: 0,
            source: DraftSource::Lookup,
            accept_rates: [FIRST_RATE; DraftSource::ALL.len()],
            pace: 1.0,
        }
    }
}

impl Draft {
    /// The tokens that are computed.
    pub fn scheduled(&self) -> &[u32] {
        &self.tokens[..self.num_scheduled]
    }

    /// Forgets the tokens.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.num_scheduled = 0;
    }

    /// The tokens' chance to be right, each where all before it are.
    fn accept_rate(&self) -> f64 {
        self.accept_rates[self.source as usize]
    }

    /// Tokens that a step gives the sequence.
    pub fn pace(&self) -> f64 {
        self.pace
    }

    /// Learns how many tokens a step gave the sequence.
    pub fn note_given(&mut self, num_tokens: usize) {
        self.pace += (num_tokens as f64 - self.pace) / PACE_MEMORY;
    }

    /// Learns from the `i`th token drawn; false where the draft said another, or nothing more. Drafts that were not computed
    /// teach as well, by their first token, so that a sequence whose drafts have become good gets them computed again.
    pub fn foresaw(&mut self, i: usize, token_id: u32) -> bool {
        let Some(&drafted) = self.tokens.get(i) else {
            return false;
        };
        let was_right = drafted == token_id;
        let rate = &mut self.accept_rates[self.source as usize];
        *rate += RATE_STEP * (f64::from(u8::from(was_right)) - *rate);
        was_right && i < self.num_scheduled
    }
}

/// What drafts do to steps, for each sequence that decodes, on average of late.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DraftYield {
    /// Drafted rows of a step without prompts.
    pub num_rows: f64,
    /// Tokens beside the one that it is given anyway, in whatever step.
    num_tokens: f64,
}

impl DraftYield {
    /// Tokens a step.
    pub fn pace(&self) -> f64 {
        1.0 + self.num_tokens
    }

    /// Learns from a step, unless nobody was given a token.
    pub fn learn(
        &mut self,
        num_sequences: usize,
        num_drafted: u64,
        num_accepted: u64,
        has_prompts: bool,
    ) {
        if num_sequences == 0 {
            return;
        }
        let each = |num: u64| num as f64 / num_sequences as f64;
        self.num_tokens += (each(num_accepted) - self.num_tokens) / YIELD_MEMORY;
        if !has_prompts {
            self.num_rows += (each(num_drafted) - self.num_rows) / YIELD_MEMORY;
        }
    }
}

/// What became of drafts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DraftTotals {
    /// Drafted tokens computed.
    pub num_drafted: u64,
    /// Those of them that turned out to be right.
    pub num_accepted: u64,
}

impl Scheduler {
    /// Of one source.
    pub fn drafts(&self, source: DraftSource) -> DraftTotals {
        self.drafts[source as usize]
    }

    /// Drafted tokens computed.
    pub fn num_drafted(&self) -> u64 {
        self.drafts.iter().map(|drafts| drafts.num_drafted).sum()
    }

    /// Drafted tokens that turned out to be right.
    pub fn num_accepted(&self) -> u64 {
        self.drafts.iter().map(|drafts| drafts.num_accepted).sum()
    }
}

impl dyn Drafter {
    /// Drafts up to `limit` tokens for the sequence: of the answer to a request like it, where that goes on, else its own guess.
    fn guess(&mut self, sequence: &mut Sequence, limit: usize) {
        let (draft, tokens) = (&mut sequence.draft, &sequence.tokens);
        let answer = sequence.recalled.as_ref().map_or(&[][..], Recalled::tokens);
        let rest = recalled(answer, &tokens[sequence.num_prompt_tokens..]);
        if rest.is_empty() {
            draft.source = self.draft(sequence.id, tokens, limit, &mut draft.tokens);
        } else {
            draft.source = DraftSource::Recalled;
            draft.tokens.extend(rest.iter().take(limit));
        }
    }
}

/// Drafts for the sequences of a step.
#[derive(Debug)]
pub(super) struct Speculation {
    drafter: Box<dyn Drafter>,
}

impl Speculation {
    pub fn new(drafter: Box<dyn Drafter>) -> Self {
        Self { drafter }
    }

    /// A sequence has ended.
    pub fn forget(&mut self, id: SequenceId) {
        self.drafter.forget(id);
    }

    /// Whether a step is better planned with the tokens that are being drawn, rather than ahead: where drafts are computed now, or are
    /// likely to be worth it then. What is drafted for the tokens being drawn tells that; it teaches accept rates, too.
    pub fn awaits_tokens(
        &mut self,
        running: &mut [Sequence],
        max_model_len: usize,
        budget: &Budget,
        cost: &CostModel,
    ) -> bool {
        if running.iter().any(|s| !s.draft.scheduled().is_empty()) {
            return true;
        }
        for sequence in running
            .iter_mut()
            .filter(|s| s.num_pending > 0 && s.mask.is_none())
        {
            let num_known = sequence.len();
            if budget.has_prompts() || !budget.is_draft_worth(1.0, num_known, cost) {
                return false;
            }
            let limit = (sequence.max_outputs_left(max_model_len) - 1).min(MAX_DRAFT_LEN);
            if sequence.draft.tokens.is_empty() {
                self.drafter.guess(sequence, limit);
            }
            let draft = &sequence.draft;
            let goes_on = draft.tokens.len() > 1;
            let rate = draft.accept_rate();
            let chance = match draft.source {
                DraftSource::Lookup | DraftSource::Recalled => rate,
                // A model has nothing to offer where the token being drawn is another than it foresaw.
                DraftSource::Model => rate * rate,
            };
            if goes_on && budget.is_draft_worth(chance, num_known, cost) {
                return true;
            }
        }
        false
    }

    /// Adds drafted rows to a step of decodes.
    pub fn extend_step(
        &mut self,
        running: &mut [Sequence],
        max_model_len: usize,
        pool: &mut BlockPool,
        budget: &mut Budget,
        cost: &CostModel,
    ) {
        // A drafted row's mask would depend on the draft before it, so what a grammar constrains is not drafted.
        let (mut num_rows_left, num_running) = (MAX_EXTRA_SAMPLES, running.len());
        for sequence in running
            .iter_mut()
            .filter(|s| s.is_sampled_this_step() && s.mask.is_none())
        {
            let num_known = sequence.tokens.len();
            // At load not even a draft that is sure to be right pays, and nobody has to look for one.
            if num_rows_left == 0 || !budget.is_draft_worth(1.0, num_known, cost) {
                return;
            }
            let limit = (sequence.max_outputs_left(max_model_len) - 1).min(MAX_DRAFT_LEN);
            self.drafter.guess(sequence, limit);
            let draft = &mut sequence.draft;
            let limit = draft.tokens.len().min(limit).min(num_rows_left);
            let accept_rate = draft.accept_rate();
            let mut chance = accept_rate;
            while draft.num_scheduled < limit
                && budget.is_draft_worth(chance, num_known + draft.num_scheduled, cost)
                // Nobody loses a block to a draft.
                && pool.num_free() > num_running
                && (sequence.block_table).grow_to(num_known + draft.num_scheduled + 1, pool)
            {
                budget.draft(chance, num_known + draft.num_scheduled);
                draft.num_scheduled += 1;
                chance *= accept_rate;
            }
            num_rows_left -= draft.num_scheduled;
            sequence.num_scheduled_tokens += draft.num_scheduled;
        }
    }
}
