//! The token state of one request.

use std::sync::Arc;
use std::time::Duration;

use crate::kv::BlockTable;
use crate::request::{FinishReason, GenerateRequest, SamplingParams, StopCriteria, Timing};

/// Names a sequence for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId(pub u64);

/// Prompt and output of one request, and how much of it stands in the KV cache.
///
/// Invariant: `num_computed_tokens < tokens.len()` while it lives, since the last token drawn is never computed yet.
#[derive(Debug)]
pub struct Sequence {
    /// Its name.
    pub id: SequenceId,
    /// Prompt, then output.
    pub tokens: Vec<u32>,
    /// How many of `tokens` are the prompt.
    pub num_prompt_tokens: usize,
    /// How many of `tokens` have their keys and values in the cache.
    pub num_computed_tokens: usize,
    /// How many of `tokens` the step in flight computes.
    pub num_scheduled_tokens: usize,
    /// Where those keys and values are.
    pub block_table: BlockTable,
    /// How its tokens are drawn.
    pub sampling: Arc<SamplingParams>,
    stop: StopCriteria,
    arrival: Duration,
    first_scheduled: Option<Duration>,
}

impl Sequence {
    /// A sequence that arrived at `arrival` (on the clock that `schedule` is called with).
    pub fn new(id: SequenceId, request: GenerateRequest, arrival: Duration) -> Self {
        Self {
            id,
            num_prompt_tokens: request.prompt.len(),
            tokens: request.prompt,
            num_computed_tokens: 0,
            num_scheduled_tokens: 0,
            block_table: BlockTable::default(),
            sampling: Arc::new(request.sampling),
            stop: request.stop,
            arrival,
            first_scheduled: None,
        }
    }

    /// Tokens known but not yet in the cache.
    pub fn num_uncomputed_tokens(&self) -> usize {
        self.tokens.len() - self.num_computed_tokens
    }

    /// Tokens generated so far.
    pub fn num_output_tokens(&self) -> usize {
        self.tokens.len() - self.num_prompt_tokens
    }

    /// Whether the scheduled tokens reach the end, so that the step draws the next one.
    pub fn is_sampled_this_step(&self) -> bool {
        self.num_scheduled_tokens > 0 && self.num_scheduled_tokens == self.num_uncomputed_tokens()
    }

    /// Stop tokens that may not be drawn yet (`min_tokens`).
    pub fn banned_tokens(&self) -> &[u32] {
        if self.num_output_tokens() < self.stop.min_tokens {
            &self.stop.stop_token_ids
        } else {
            &[]
        }
    }

    /// Notes the first time it was given work.
    pub fn mark_scheduled(&mut self, now: Duration) {
        self.first_scheduled.get_or_insert(now);
    }

    /// Appends a drawn token and says whether that ends the sequence.
    pub fn push(&mut self, token_id: u32, max_model_len: usize) -> Option<FinishReason> {
        self.tokens.push(token_id);
        if self.stop.stop_token_ids.contains(&token_id) {
            Some(FinishReason::Stop)
        } else if self.num_output_tokens() >= self.stop.max_tokens
            || self.tokens.len() >= max_model_len
        {
            Some(FinishReason::Length)
        } else {
            None
        }
    }

    /// Where the time until `first_token` went.
    pub fn timing(&self, first_token: Duration) -> Timing {
        let scheduled = self.first_scheduled.unwrap_or(first_token);
        Timing {
            queue: scheduled.saturating_sub(self.arrival),
            prefill: first_token.saturating_sub(scheduled),
        }
    }
}
