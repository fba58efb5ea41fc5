//! A request's way through the tiers: put to one model after the other, until one takes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use super::account::Answerer;
use super::again::Keeping;
use super::ask::Ask;
use super::begun::Begun;
use super::continuing::Continuing;
use super::elsewhere::Elsewhere;
use super::failure::Failure;
use super::form::Kind;
use super::generation::Source;
use super::keep::Keep;
use super::put::put;
use super::recall::{Eras, serve};
use super::received::Received;
use super::remembering::Remembering;
use super::serving::Serving;
use crate::engine::SubmitError;
use crate::gateway::Policy;
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::models::{Chosen, Served, Target};
use crate::server::remote::RemoteServed;
use crate::server::state::{AppState, ServedModel};
use crate::server::tiers::{TierModel, Tiers};
use crate::telemetry::{AnswerCacheLevel, Cause, Tier};
use crate::text::Tokenizer;

/// Where a request is on its way.
pub(crate) struct Chain {
    pub(super) state: AppState,
    pub(super) received: Arc<Received>,
    pub(super) ask: Ask,
    /// Those that answer instead, where the request is for their first.
    tiers: Option<Arc<Tiers>>,
    pub(super) policy: Policy,
    /// When it came: what is forgotten since then is not kept of it, whoever answers.
    pub(super) eras: Eras,
    /// The place of the next to try.
    next: usize,
    /// The first was left alone, since it has failed before.
    is_first_skipped: bool,
    /// It was put to the first all the same, since nobody else answers.
    is_last_resort: bool,
    /// The place of the tier that has it, where that is not the first, and why.
    pub(super) fallen: Option<(usize, Cause)>,
    /// Whether its answer is for no other model to give, and for no text. Known once it was prepared.
    is_bound: bool,
    /// What the first said, and why the last did not answer.
    refusal: Option<(Failure, Cause)>,
    /// Deadlines count from now, not from when the request came.
    begins_anew: bool,
    /// What was put to the model of this process that has it, in its tokens: a request for each prompt, and how many choices of each; where
    /// another may go on with it.
    pub(super) put: Option<(Arc<Tokenizer>, Vec<GenerateRequest>, usize)>,
    /// The tier that has it, and since when.
    pub(super) taken_by: Option<(Arc<TierModel>, Instant)>,
}

impl Chain {
    pub fn new(state: AppState, received: Arc<Received>, ask: Ask) -> Self {
        let tiers = state.tiers.clone();
        let tiers = tiers.filter(|tiers| tiers.is_for(&ask.target));
        Self {
            policy: state.tenants.policy(received.tenant()),
            eras: Eras::of(&state, received.tenant()),
            state,
            received,
            ask,
            tiers,
            next: 0,
            is_first_skipped: false,
            is_last_resort: false,
            fallen: None,
            is_bound: false,
            refusal: None,
            begins_anew: false,
            put: None,
            taken_by: None,
        }
    }

    /// Puts the request to the next tiers until one takes it; what the first one said, if none does.
    pub async fn go_on(mut self) -> (Self, Result<Begun, Failure>) {
        loop {
            let i = self.next;
            self.next += 1;
            let asked = match (i, self.tiers.clone()) {
                (0, tiers) => self.ask_first(tiers.as_deref()).await,
                (_, Some(tiers)) if self.may_go_on() => match tiers.model(i) {
                    Some(tier) => self.ask_other(tier, i).await,
                    None => match self.without_model(&tiers, i).await {
                        Some(begun) => Ok(begun),
                        None => break,
                    },
                },
                _ => break,
            };
            match asked {
                Ok(begun) => return (self, Ok(begun)),
                Err(failure) => match failure.cause {
                    Some(cause) => self.note(failure, cause),
                    None => return (self, Err(failure)),
                },
            }
        }
        // It has failed before, but nobody else answers.
        if std::mem::take(&mut self.is_first_skipped) {
            self.is_last_resort = true;
            self.fallen = None;
            let first = self
                .tiers
                .as_ref()
                .and_then(|tiers| tiers.model(0))
                .cloned();
            let begun = self.put_to(self.ask.target.clone(), first, true).await;
            return (self, begun);
        }
        let none = || ApiError::internal("no tier was asked").into();
        let refusal = self.refusal.as_ref();
        let failure = refusal.map_or_else(none, |(first, _)| first.clone());
        (self, Err(failure))
    }

    /// After the tier that has it failed before the first token: whether another may answer.
    pub fn fails(&mut self, failure: &Failure) -> bool {
        // Where everybody is told to go, nobody is sent on.
        if self.is_draining() {
            return false;
        }
        // The first has taken it for a good request: where another cannot answer it, the next one may.
        let is_first = self.fallen.is_none();
        let Some(cause) = failure.cause.or((!is_first).then(|| self.cause())) else {
            return false;
        };
        if let Some((tier, _)) = &self.taken_by {
            let is_remote = matches!(tier.served, Served::Elsewhere(_));
            // An engine says itself that it is late; a server that says nothing may be gone.
            if cause == Cause::Failed || cause == Cause::Late && is_remote {
                tier.failed(failure.error.message(), failure.is_certain);
            }
        }
        // What was waited for in vain is not to be counted against the next one.
        self.begins_anew |= matches!(cause, Cause::Failed | Cause::Late);
        self.note(failure.clone(), cause);
        self.may_go_on()
    }

    /// Whose request it is.
    pub fn received(&self) -> Arc<Received> {
        Arc::clone(&self.received)
    }

    /// The first token has come. Gives who goes on if it fails from now on, where that is wanted.
    pub fn succeeds(self) -> Option<Continuing> {
        if let Some((tier, _)) = &self.taken_by {
            tier.succeeded();
        }
        if let (Some(tiers), Some((i, cause))) = (&self.tiers, self.fallen) {
            tiers.count(i, cause);
        }
        let (tokenizer, requests, choices) = self.put?;
        let place = self.fallen.map_or(0, |(i, _)| i);
        let continuing = Continuing::new(self.tiers?, place, requests, choices, tokenizer);
        Some(continuing)
    }

    /// Whether no other tier will answer than the one that has it.
    pub fn is_settled(&self) -> bool {
        !self.may_go_on()
    }

    /// The model of this process that has it, since when, and how long it may compute nothing; `None` where nobody else would answer.
    pub fn patience(&self) -> Option<(Arc<ServedModel>, Instant, Duration)> {
        let is_waited_for = self.may_go_on() || self.is_last_resort;
        let (tier, since) = self.taken_by.as_ref().filter(|_| is_waited_for)?;
        let patience = self
            .tiers
            .as_ref()?
            .slo_ttft
            .max(self.state.options.ready_within);
        match &tier.served {
            Served::Here(model) => Some((Arc::clone(model), *since, patience)),
            Served::Elsewhere(_) => None,
        }
    }

    fn is_draining(&self) -> bool {
        self.state.models.first().engine.is_draining()
    }

    /// Whether others may answer.
    fn may_go_on(&self) -> bool {
        let recalls = self.tiers.as_ref().is_some_and(|tiers| tiers.recalls());
        let may = self.policy.fallback || self.policy.may_be_static || recalls;
        self.tiers.is_some() && self.ask.may_fall_back && may && !self.is_bound
    }

    fn note(&mut self, failure: Failure, cause: Cause) {
        let first = self.refusal.take().map_or(failure, |(first, _)| first);
        self.refusal = Some((first, cause));
    }

    pub(super) fn cause(&self) -> Cause {
        let refusal = self.refusal.as_ref();
        refusal.map_or(Cause::Unhealthy, |(_, cause)| *cause)
    }

    /// The model that was asked for.
    async fn ask_first(&mut self, tiers: Option<&Tiers>) -> Result<Begun, Failure> {
        let first = tiers.and_then(|tiers| tiers.model(0)).cloned();
        if self.may_go_on() && first.as_ref().is_some_and(|tier| !tier.is_asked()) {
            self.is_first_skipped = true;
            let error = ApiError::unavailable("the model has failed, and is not asked for a while");
            return Err(Failure::because(error, Cause::Unhealthy));
        }
        self.put_to(self.ask.target.clone(), first, true).await
    }

    /// The `i`th of the chain.
    async fn ask_other(&mut self, tier: &Arc<TierModel>, i: usize) -> Result<Begun, Failure> {
        let cause = self.cause();
        if !self.policy.fallback || !tier.is_asked() {
            let error = ApiError::unavailable("the model is not asked");
            return Err(Failure::because(error, cause));
        }
        let target = Target::of(&tier.served);
        let begun = self.put_to(target, Some(Arc::clone(tier)), false).await;
        // The first has taken it for a good request: where this model cannot answer it, others may.
        let mut begun = begun.map_err(|failure| Failure::because(failure.error, cause))?;
        self.fallen = Some((i, cause));
        begun.answerer = match begun.answerer.tier {
            Tier::Cache => Answerer {
                cause: Some(cause),
                ..begun.answerer
            },
            _ => Answerer {
                name: tier.served.name().to_owned(),
                tier: Tier::Fallback,
                cause: Some(cause),
                level: None,
                metrics: tier.metrics.clone(),
            },
        };
        Ok(begun)
    }

    async fn put_to(
        &mut self,
        target: Target,
        tier: Option<Arc<TierModel>>,
        is_first: bool,
    ) -> Result<Begun, Failure> {
        let begun = match target {
            Target::Here(chosen) => self.put_here(chosen, is_first).await,
            Target::Elsewhere(remote) => self.put_elsewhere(&remote, is_first),
        };
        if let (Err(failure), Some(tier)) = (&begun, &tier)
            && failure.cause == Some(Cause::Failed)
        {
            tier.failed(failure.error.message(), failure.is_certain);
        }
        let begun = begun?;
        let is_asked = begun.answerer.tier != Tier::Cache;
        self.taken_by = tier.filter(|_| is_asked).map(|tier| (tier, Instant::now()));
        Ok(begun)
    }

    async fn put_here(&mut self, chosen: Chosen, is_first: bool) -> Result<Begun, Failure> {
        let (model, name) = (Arc::clone(&chosen.model), chosen.name.clone());
        let keeping = self.keeping(&chosen);
        let mut remembering = self.remembering(&chosen);
        let may_be_there = keeping.as_ref().is_some_and(Keeping::has_any)
            || (remembering.as_ref()).is_some_and(Remembering::may_serve);
        // Before the work of preparing what would be refused.
        if !may_be_there {
            model.engine.check_room(self.received.tenant())?;
        }
        let mut call = (self.ask.prepare)(chosen.clone(), None).await?;
        self.check_bound(call.generate.is_bound(), is_first)?;
        let keeping = keeping.and_then(|keeping| keeping.of(&call));
        let found = keeping
            .as_ref()
            .and_then(|keeping| keeping.find(&model.name));
        if let Some((answer, metrics)) = found {
            let again = self.given_again(AnswerCacheLevel::Exact, name, metrics);
            return Ok(call.given_again(&answer, &model, again));
        }
        if let Some(remembering) = &mut remembering
            && remembering.may_serve()
            && let Some(serving) = Serving::of(&call, &chosen, self.elapsed())
            && let Some((hit, metrics)) = serve(&self.ask, remembering, serving).await
        {
            let again = self.given_again(AnswerCacheLevel::Semantic, name, metrics);
            return Ok(call.given_again(&hit, &model, again));
        }
        let question = remembering.and_then(|question| question.of(&mut call));
        let elapsed = self.elapsed();
        let may_continue = self.ask.may_continue && self.policy.fallback && self.may_go_on();
        self.put = may_continue.then(|| {
            let tokenizer = Arc::clone(&model.tokenizer);
            let choices_a_prompt = call.generate.num_candidates;
            (tokenizer, call.requests.clone(), choices_a_prompt)
        });
        let choices = put(&call, &model, elapsed).await?;
        let begun = call.begun(self.primary(name), Source::Choices(choices));
        let keep = Keep {
            again: keeping,
            question,
        };
        Ok(Begun { keep, ..begun })
    }

    /// What has passed of its deadline: the client counts from when it asked.
    pub(super) fn elapsed(&self) -> Duration {
        match self.begins_anew {
            true => Duration::ZERO,
            false => self.received.at.elapsed(),
        }
    }

    fn put_elsewhere(&mut self, remote: &RemoteServed, is_first: bool) -> Result<Begun, Failure> {
        self.put = None;
        if self.is_draining() {
            return Err(SubmitError::Draining.into());
        }
        let mut call = (self.ask.forward)(&remote.name)?;
        self.check_bound(call.forwarded.is_bound, is_first)?;
        let body = std::mem::take(&mut call.forwarded.body);
        let (model, kind) = (remote.model.clone(), self.ask.kind);
        let asked = async move {
            match kind {
                Kind::Chat => model.chat(body).await,
                Kind::Completion => model.complete(body).await,
            }
        };
        let from = match self.begins_anew {
            true => Instant::now(),
            false => self.received.at,
        };
        let deadline = call.forwarded.deadline.map(|deadline| from + deadline);
        let num_choices = call.forwarded.num_prompts * call.forwarded.num_choices;
        let open = self.state.models.open_elsewhere.open();
        let elsewhere = Elsewhere::new(asked.boxed(), num_choices, deadline, open);
        let source = Source::Elsewhere(Box::new(elsewhere));
        Ok(call.begun(self.primary(remote.name.clone()), source))
    }

    /// Takes note of whether the answer is bound to the first model, which another is not put to.
    fn check_bound(&mut self, is_bound: bool, is_first: bool) -> Result<(), ApiError> {
        self.is_bound |= is_bound;
        match self.is_bound && !is_first {
            true => Err(ApiError::unavailable(
                "the answer is for the first model to give",
            )),
            false => Ok(()),
        }
    }

    fn primary(&self, name: String) -> Answerer {
        Answerer {
            metrics: self.state.metrics(&name).clone(),
            name,
            tier: Tier::Primary,
            cause: None,
            level: None,
        }
    }
}
