//! Whether an answer that is given to another question, or would be, is what the model would say: it answers that one, too, and the two answers are
//! compared.

use std::sync::Arc;

use super::choice::{Choice, Reading};
use super::scoring::score;
use crate::engine::Presence;
use crate::gateway::{Answered, Loss, normalised};
use crate::request::{GenerateRequest, Priority, Recalled};
use crate::server::semantic_cache::{Checked, SemanticCache};
use crate::server::state::ServedModel;

/// Longer texts have no normal form.
const MAX_COMPARED: usize = 2048;

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
    /// What it is counted as.
    pub checked: Checked,
}

impl Check {
    /// Has the model answer while nobody waits for it, and notes whether the other answer was wrong. It is not loaded for that.
    pub async fn run(mut self) {
        if self.model.engine.presence() != Presence::Loaded {
            return;
        }
        let recalled = Recalled::default();
        recalled.tell(self.answered.given.choice.tokens.clone());
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
        if let Some(fresh) = choice.tokens().filter(|_| choice.is_finished()) {
            self.note(fresh, choice.seen().0).await;
        }
    }

    /// Whether a comparison says anything: not where the very same was asked, nor where another answer is drawn every time.
    pub fn is_telling(&self) -> bool {
        self.request.prompt != self.stored_prompt && self.request.sampling.temperature == 0.0
    }

    /// Notes whether the other answer is wrong where the model says `fresh`, cut off or not, whose tokens are so likely.
    pub async fn note(&mut self, fresh: &[u32], logprobs: &[f32]) {
        if let Some(is_right) = self.is_right(fresh, logprobs).await {
            self.cache
                .checked(&self.model.name, &self.checked, !is_right);
        }
    }

    /// They are the same answer where they differ in form alone, or where the model would say the new one to the question that was asked
    /// before, too: then the questions make no difference to it.
    async fn is_right(&mut self, fresh: &[u32], logprobs: &[f32]) -> Option<bool> {
        let text = |tokens: &[u32]| self.model.tokenizer.detokenise(tokens, true);
        let (stored, fresh_text) = (text(&self.answered.given.choice.tokens), text(fresh));
        let is_short = stored.len() <= MAX_COMPARED && fresh_text.len() <= MAX_COMPARED;
        if stored == fresh_text || is_short && normalised(&stored) == normalised(&fresh_text) {
            return Some(true);
        }
        let request = GenerateRequest {
            priority: Priority::Batch,
            deadline: None,
            ..self.request.clone()
        };
        let other = score(&self.model, &request, &self.stored_prompt, fresh);
        let other = other.await?;
        Some(Loss::between(logprobs, &other)?.is_small())
    }
}
