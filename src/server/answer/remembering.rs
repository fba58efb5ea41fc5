//! What was answered to questions like one before, in the same context, as a guess of its answer.

use std::sync::{Arc, OnceLock};

use super::ask::Call;
use super::question::Question;
use crate::gateway::{Context, GivenChoice, Vector};
use crate::request::Recalled;
use crate::server::models::Chosen;
use crate::server::semantic_cache::SemanticCache;

/// A question on its way, and where its answer will be remembered.
pub(crate) struct Remembering {
    cache: Arc<SemanticCache>,
    tenant: Arc<str>,
    context: Context,
    question: Arc<str>,
    /// Of the model that answers.
    model: String,
    era: u64,
    /// Whether it is still the same when the process starts anew: adapters have other numbers then.
    outlives: bool,
    /// Where it points, once that is known.
    vector: Arc<OnceLock<Vector>>,
    /// What is found of it by that, where it is looked for.
    searched: Option<Recalled>,
}

impl Remembering {
    /// `tenant` asks `chosen`.
    pub fn new(
        question: &Question,
        cache: Arc<SemanticCache>,
        tenant: &str,
        chosen: &Chosen,
    ) -> Self {
        Self {
            tenant: tenant.into(),
            context: question.context(chosen),
            question: Arc::clone(&question.text),
            model: chosen.model.name.clone(),
            era: cache.era(),
            outlives: chosen.adapter.is_none(),
            cache,
            vector: Arc::default(),
            searched: None,
        }
    }

    /// Of the request as it is put to the model, which gets a guess of its answer, if there is one; `None` where it would be of no use.
    pub fn of(mut self, call: &mut Call) -> Option<Self> {
        let [request] = &mut call.requests[..] else {
            return None;
        };
        // What a grammar constrains is not drafted.
        if request.constraint.is_some() {
            return None;
        }
        request.recalled = self.recall();
        Some(self)
    }

    /// A guess of the answer: now where the question is the same or has most words in common with one, else as soon as one is found that
    /// points where it does, which nobody waits for.
    fn recall(&mut self) -> Option<Recalled> {
        let recalled = Recalled::default();
        let (tenant, context) = (&self.tenant, self.context);
        if let Some(answered) = self.cache.same(tenant, context, &self.question) {
            self.cache.looked_up(&self.model, Some(&answered));
            // What it is kept with next.
            if let Some(vector) = answered.vector.get() {
                let _ = self.vector.set(vector.clone());
            }
            recalled.tell(answered.answer.tokens.clone());
            return Some(recalled);
        }
        if let Some(answered) = self.cache.alike(tenant, context, &self.question) {
            self.cache.looked_up(&self.model, Some(&answered));
            recalled.tell(answered.answer.tokens.clone());
            return Some(recalled);
        }
        let cache = &self.cache;
        if !cache.is_worth_a_search(tenant, context, &self.model) {
            cache.looked_up(&self.model, None);
            return None;
        }
        self.searched = Some(recalled.clone());
        let (cache, tenant, question) = (
            Arc::clone(&self.cache),
            Arc::clone(tenant),
            Arc::clone(&self.question),
        );
        let (model, vector) = (self.model.clone(), Arc::clone(&self.vector));
        let tell = recalled.clone();
        tokio::spawn(async move {
            let found = cache
                .nearest(&tenant, context, question, &vector, || !tell.is_forgotten())
                .await;
            cache.looked_up(&model, found.as_ref());
            if vector.get().is_some() && tell.is_forgotten() {
                // It came too late.
                cache.searched(&model, 0);
            }
            if let Some(answered) = found {
                tell.tell(answered.answer.tokens.clone());
            }
        });
        Some(recalled)
    }

    /// Remembers the answer.
    pub fn keep(self, answer: GivenChoice) {
        let vector = self.vector.get().cloned();
        self.cache.keep(
            (&self.tenant, self.context),
            Arc::clone(&self.question),
            vector,
            answer,
            (self.era, self.outlives),
        );
    }
}

/// However the answer has ended, a search that was made has given what it gave.
impl Drop for Remembering {
    fn drop(&mut self) {
        if let Some(recalled) = &self.searched
            && self.vector.get().is_some()
        {
            self.cache.searched(&self.model, recalled.num_right());
        }
    }
}
