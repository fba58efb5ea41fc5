//! Answers that are given again to a question that asks the same: what is looked at before one is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::again::prompts_digest;
use super::ask::{Ask, Call};
use super::check::Check;
use super::choice::Reading;
use super::form::Kind;
use super::put::reading;
use super::remembering::Remembering;
use super::scoring::score;
use crate::gateway::{
    Answer, Answered, Likeness, Loss, Reject, Tags, Trust, compare, is_personal, speaks_of_now,
};
use crate::request::GenerateRequest;
use crate::server::models::Chosen;
use crate::server::semantic_cache::{Checked, SemanticCache, is_near};

/// Questions whose words are compared.
const MAX_CANDIDATES: usize = 8;

/// A request that may be given an answer again, as it is put to the model.
pub(super) struct Serving {
    chosen: Chosen,
    request: GenerateRequest,
    reading: Reading,
    /// What speaks against it whatever was asked before.
    objection: Option<Reject>,
}

/// What was looked at.
#[derive(Default)]
pub(super) struct Trace {
    pub candidates: Vec<Candidate>,
    /// What the answer would lose, and how long it took to know.
    pub loss: Option<Loss>,
    pub verification: Duration,
}

/// A question that was asked before.
pub(super) struct Candidate {
    pub question: Arc<str>,
    /// By which it was found: `form`, `words` or `embedding`, and how near it is by that, of 1.
    pub found_by: &'static str,
    pub nearness: f32,
    /// What the gates say.
    pub likeness: Result<Likeness, Reject>,
}

/// An answer to give.
pub(super) struct Hit {
    pub answered: Arc<Answered>,
    pub likeness: Likeness,
    /// To see whether it is right.
    pub check: Check,
}

impl Serving {
    /// Of the one request of `call`, of whose deadline `elapsed` has passed; `None` where it has several.
    pub fn of(call: &Call, chosen: &Chosen, elapsed: Duration) -> Option<Self> {
        let [request] = &call.requests[..] else {
            return None;
        };
        let (generate, mut request) = (&call.generate, request.clone());
        request.deadline = (request.deadline).map(|deadline| deadline.saturating_sub(elapsed));
        let has_more = generate.shows_tokens() || generate.num_candidates != 1;
        let is_drawn = generate.sampling.temperature != 0.0;
        let objection = if has_more || request.constraint.is_some() {
            Some(Reject::Shape)
        } else {
            is_drawn.then_some(Reject::Drawn)
        };
        Some(Self {
            chosen: chosen.clone(),
            request,
            reading: reading(generate, &chosen.model),
            objection,
        })
    }
}

impl Hit {
    /// As the answer to a request.
    pub fn answer(&self) -> Arc<Answer> {
        Arc::new(Answer {
            prompts: [0; 32],
            choices: vec![self.answered.given.choice.clone()],
            tags: Tags::default(),
        })
    }
}

impl Remembering {
    /// The answer to give, or why there is none. Where the model says the same, it is a guess of what the model will say all the same.
    pub(super) async fn find(
        &mut self,
        ask: &Ask,
        serving: Serving,
        trace: &mut Trace,
    ) -> Result<Hit, Reject> {
        let cache = Arc::clone(&self.cache);
        self.check_request(ask, &serving)?;
        if !cache.has_any(&self.tenant, self.context) {
            return Err(Reject::Far);
        }
        cache.sees_whole(&self.question).await?;
        let (answered, likeness) = self.candidate(trace).await?;
        let (trust, generation) = cache.trust(&self.model, &self.tenant, likeness);
        if trust == Trust::Lost {
            return Err(Reject::Off);
        }
        let checked = Checked {
            tenant: self.tenant.to_string(),
            likeness,
            generation,
        };
        let found = (Arc::clone(&answered), checked);
        let mut check = prompted(Arc::clone(&cache), ask, serving, found).await?;
        // What a text is completed with depends on its form, too.
        let is_text = ask.kind == Kind::Completion && answered.question != self.question;
        if likeness == Likeness::Alike || is_text {
            verify(&mut check, trace).await?;
        }
        // It may have been forgotten meanwhile, or have turned out not to be trusted.
        if cache.era(&self.tenant) != self.era {
            return Err(Reject::Far);
        }
        match cache.trust(&self.model, &self.tenant, likeness).0 {
            Trust::Lost => Err(Reject::Off),
            Trust::Given => Ok(Hit {
                answered,
                likeness,
                check,
            }),
            // What the model says now tells whether it would have been right.
            Trust::Unproven => {
                self.unproven = Some(check);
                Err(Reject::Unproven)
            }
        }
    }

    fn check_request(&self, ask: &Ask, serving: &Serving) -> Result<(), Reject> {
        let question = ask.question.as_ref().ok_or(Reject::Shape)?;
        let is_objected = |reject| reject != Reject::Drawn || !question.is_seeded;
        if let Some(reject) = serving.objection.filter(|&reject| is_objected(reject)) {
            return Err(reject);
        }
        if question.has_tools {
            return Err(Reject::Tools);
        }
        if !self.cache.allows_time_words() && speaks_of_now(&question.text) {
            return Err(Reject::Time);
        }
        match is_personal(&question.text) {
            true => Err(Reject::Personal),
            false => Ok(()),
        }
    }

    /// The nearest question that no gate objects to; what objects to the nearest of all where there is none. Remembers that one as a guess.
    async fn candidate(&mut self, trace: &mut Trace) -> Result<(Arc<Answered>, Likeness), Reject> {
        let cache = Arc::clone(&self.cache);
        let form = cache.same_in_form(&self.tenant, self.context, &self.question);
        let form = form.map(|answered| (answered, 1.0)).into_iter().collect();
        if let Some(found) = self.first_alike("form", form, trace) {
            return Ok(found);
        }
        let question = Arc::clone(&self.question);
        let words = cache.alike(&self.tenant, self.context, &question, MAX_CANDIDATES);
        if let Some(found) = self.first_alike("words", words, trace) {
            return Ok(found);
        }
        if self.guess.is_none() && cache.is_worth_a_search(&self.tenant, self.context, &self.model)
        {
            let (place, vector) = ((&*self.tenant, self.context), Arc::clone(&self.vector));
            let near = cache
                .nearest(place, question, &vector, MAX_CANDIDATES, || true)
                .await;
            self.is_searched = true;
            if let Some(found) = self.first_alike("embedding", near, trace) {
                return Ok(found);
            }
        }
        let nearest = trace.candidates.first().filter(|_| self.guess.is_some());
        Err(
            nearest.map_or(Reject::Far, |nearest| match nearest.likeness {
                Err(reject) => reject,
                Ok(_) => Reject::Far,
            }),
        )
    }

    fn first_alike(
        &mut self,
        found_by: &'static str,
        near: Vec<(Arc<Answered>, f32)>,
        trace: &mut Trace,
    ) -> Option<(Arc<Answered>, Likeness)> {
        for (answered, nearness) in near.into_iter().filter(|(_, nearness)| *nearness > 0.0) {
            let likeness = compare(&answered.question, &self.question).map_err(Reject::Words);
            trace.candidates.push(Candidate {
                question: Arc::clone(&answered.question),
                found_by,
                nearness,
                likeness,
            });
            if self.guess.is_none() && is_near(nearness) {
                self.guess = Some(Arc::clone(&answered));
            }
            if let Ok(likeness) = likeness {
                self.guess = Some(Arc::clone(&answered));
                return Some((answered, likeness));
            }
        }
        None
    }
}

/// What it takes to check the answer, where the prompt around its question still is what it was.
async fn prompted(
    cache: Arc<SemanticCache>,
    ask: &Ask,
    serving: Serving,
    (answered, checked): (Arc<Answered>, Checked),
) -> Result<Check, Reject> {
    let scores = answered.given.scores.as_ref().ok_or(Reject::Unscored)?;
    let again = (ask.prepare)(serving.chosen.clone(), Some(&answered.question));
    let mut again = again.await.map_err(|_| Reject::Prompt)?;
    let stored_prompt = again.requests.pop().ok_or(Reject::Prompt)?.prompt;
    if prompts_digest(std::iter::once(&stored_prompt[..])) != scores.prompt {
        return Err(Reject::Prompt);
    }
    Ok(Check {
        model: serving.chosen.model,
        answered,
        stored_prompt,
        request: serving.request,
        reading: serving.reading,
        checked,
        cache,
    })
}

/// Asks the model whether the answer is as likely behind this question.
async fn verify(check: &mut Check, trace: &mut Trace) -> Result<(), Reject> {
    let begun = Instant::now();
    let scores = check
        .answered
        .given
        .scores
        .as_ref()
        .ok_or(Reject::Unscored)?;
    let (request, answer) = (&check.request, &check.answered.given.choice.tokens);
    let scored = score(&check.model, request, &request.prompt, answer);
    let other = scored.await;
    trace.verification = begun.elapsed();
    let other = other.ok_or(Reject::Unasked)?;
    trace.loss = Loss::between(&scores.logprobs, &other);
    match trace.loss {
        Some(loss) if loss.is_small() => Ok(()),
        _ => Err(Reject::Unlikely),
    }
}
