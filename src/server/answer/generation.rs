//! One running generation: engine events in, certain text out.

use std::sync::Arc;

use super::account::{Account, Timings, Usage};
use crate::engine::{EngineError, Event, EventStream};
use crate::request::{FinishReason, SampledToken};
use crate::server::error::ApiError;
use crate::server::request::framing::Framing;
use crate::telemetry::Outcome;
use crate::text::{Detokeniser, StopMatcher, Tokenizer};

/// What one token led to.
#[derive(Debug)]
pub(crate) struct Delta {
    /// Text that is certain now; may be empty.
    pub text: String,
    /// The token behind it.
    pub token: SampledToken,
    /// Set with the last one.
    pub finish: Option<FinishReason>,
}

/// Dropping it cancels the request in the engine and books it as cancelled.
pub(crate) struct Generation {
    events: EventStream,
    tokenizer: Arc<Tokenizer>,
    detokeniser: Detokeniser,
    stops: StopMatcher,
    skip_special_tokens: bool,
    /// Before so many tokens no stop string ends the answer.
    min_tokens: usize,
    account: Account,
    is_done: bool,
}

impl Generation {
    pub fn new(
        events: EventStream,
        tokenizer: Arc<Tokenizer>,
        stops: StopMatcher,
        framing: &Framing,
        min_tokens: usize,
        account: Account,
    ) -> Self {
        let detokeniser = tokenizer.detokeniser();
        let skip_special_tokens = framing.skip_special_tokens;
        Self {
            events,
            tokenizer,
            detokeniser,
            stops,
            skip_special_tokens,
            min_tokens,
            account,
            is_done: false,
        }
    }

    /// The next token's delta; `None` after the last. Safe to cancel: nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Option<Result<Delta, EngineError>> {
        if self.is_done {
            return None;
        }
        let event = self.events.recv().await?;
        Some(match event {
            Event::Token {
                token,
                timing,
                finish,
            } => {
                self.account.token(timing);
                Ok(self.delta(token, finish))
            }
            Event::Failed(error) => {
                self.is_done = true;
                Err(error)
            }
        })
    }

    fn delta(&mut self, token: SampledToken, finish: Option<FinishReason>) -> Delta {
        let id = token.token_id;
        // The token that stopped it is not part of the answer, nor are special tokens unless asked for.
        let is_hidden = finish == Some(FinishReason::Stop)
            || (self.skip_special_tokens && self.tokenizer.is_special(id));
        let bytes = if is_hidden {
            &[]
        } else {
            self.tokenizer.token_bytes(id)
        };
        let text = self.detokeniser.push(bytes);
        if self.account.usage().completion < self.min_tokens && finish.is_none() {
            return Delta {
                text: text.to_owned(),
                token,
                finish: None,
            };
        }
        let mut emit = self.stops.push(text);
        if finish.is_some() && emit.stopped.is_none() {
            let tail = self.stops.push(self.detokeniser.finish());
            emit.text.push_str(&tail.text);
            emit.stopped = tail.stopped;
            if emit.stopped.is_none() {
                emit.text.push_str(&self.stops.finish());
            }
        }
        let finish = match emit.stopped {
            Some(_) => Some(FinishReason::Stop),
            None => finish,
        };
        if finish.is_some() {
            self.is_done = true;
            // Tells the engine, when it was a stop string that ended it.
            self.events.finish();
        }
        Delta {
            text: emit.text,
            token,
            finish,
        }
    }

    /// Books that content is handed on.
    pub fn handed_on(&mut self, delta: &Delta) {
        self.account.content(delta.text.chars().count());
    }

    /// Books the end.
    pub fn close(&mut self, end: Result<FinishReason, &ApiError>) {
        match end {
            Ok(reason) => {
                let outcome = match reason {
                    FinishReason::Stop => Outcome::Stop,
                    FinishReason::Length => Outcome::Length,
                    FinishReason::Deadline => Outcome::Deadline,
                };
                self.account.close(outcome, 200);
            }
            Err(error) => self.account.close(error.outcome(), error.status.as_u16()),
        }
    }

    /// Tokens of the prompt, and those generated so far.
    pub fn usage(&self) -> Usage {
        self.account.usage()
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
