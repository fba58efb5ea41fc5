//! One request's running generation: its choices, whoever of them is first, and its books.

use futures_util::future::select_all;

use super::account::{Account, Answerer, Timings, Usage};
use super::choice::{Choice, Delta};
use super::elsewhere::Elsewhere;
use super::failure::Failure;
use super::keep::Keep;
use crate::engine::{EngineError, EventStream, Refusal};
use crate::request::FinishReason;
use crate::server::error::ApiError;
use crate::telemetry::Outcome;

/// Where an answer comes from.
pub(crate) enum Source {
    /// The engine, or a text: each choice by itself.
    Choices(Vec<Choice>),
    /// Another server: all choices in one stream.
    Elsewhere(Box<Elsewhere>),
}

/// Dropping it cancels the request in the engine and books it as cancelled.
pub(crate) struct Generation {
    source: Source,
    account: Account,
    /// How the first choice ended, which stands for all in the books.
    first_finish: Option<FinishReason>,
    has_tokens: bool,
    /// The choice that failed last.
    failed: usize,
    /// Where it is kept once it has ended.
    keep: Keep,
}

impl Generation {
    pub fn new(source: Source, account: Account, keep: Keep) -> Self {
        Self {
            source,
            account,
            first_finish: None,
            has_tokens: false,
            failed: 0,
            keep,
        }
    }

    /// The choice that has failed, and the tokens of it that came; `None` where it has none of ours.
    pub fn failed(&self) -> Option<(usize, &[u32])> {
        match &self.source {
            Source::Choices(choices) => {
                let tokens = choices.get(self.failed)?.tokens()?;
                Some((self.failed, tokens))
            }
            Source::Elsewhere(_) => None,
        }
    }

    /// `answerer` goes on with choice `i`, after it failed: what comes next of it, `events` bring.
    pub fn goes_on(&mut self, i: usize, events: EventStream, answerer: Answerer) {
        if let Source::Choices(choices) = &mut self.source {
            choices[i].goes_on(events);
        }
        // What two models wrote is the answer of neither.
        self.keep = Keep::default();
        self.account.goes_on_by(answerer);
    }

    /// Before any token has come, `answerer` takes it over from this source, of prompts that are so long; what came from the one before is cancelled.
    pub fn answered_by(
        &mut self,
        answerer: Answerer,
        source: Source,
        prompt_lens: &[usize],
        keep: Keep,
    ) {
        (self.source, self.keep) = (source, keep);
        self.account.answered_by(answerer, prompt_lens);
    }

    /// The next delta of a choice and the choice's index; `None` after the last of all. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<(usize, Delta), Failure>> {
        let next = match &mut self.source {
            Source::Choices(choices) => {
                let (i, next) = next_of(choices).await?;
                match next {
                    // Its siblings, which were in time, go on.
                    Err(EngineError::Refused(Refusal::Late)) if self.has_tokens => {
                        let late = Delta {
                            finish: Some(FinishReason::Deadline),
                            ..Delta::default()
                        };
                        Ok((i, late))
                    }
                    Err(error) => {
                        self.failed = i;
                        Err(error.into())
                    }
                    Ok(delta) => Ok((i, delta)),
                }
            }
            Source::Elsewhere(elsewhere) => {
                let next = elsewhere.next().await?;
                if next.is_ok() {
                    self.has_tokens = true;
                }
                next
            }
        };
        Some(next.map(|(i, delta)| {
            if delta.token.is_some() {
                self.has_tokens = true;
                self.account.token(i, delta.timing, delta.is_thought);
            }
            if i == 0 && delta.finish.is_some() {
                self.first_finish = delta.finish;
            }
            if let Source::Elsewhere(elsewhere) = &self.source {
                self.account.heard(i);
                if elsewhere.is_over() {
                    self.account.told(elsewhere.usage());
                }
            }
            (i, delta)
        }))
    }

    /// The choices without a finish reason.
    pub fn unfinished(&self) -> Vec<usize> {
        match &self.source {
            Source::Choices(choices) => {
                let all = 0..choices.len();
                all.filter(|&i| !choices[i].is_finished()).collect()
            }
            Source::Elsewhere(elsewhere) => elsewhere.unfinished(),
        }
    }

    /// Whether every choice has ended.
    pub fn is_over(&self) -> bool {
        match &self.source {
            Source::Choices(choices) => choices.iter().all(Choice::is_done),
            Source::Elsewhere(elsewhere) => elsewhere.is_over(),
        }
    }

    /// Books that content is handed on.
    pub fn handed_on(&mut self, delta: &Delta) {
        self.account.content(delta.text.chars().count());
    }

    /// Books the end, and keeps the answer where it may be given again.
    pub fn close(&mut self) {
        if let Source::Choices(choices) = &self.source {
            std::mem::take(&mut self.keep).keep(choices);
        }
        let outcome = match self.first_finish {
            Some(FinishReason::Length) => Outcome::Length,
            Some(FinishReason::Deadline) => Outcome::Deadline,
            Some(FinishReason::Stop) | None => Outcome::Stop,
        };
        self.account.close(outcome, 200);
    }

    /// Books that the deadline passed once the headers of a stream had gone.
    pub fn close_late(&mut self) {
        self.account.close(Outcome::Deadline, 200);
    }

    /// Books a failure.
    pub fn fail(&mut self, error: &ApiError) {
        self.account.close(error.outcome(), error.status.as_u16());
    }

    /// Tokens of the prompts, and those generated so far.
    pub fn usage(&self) -> Usage {
        self.account.usage()
    }

    /// What led to the model that was asked, where the request leaves that open.
    pub fn route(&self) -> Option<&str> {
        self.account.route()
    }

    /// What the caches had, once that is known.
    pub fn cache(&self) -> Option<&'static str> {
        self.account.cache()
    }

    /// Known once content was handed on.
    pub fn timings(&self) -> Timings {
        self.account.timings()
    }
}

/// What comes next of any choice that is open.
async fn next_of(choices: &mut [Choice]) -> Option<(usize, Result<Delta, EngineError>)> {
    let open = choices.iter_mut().enumerate();
    let open = open.filter(|(_, choice)| !choice.is_done());
    // The futures live as long as somebody waits, so that they hear of everything that ends a choice.
    let mut nexts: Vec<_> = open
        .map(|(i, choice)| Box::pin(async move { (i, choice.next().await) }))
        .collect();
    let (i, next) = match nexts.len() {
        0 => return None,
        1 => nexts.remove(0).await,
        _ => select_all(nexts).await.0,
    };
    Some((i, next?))
}
