//! A request's way through the tiers: put to one model after the other, until one takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::account::{Answerer, Received};
use super::choice::{Choice, Reading};
use super::wire::Wire;
use crate::engine::{EngineError, EventStream, Refusal, SubmitError};
use crate::gateway::Policy;
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::models::Chosen;
use crate::server::request::generate::Generate;
use crate::server::state::{AppState, ServedModel};
use crate::server::tiers::{STATIC, TierModel, Tiers};
use crate::telemetry::{Cause, Tier};
use crate::text::Splitter;

/// A request as it is put to one model.
pub(crate) struct Call {
    pub generate: Generate,
    /// One a prompt; each is run for every choice.
    pub requests: Vec<GenerateRequest>,
    /// For the log.
    pub prompt_chars: usize,
    /// How the answer is spelt.
    pub wire: Box<dyn Wire>,
}

/// Makes the call that a request is to a model.
pub(crate) type Prepare =
    Box<dyn Fn(Chosen) -> BoxFuture<'static, Result<Call, ApiError>> + Send + Sync>;

/// A request that was read, and can be put to any model.
pub(crate) struct Ask {
    /// What it names.
    pub chosen: Chosen,
    /// Where it came in.
    pub route: &'static str,
    /// Whether it may be answered by others.
    pub may_fall_back: bool,
    pub prepare: Prepare,
}

impl Ask {
    /// Says of errors what `rename` makes of them.
    pub fn renaming(self, rename: fn(&str) -> String) -> Self {
        let prepare = self.prepare;
        let prepare = move |chosen| -> BoxFuture<'static, Result<Call, ApiError>> {
            let prepared = prepare(chosen);
            Box::pin(async move { prepared.await.map_err(|error| error.renamed(rename)) })
        };
        Self {
            prepare: Box::new(prepare),
            ..self
        }
    }
}

/// A request that a tier has taken.
pub(crate) struct Begun {
    pub answerer: Answerer,
    pub choices: Vec<Choice>,
    pub generate: Generate,
    pub prompt_lens: Vec<usize>,
    pub prompt_chars: usize,
    pub wire: Box<dyn Wire>,
}

/// Why no tier answers.
#[derive(Clone)]
pub(crate) struct Failure {
    pub error: ApiError,
    /// The time for the first token has passed.
    pub is_late: bool,
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            is_late: false,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self {
            is_late: error == EngineError::Refused(Refusal::Late),
            error: error.into(),
        }
    }
}

/// Where a request is on its way.
pub(crate) struct Chain {
    state: AppState,
    received: Arc<Received>,
    ask: Ask,
    /// Those that answer instead, where the request is for their first.
    tiers: Option<Arc<Tiers>>,
    policy: Policy,
    /// The place of the next to try.
    next: usize,
    /// The first was left alone, since it has failed before.
    is_first_skipped: bool,
    /// Whether its answer is for no other model to give, and for no text. Known once it was prepared.
    is_bound: bool,
    /// What the first said, and why the last did not answer.
    refusal: Option<(Failure, Cause)>,
    /// Deadlines count from now, not from when the request came.
    begins_anew: bool,
    /// The tier that has it, and since when.
    taken_by: Option<(Arc<TierModel>, Instant)>,
}

/// Why a tier does not take a request.
enum Rejection {
    /// Another may.
    GoesOn(Failure, Cause),
    /// Nobody will.
    Final(Failure),
}

impl From<ApiError> for Rejection {
    fn from(error: ApiError) -> Self {
        Self::Final(error.into())
    }
}

impl Chain {
    pub fn new(state: AppState, received: Arc<Received>, ask: Ask) -> Self {
        let tiers = state.tiers.clone();
        let tiers = tiers.filter(|tiers| tiers.is_for(&ask.chosen));
        Self {
            policy: state.tenants.policy(received.tenant()),
            state,
            received,
            ask,
            tiers,
            next: 0,
            is_first_skipped: false,
            is_bound: false,
            refusal: None,
            begins_anew: false,
            taken_by: None,
        }
    }

    /// Puts the request to the next tiers until one takes it; what the first one said, if none does.
    pub async fn go_on(mut self) -> (Self, Result<Begun, Failure>) {
        loop {
            let i = self.next;
            self.next += 1;
            let begun = match i {
                0 => self.ask_first().await,
                _ if !self.may_go_on() => break,
                _ => match self.tiers.clone() {
                    Some(tiers) => match tiers.model(i) {
                        Some(tier) => self.ask_other(i, tier).await,
                        None => {
                            let said = self.say(&tiers).await;
                            if let Some(begun) = said {
                                tiers.count(i, self.cause());
                                return (self, Ok(begun));
                            }
                            break;
                        }
                    },
                    None => break,
                },
            };
            match begun {
                Ok(begun) => return (self, Ok(begun)),
                Err(Rejection::Final(failure)) => return (self, Err(failure)),
                Err(Rejection::GoesOn(failure, cause)) => self.note(failure, cause),
            }
        }
        // It has failed before, but nobody else answers.
        if std::mem::take(&mut self.is_first_skipped) {
            let begun = match self.ask_model(self.ask.chosen.clone(), None, true).await {
                Ok(begun) => Ok(begun),
                Err(Rejection::Final(failure) | Rejection::GoesOn(failure, _)) => Err(failure),
            };
            return (self, begun);
        }
        let none = || Failure::from(ApiError::internal("no tier was asked"));
        let failure = self
            .refusal
            .as_ref()
            .map_or_else(none, |(first, _)| first.clone());
        (self, Err(failure))
    }

    /// After the tier that has it failed with `error` before the first token: whether another may answer.
    pub fn fails(&mut self, error: &EngineError) -> bool {
        let cause = match error {
            EngineError::Refused(Refusal::Busy { .. } | Refusal::TooLong { .. }) => {
                Cause::PredictedTtft
            }
            EngineError::Refused(Refusal::Late) => Cause::Late,
            EngineError::Step(_) | EngineError::Panic => Cause::Failed,
            // Also where the engine could not go on; but not where everybody is told to go.
            EngineError::ShutDown if !self.is_draining() => Cause::Failed,
            EngineError::ShutDown | EngineError::NoToken | EngineError::Constraint(_) => {
                return false;
            }
        };
        if cause == Cause::Failed
            && let Some((tier, _)) = &self.taken_by
        {
            tier.failed(&error.to_string(), !matches!(error, EngineError::Step(_)));
        }
        // What was waited for in vain is not to be counted against the next one.
        self.begins_anew |= matches!(cause, Cause::Failed | Cause::Late);
        self.note(error.clone().into(), cause);
        self.may_go_on() && self.tiers.is_some()
    }

    /// The tier that has it neither answered nor refused in time: its steps hang.
    pub fn hangs(&mut self) {
        if let Some((tier, _)) = &self.taken_by {
            tier.failed("it computes nothing", true);
        }
        self.begins_anew = true;
        let error = ApiError::unavailable("the model does not answer");
        self.note(error.into(), Cause::Failed);
    }

    /// Whose request it is.
    pub fn received(&self) -> Arc<Received> {
        Arc::clone(&self.received)
    }

    /// The first token has come.
    pub fn succeeds(&self) {
        if let Some((tier, _)) = &self.taken_by {
            tier.succeeded();
        }
    }

    /// The tier that has it, since when, and how long it may compute nothing; `None` where nobody else would answer.
    pub fn patience(&self) -> Option<(&ServedModel, Instant, Duration)> {
        let (tier, since) = self.taken_by.as_ref().filter(|_| self.may_go_on())?;
        Some((&tier.model, *since, self.tiers.as_ref()?.slo_ttft))
    }

    fn is_draining(&self) -> bool {
        self.ask.chosen.model.engine.is_draining()
    }

    /// Whether others may answer.
    fn may_go_on(&self) -> bool {
        let may = self.policy.fallback || self.policy.may_be_static;
        self.tiers.is_some() && self.ask.may_fall_back && may && !self.is_bound
    }

    fn note(&mut self, failure: Failure, cause: Cause) {
        let first = self.refusal.take().map_or(failure, |(first, _)| first);
        self.refusal = Some((first, cause));
    }

    fn cause(&self) -> Cause {
        let refusal = self.refusal.as_ref();
        refusal.map_or(Cause::Unhealthy, |(_, cause)| *cause)
    }

    /// The model that was asked for.
    async fn ask_first(&mut self) -> Result<Begun, Rejection> {
        let first = self
            .tiers
            .as_ref()
            .and_then(|tiers| tiers.model(0))
            .cloned();
        if self.may_go_on() && first.as_ref().is_some_and(|tier| !tier.is_asked()) {
            self.is_first_skipped = true;
            let error = ApiError::unavailable("the model has failed, and is not asked for a while");
            return Err(Rejection::GoesOn(error.into(), Cause::Unhealthy));
        }
        self.ask_model(self.ask.chosen.clone(), first, true).await
    }

    /// The `i`th of the chain.
    async fn ask_other(&mut self, i: usize, tier: &Arc<TierModel>) -> Result<Begun, Rejection> {
        let cause = self.cause();
        let skip = |error: ApiError| Rejection::GoesOn(error.into(), cause);
        if !self.policy.fallback || !tier.is_asked() {
            return Err(skip(ApiError::unavailable("not asked")));
        }
        let chosen = Chosen::of(&tier.model);
        let begun = self.ask_model(chosen, Some(Arc::clone(tier)), false).await;
        let mut begun = match begun {
            // The first has taken it for a good request: this model is just not fit for it.
            Err(Rejection::Final(failure)) => return Err(Rejection::GoesOn(failure, cause)),
            begun => begun?,
        };
        if let Some(tiers) = &self.tiers {
            tiers.count(i, cause);
        }
        begun.answerer = Answerer {
            name: tier.model.name.clone(),
            tier: Tier::Fallback,
            cause: Some(cause),
            metrics: tier.metrics.clone(),
        };
        Ok(begun)
    }

    /// A text, where there is one and the request may have it.
    async fn say(&mut self, tiers: &Tiers) -> Option<Begun> {
        if !self.policy.may_be_static {
            return None;
        }
        let languages = self.received.languages.as_deref();
        let text = tiers.texts.find(self.ask.route, languages)?.to_owned();
        let chosen = Chosen {
            name: STATIC.into(),
            ..self.ask.chosen.clone()
        };
        let call = (self.ask.prepare)(chosen).await.ok()?;
        if call.generate.is_bound() || call.generate.shows_tokens() {
            return None;
        }
        self.taken_by = None;
        let num_choices = call.requests.len() * call.generate.num_candidates;
        Some(Begun {
            answerer: Answerer {
                name: STATIC.into(),
                tier: Tier::Static,
                cause: Some(self.cause()),
                metrics: tiers.static_metrics.clone(),
            },
            choices: (0..num_choices)
                .map(|_| Choice::Said(Some(text.clone())))
                .collect(),
            prompt_lens: vec![0; call.requests.len()],
            generate: call.generate,
            prompt_chars: call.prompt_chars,
            wire: call.wire,
        })
    }

    async fn ask_model(
        &mut self,
        chosen: Chosen,
        tier: Option<Arc<TierModel>>,
        is_first: bool,
    ) -> Result<Begun, Rejection> {
        let (model, name) = (Arc::clone(&chosen.model), chosen.name.clone());
        // Before the work of preparing what would be refused.
        let room = model.engine.check_room(self.received.tenant());
        room.map_err(|error| self.refused(error, tier.as_deref()))?;
        let call = (self.ask.prepare)(chosen).await?;
        self.is_bound |= call.generate.is_bound();
        if self.is_bound && !is_first {
            return Err(ApiError::unavailable("bound to the first model").into());
        }
        let prompt_lens = call.requests.iter().map(|request| request.prompt.len());
        let prompt_lens = prompt_lens.collect();
        let all = self.each_choice(&call);
        let (num_answers, most) = (all.len(), model.engine.max_at_once());
        if num_answers > most {
            let message =
                format!("n asks for {num_answers} answers; at most {most} can be open here");
            return Err(ApiError::field("n", message).into());
        }
        let streams = submit(&model, all).await?;
        let streams = streams.map_err(|error| self.refused(error, tier.as_deref()))?;
        let reading = reading(&call.generate, &model);
        let choices = streams.into_iter();
        self.taken_by = tier.map(|tier| (tier, Instant::now()));
        Ok(Begun {
            answerer: Answerer {
                metrics: self.state.metrics(&name).clone(),
                name,
                tier: Tier::Primary,
                cause: None,
            },
            choices: choices
                .map(|events| Choice::drawn(events, reading.clone()))
                .collect(),
            generate: call.generate,
            prompt_lens,
            prompt_chars: call.prompt_chars,
            wire: call.wire,
        })
    }

    fn refused(&self, error: SubmitError, tier: Option<&TierModel>) -> Rejection {
        let failure = Failure::from(ApiError::from(error));
        match error {
            SubmitError::QueueFull { .. } => Rejection::GoesOn(failure, Cause::QueueFull),
            SubmitError::Draining => Rejection::Final(failure),
            SubmitError::Stopped => {
                if let Some(tier) = tier {
                    tier.failed("its engine has ended", true);
                }
                Rejection::GoesOn(failure, Cause::Failed)
            }
        }
    }

    /// A request for each choice of each prompt.
    fn each_choice(&self, call: &Call) -> Vec<GenerateRequest> {
        // The client counts from when it asked.
        let elapsed = match self.begins_anew {
            true => Duration::ZERO,
            false => self.received.at.elapsed(),
        };
        let generate = &call.generate;
        let mut all = Vec::new();
        for request in &call.requests {
            for choice in 0..generate.num_candidates as u32 {
                let mut request = request.clone();
                request.deadline = request.deadline.map(|time| time.saturating_sub(elapsed));
                request.sampling.choice = choice;
                // A prompt's scores are the same for all its choices; in a stream each needs them with its first token.
                if choice > 0 && !generate.framing.stream {
                    request.prompt_logprobs = None;
                }
                all.push(request);
            }
        }
        all
    }
}

/// Queues all of them or none. Sequences are made there: prompts are hashed, constraints copied.
async fn submit(
    model: &ServedModel,
    mut all: Vec<GenerateRequest>,
) -> Result<Result<Vec<EventStream>, SubmitError>, ApiError> {
    let engine = model.engine.clone();
    if all.len() == 1 {
        let only = all.remove(0);
        return Ok(engine.submit(only).map(|events| vec![events]));
    }
    let submitted = tokio::task::spawn_blocking(move || engine.submit_all(all)).await;
    submitted.map_err(|_| ApiError::internal("submitting the request panicked"))
}

fn reading(generate: &Generate, model: &ServedModel) -> Reading {
    Reading {
        tokenizer: Arc::clone(&model.tokenizer),
        stops: generate.stops.clone(),
        skip_special_tokens: generate.framing.skip_special_tokens,
        min_tokens: generate.min_tokens,
        marks: marks(generate, model),
        splitter: Splitter::new(generate.marks),
        shows_thoughts: generate.shows_thoughts,
        stop_strings: generate.stop_strings.clone(),
    }
}

/// The tokens that the answer is taken apart by.
fn marks(generate: &Generate, model: &ServedModel) -> Vec<u32> {
    let thoughts = ["<think>", "</think>"].iter();
    let calls = [
        "[TOOL_CALLS]",
        "<|python_tag|>",
        "<tool_call>",
        "</tool_call>",
    ]
    .iter();
    let thoughts = thoughts.filter(|_| generate.marks.may_think);
    let calls = calls.filter(|_| generate.marks.tools.is_some());
    let all = thoughts.chain(calls);
    all.filter_map(|text| model.tokenizer.token_id(text))
        .collect()
}
