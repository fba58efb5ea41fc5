//! Prompts whose tokens are scored.

use std::ops::Range;
use std::sync::Arc;

use super::sequence::Sequence;
use crate::request::{PromptLogprobs, SamplingParams};

/// How a sequence's prompt is scored.
#[derive(Debug)]
pub(super) struct Scoring {
    params: Arc<SamplingParams>,
    /// The first position whose next token is scored.
    first: usize,
}

impl Scoring {
    pub fn new(asked: PromptLogprobs) -> Self {
        let params = SamplingParams {
            logprobs: Some(asked.num_top),
            ..SamplingParams::greedy()
        };
        Self {
            params: Arc::new(params),
            first: asked.first.saturating_sub(1),
        }
    }
}

impl Sequence {
    /// Its prompt's scoring, while there is something left to score.
    fn scoring_left(&self) -> Option<&Scoring> {
        let is_left = self.len() == self.num_prompt_tokens;
        self.scoring.as_ref().filter(|_| is_left)
    }

    /// Whether its prompt is still to be scored.
    pub(super) fn is_scoring(&self) -> bool {
        self.scoring_left().is_some()
    }

    /// Rows that come before the first that is scored.
    pub(super) fn num_unscored(&self) -> usize {
        let first = self.scoring_left().map_or(0, |scoring| scoring.first);
        first.saturating_sub(self.num_computed_tokens)
    }

    /// Tokens whose keys and values may be taken from elsewhere: the logits of those after them are wanted.
    pub(super) fn num_cacheable(&self) -> usize {
        let last = self.tokens.len() - 1;
        self.scoring_left()
            .map_or(last, |scoring| scoring.first.min(last))
    }

    /// The positions whose next token the step being planned scores, and how.
    pub(super) fn scored_this_step(&self) -> Option<(Range<usize>, &Arc<SamplingParams>)> {
        let scoring = self.scoring_left()?;
        let last = self.num_prompt_tokens - 1;
        let end = (self.num_computed_tokens + self.num_scheduled_known()).min(last);
        let first = self.num_computed_tokens.max(scoring.first);
        Some((first.min(end)..end, &scoring.params))
    }

    /// Rows of the step being planned whose token is known and only scored.
    pub(super) fn num_scored(&self) -> usize {
        self.scored_this_step()
            .map_or(0, |(positions, _)| positions.len())
    }
}
