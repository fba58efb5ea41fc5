//! An answer that has begun and failed, which another model of the same tokens goes on with, where the client asked for that.

use std::sync::Arc;

use super::account::Answerer;
use super::failure::Failure;
use crate::engine::EventStream;
use crate::request::GenerateRequest;
use crate::server::models::Served;
use crate::server::tiers::Tiers;
use crate::telemetry::{Cause, Tier};
use crate::text::Tokenizer;

/// What it takes to go on.
pub(crate) struct Continuing {
    tiers: Arc<Tiers>,
    /// Of each choice, as the first model was asked.
    requests: Vec<GenerateRequest>,
    /// The place of the tier that each choice is at.
    places: Vec<usize>,
    tokenizer: Arc<Tokenizer>,
}

impl Continuing {
    /// Of choices that were asked for like this of the tier at `place`, in tokens of `tokenizer`.
    pub fn new(
        tiers: Arc<Tiers>,
        place: usize,
        requests: Vec<GenerateRequest>,
        tokenizer: Arc<Tokenizer>,
    ) -> Self {
        Self {
            tiers,
            places: vec![place; requests.len()],
            requests,
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
        let is_known = self.places.iter().any(|place| *place > self.places[i]);
        let place = &mut self.places[i];
        // What ended its siblings, too, is one failure.
        if let Some(failed) = self.tiers.model(*place).filter(|_| !is_known) {
            failed.failed(failure.error.message(), failure.is_certain);
        }
        loop {
            *place += 1;
            let tier = self.tiers.model(*place)?;
            let Served::Here(model) = &tier.served else {
                continue;
            };
            let request = begun(&self.requests[i], tokens);
            let has_room = request.prompt.len() < model.max_model_len;
            if !has_room || !is_same(&self.tokenizer, &model.tokenizer) || !tier.is_asked() {
                continue;
            }
            if let Ok(events) = model.engine.submit(request) {
                self.tiers.count(*place, cause);
                let answerer = Answerer {
                    name: model.name.clone(),
                    tier: Tier::Fallback,
                    cause: Some(cause),
                    metrics: tier.metrics.clone(),
                };
                return Some((events, answerer));
            }
        }
    }
}

/// Whether ids say the same in both.
fn is_same(own: &Tokenizer, other: &Tokenizer) -> bool {
    own.vocab_size() == other.vocab_size() && own.first_difference(other).is_none()
}

/// The request for what comes after `tokens`.
fn begun(request: &GenerateRequest, tokens: &[u32]) -> GenerateRequest {
    let mut request = request.clone();
    request.prompt.extend_from_slice(tokens);
    request.num_begun = tokens.len();
    // It has waited, and has them, or will have them at the beginning.
    request.deadline = None;
    if !tokens.is_empty() {
        request.prompt_logprobs = None;
    }
    request
}
