//! An answer that has begun and failed, which another model of the same tokens goes on with, where the client asked for that.

use std::sync::Arc;

use super::account::Answerer;
use super::failure::Failure;
use crate::engine::{EventStream, SubmitError};
use crate::request::GenerateRequest;
use crate::server::models::Served;
use crate::server::state::ServedModel;
use crate::server::tiers::{TierModel, Tiers};
use crate::telemetry::{Cause, Tier};
use crate::text::Tokenizer;

/// What it takes to go on.
pub(crate) struct Continuing {
    tiers: Arc<Tiers>,
    /// One a prompt, as the first model was asked.
    requests: Vec<GenerateRequest>,
    /// Choices of each.
    choices_a_prompt: usize,
    /// The place of the tier that each choice is at.
    places: Vec<usize>,
    /// What is known of the tiers so far, by their places.
    known: Vec<Known>,
    tokenizer: Arc<Tokenizer>,
}

/// What is known of a tier.
#[derive(Clone, Default)]
struct Known {
    /// Whether ids say the same there.
    is_same: Option<bool>,
    /// It has failed under this answer: what ends several choices is one failure.
    has_failed: bool,
    /// It has gone on with a choice.
    has_gone_on: bool,
}

impl Continuing {
    /// Of `choices_a_prompt` choices of each request, which the tier at `place` has begun in tokens of `tokenizer`.
    pub fn new(
        tiers: Arc<Tiers>,
        place: usize,
        requests: Vec<GenerateRequest>,
        choices_a_prompt: usize,
        tokenizer: Arc<Tokenizer>,
    ) -> Self {
        Self {
            tiers,
            places: vec![place; requests.len() * choices_a_prompt],
            requests,
            choices_a_prompt,
            known: Vec::new(),
            tokenizer,
        }
    }

    /// Has the next tier that can go on with choice `i`, of which these tokens have come; what it gives, and who it is.
    pub fn go_on(
        &mut self,
        i: usize,
        tokens: &[u32],
        failure: &Failure,
    ) -> Option<(EventStream, Answerer)> {
        let cause = failure.cause.filter(|cause| *cause == Cause::Failed)?;
        let tiers = Arc::clone(&self.tiers);
        let failed = tiers.model(self.places[i])?;
        // Where everybody is told to go, nobody is sent on.
        if matches!(&failed.served, Served::Here(model) if model.engine.is_draining()) {
            return None;
        }
        if !std::mem::replace(&mut self.known(self.places[i]).has_failed, true) {
            failed.failed(failure.error.message(), failure.is_certain);
        }
        loop {
            self.places[i] += 1;
            let place = self.places[i];
            let tier = tiers.model(place)?;
            let Some(events) = self.put(i, tokens, tier, place) else {
                continue;
            };
            if !std::mem::replace(&mut self.known(place).has_gone_on, true) {
                tiers.count(place, cause);
            }
            let answerer = Answerer {
                name: tier.served.name().to_owned(),
                tier: Tier::Fallback,
                cause: Some(cause),
                level: None,
                metrics: tier.metrics.clone(),
            };
            return Some((events, answerer));
        }
    }

    /// Puts the rest of choice `i` to the tier at `place`; `None` where it cannot go on.
    fn put(
        &mut self,
        i: usize,
        tokens: &[u32],
        tier: &Arc<TierModel>,
        place: usize,
    ) -> Option<EventStream> {
        let Served::Here(model) = &tier.served else {
            return None;
        };
        let prompt = &self.requests[i / self.choices_a_prompt].prompt;
        let has_room = prompt.len() + tokens.len() < model.max_model_len;
        if !has_room || !tier.is_asked() || !self.says_the_same(model, place, tokens) {
            return None;
        }
        match model.engine.submit(self.begun(i, tokens)) {
            Ok(events) => Some(events),
            Err(error) => {
                if error == SubmitError::Stopped {
                    tier.failed(&error.to_string(), true);
                }
                None
            }
        }
    }

    /// Whether the model at `place` reads in these tokens, and ends at the same, what the first one wrote; another model's would be other
    /// words. An id beyond a tokenizer's is drawn where a model has more rows than its tokenizer names.
    fn says_the_same(&mut self, model: &ServedModel, place: usize, tokens: &[u32]) -> bool {
        let (own, other) = (Arc::clone(&self.tokenizer), &model.tokenizer);
        let is_same = self.known(place).is_same.get_or_insert_with(|| {
            own.eos_ids() == other.eos_ids() && own.first_difference(other).is_none()
        });
        *is_same && (tokens.iter()).all(|&id| (id as usize) < other.vocab_size())
    }

    /// The request for what comes after `tokens` of choice `i`.
    fn begun(&self, i: usize, tokens: &[u32]) -> GenerateRequest {
        let mut request = self.requests[i / self.choices_a_prompt].clone();
        // It is in the tokens of the model that has failed.
        request.recalled = None;
        request.sampling.choice = (i % self.choices_a_prompt) as u32;
        request.prompt.extend_from_slice(tokens);
        request.num_begun = tokens.len();
        // It has waited, and has them, or will have them at the beginning.
        request.deadline = None;
        if !tokens.is_empty() {
            request.prompt_logprobs = None;
        }
        request
    }

    fn known(&mut self, place: usize) -> &mut Known {
        let len = self.known.len().max(place + 1);
        self.known.resize(len, Known::default());
        &mut self.known[place]
    }
}
