//! Whether an answer that is given to another question, or would be, is what the model would say: it answers that one, too, and the two answers are
//! compared.

use std::sync::Arc;

use super::choice::{Choice, Reading};
use super::scoring::score;
use crate::gateway::{Answered, GivenChoice, Loss, normalised};
use crate::request::{GenerateRequest, Priority, Recalled};
use crate::server::semantic_cache::SemanticCache;
use crate::server::state::ServedModel;

/// See the module.
pub(super) struct Check {
    pub cache: Arc<SemanticCache>,
    pub model: Arc<ServedModel>,
    /// What was asked before, how it was answered, and the tokens of its prompt.
    pub answered: Arc<Answered>,
    pub stored_prompt: Vec<u32>,
    /// What is asked now, and how its answer is read.
    pub request: GenerateRequest,
    pub reading: Reading,
}

impl Check {
    /// Has the model answer while nobody waits for it, and notes whether the other answer was wrong.
    pub async fn run(mut self) {
        let recalled = Recalled::default();
        recalled.tell(self.answered.answer.tokens.clone());
        let mut request = GenerateRequest {
            priority: Priority::Batch,
            deadline: None,
            recalled: Some(recalled),
            ..self.request.clone()
        };
        request.sampling.logprobs = Some(0);
        let Ok(events) = self.model.engine.submit(request) else {
            return;
        };
        let mut choice = Choice::drawn(events, self.reading.clone());
        while let Some(Ok(_)) = choice.next().await {}
        if let Some(fresh) = choice.given() {
            self.note(&fresh, choice.seen().0).await;
        }
    }

    /// Notes whether the other answer is wrong where the model says `fresh`, whose tokens are so likely.
    pub async fn note(&mut self, fresh: &GivenChoice, logprobs: &[f32]) {
        if let Some(is_right) = self.is_right(fresh, logprobs).await {
            self.cache.checked(&self.model.name, !is_right);
        }
    }

    /// They are the same answer where they differ in form alone, or where the model would say the new one to the question that was asked
    /// before, too: then the questions make no difference to it.
    async fn is_right(&mut self, fresh: &GivenChoice, logprobs: &[f32]) -> Option<bool> {
        let text = |choice: &GivenChoice| self.model.tokenizer.detokenise(&choice.tokens, true);
        let (stored, fresh_text) = (text(&self.answered.answer), text(fresh));
        if stored == fresh_text || normalised(&stored) == normalised(&fresh_text) {
            return Some(true);
        }
        let request = GenerateRequest {
            priority: Priority::Batch,
            deadline: None,
            ..self.request.clone()
        };
        let engine = &self.model.engine;
        let other = score(engine, &request, &self.stored_prompt, &fresh.tokens).await?;
        Some(Loss::between(logprobs, &other)?.is_small())
    }
}
