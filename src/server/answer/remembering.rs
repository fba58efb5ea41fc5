//! What was answered to questions like one before, in the same context, as a guess of its answer.

use std::sync::{Arc, OnceLock};

use super::again::prompts_digest;
use super::ask::Call;
use super::check::Check;
use super::question::Question;
use crate::gateway::{
    Answered, Context, Given, GivenChoice, Scores, SemanticMode, Tags, Took, Vector,
};
use crate::request::Recalled;
use crate::server::models::Chosen;
use crate::server::semantic_cache::{SemanticCache, is_near};

/// A question on its way, and where its answer will be remembered.
pub(crate) struct Remembering {
    pub(super) cache: Arc<SemanticCache>,
    pub(super) tenant: Arc<str>,
    pub(super) context: Context,
    pub(super) question: Arc<str>,
    /// Of the model that answers.
    pub(super) model: String,
    /// What becomes of an answer that is there.
    pub(super) mode: SemanticMode,
    /// Of its prompt, once that is known.
    prompt: [u8; 32],
    tags: Tags,
    pub(super) era: u64,
    /// Whether it is still the same when the process starts anew: adapters have other numbers then.
    outlives: bool,
    /// Where it points, once that is known.
    pub(super) vector: Arc<OnceLock<Vector>>,
    /// What was answered to the nearest question, where that was looked for, and whether by where it points.
    pub(super) guess: Option<Arc<Answered>>,
    pub(super) is_searched: bool,
    /// An answer that would be given again if it were known how many of them are wrong.
    pub(super) unproven: Option<Check>,
    /// What is found of it by that, where it is looked for.
    searched: Option<Recalled>,
}

impl Remembering {
    /// `tenant` asks `chosen` in this era; `None` where that is not to be remembered.
    pub fn new(
        question: &Question,
        (cache, mode): (Arc<SemanticCache>, SemanticMode),
        (tenant, era): (&str, u64),
        chosen: &Chosen,
    ) -> Option<Self> {
        (mode != SemanticMode::Off).then(|| Self {
            tenant: tenant.into(),
            context: question.context(chosen),
            question: Arc::clone(&question.text),
            model: chosen.model.name.clone(),
            era,
            outlives: chosen.adapter.is_none(),
            cache,
            vector: Arc::default(),
            mode,
            prompt: [0; 32],
            tags: question.tags(chosen),
            guess: None,
            is_searched: false,
            unproven: None,
            searched: None,
        })
    }

    /// Whether an answer that is there may be given again.
    fn serves(&self) -> bool {
        self.mode == SemanticMode::Serve
    }

    /// Gives all tenants what this one was answered. Whether there is such an answer.
    pub fn share(&self) -> bool {
        let place = (&*self.tenant, self.context);
        self.cache.share(place, &self.question, self.outlives)
    }

    /// Whether there may be an answer to give.
    pub fn may_serve(&self) -> bool {
        self.serves() && self.cache.has_any(&self.tenant, self.context)
    }

    /// Of the request as it is put to the model, which gets a guess of its answer, if there is one; `None` where it would be of no use.
    pub fn of(mut self, call: &mut Call) -> Option<Self> {
        let generate = &mut call.generate;
        let [request] = &mut call.requests[..] else {
            return None;
        };
        // What a grammar constrains is not drafted.
        if request.constraint.is_some() {
            return None;
        }
        request.recalled = self.recall();
        if self.serves() {
            // What it takes to see whether the answer is one to another question, too.
            self.prompt = prompts_digest(std::iter::once(&request.prompt[..]));
            generate.hides_logprobs = request.sampling.logprobs.is_none();
            request.sampling.logprobs.get_or_insert(0);
        }
        Some(self)
    }

    /// A guess of the answer: now where the question is the same or has most words in common with one, else as soon as one is found that
    /// points where it does, which nobody waits for.
    fn recall(&mut self) -> Option<Recalled> {
        let recalled = Recalled::default();
        let known = self.guess.take();
        if let Some(answered) = known.or_else(|| self.known()) {
            self.cache.looked_up(&self.model, Some(&answered));
            // What it is kept with next.
            if answered.question == self.question
                && let Some(vector) = answered.vector.get()
            {
                let _ = self.vector.set(vector.clone());
            }
            recalled.tell(answered.given.choice.tokens.clone());
            self.searched = self.is_searched.then(|| recalled.clone());
            return Some(recalled);
        }
        if self.is_searched {
            self.cache.searched(&self.model, 0);
            self.cache.looked_up(&self.model, None);
            return None;
        }
        let (tenant, context) = (&self.tenant, self.context);
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
            let is_wanted = || !tell.is_forgotten();
            let place = (&*tenant, context);
            let found = cache.nearest(place, question, &vector, 1, is_wanted).await;
            let found = found.into_iter().next().map(|(answered, _)| answered);
            cache.looked_up(&model, found.as_ref());
            if vector.get().is_some() && tell.is_forgotten() {
                // It came too late.
                cache.searched(&model, 0);
            }
            if let Some(answered) = found {
                tell.tell(answered.given.choice.tokens.clone());
            }
        });
        Some(recalled)
    }

    /// What was answered to the same question, or to the one that has most words in common; nothing once it was looked for by where it points.
    fn known(&self) -> Option<Arc<Answered>> {
        if self.is_searched {
            return None;
        }
        let (tenant, context) = (&self.tenant, self.context);
        let same = self.cache.same(tenant, context, &self.question);
        same.or_else(|| {
            let alike = self.cache.alike(tenant, context, &self.question, 1);
            let (answered, overlap) = alike.into_iter().next()?;
            is_near(overlap).then_some(answered)
        })
    }

    /// It has said these tokens, which are so likely, and ends there, by itself or not: whether an answer would have been right that was not given
    /// for want of proof.
    pub fn check(&mut self, tokens: &[u32], logprobs: &[f32]) {
        if let Some(mut check) = self.unproven.take()
            && check.is_telling()
            && let Some(turn) = self.cache.check_turn(&self.model)
        {
            let (fresh, logprobs) = (tokens.to_vec(), logprobs.to_vec());
            tokio::spawn(async move {
                check.note(&fresh, &logprobs).await;
                drop(turn);
            });
        }
    }

    /// Remembers the answer, whose tokens are so likely as far as that is known, and which took so long.
    pub fn keep(mut self, choice: GivenChoice, logprobs: Vec<f32>, took: Took) {
        let has_scores = self.serves() && logprobs.len() == choice.tokens.len();
        let given = Given {
            scores: has_scores.then(|| Scores::new(self.prompt, &logprobs)),
            choice,
            tags: std::mem::take(&mut self.tags),
            took,
        };
        let vector = self.vector.get().cloned();
        self.cache.keep(
            (&self.tenant, self.context),
            Arc::clone(&self.question),
            vector,
            given,
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
