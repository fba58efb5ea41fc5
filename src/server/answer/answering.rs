//! One request on its way from a tier that takes it to the end of its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::account::Account;
use super::begun::Begun;
use super::chain::Chain;
use super::choice::Delta;
use super::continuing::Continuing;
use super::failure::Failure;
use super::generation::Generation;
use super::wire::Wire;
use crate::engine::Presence;
use crate::server::state::{AppState, ServedModel};

/// Between two looks at whether a model is loaded.
const LOADING_POLL: Duration = Duration::from_millis(200);

/// An answer and how it is spelt. Before its first token a failure hands it on to the next tier; dropping it cancels it.
pub(crate) struct Answering {
    pub generation: Generation,
    pub wire: Box<dyn Wire>,
    rest: Rest,
    /// Who goes on with it when it fails after its first token, where somebody may.
    continuing: Option<Continuing>,
}

/// What is left to try.
enum Rest {
    /// Nothing: tokens have come, or nobody else would answer.
    None,
    /// The tier that has it may still fail.
    Behind(Box<Chain>),
    /// The next one is being asked.
    Ahead(BoxFuture<'static, (Chain, Result<Begun, Failure>)>),
}

impl Answering {
    /// Of what `chain` has begun.
    pub fn new(state: &AppState, chain: Chain, begun: Begun) -> Self {
        let account = Account::new(
            state,
            chain.received(),
            begun.caller,
            begun.answerer,
            &begun.prompt_lens,
            begun.num_candidates,
            begun.prompt_chars,
        );
        Self {
            generation: Generation::new(begun.source, account, begun.keep),
            wire: begun.wire,
            rest: Rest::Behind(Box::new(chain)),
            continuing: None,
        }
    }

    /// The next delta of a choice and the choice's index; `None` after the last of all. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<(usize, Delta), Failure>> {
        loop {
            match &mut self.rest {
                Rest::None => match self.generation.next().await {
                    Some(Err(failure)) if self.goes_on(&failure) => {}
                    next => return next,
                },
                Rest::Ahead(asked) => {
                    let (chain, begun) = asked.await;
                    self.rest = Rest::None;
                    match begun {
                        Ok(begun) => self.taken_over(chain, begun),
                        Err(failure) => return Some(Err(failure)),
                    }
                }
                Rest::Behind(chain) => {
                    let next = first(&mut self.generation, chain.patience()).await;
                    let Rest::Behind(mut chain) = std::mem::replace(&mut self.rest, Rest::None)
                    else {
                        unreachable!("it was behind: this is a bug")
                    };
                    match next {
                        First::Token(next) => {
                            self.continuing = chain.succeeds();
                            return Some(Ok(next));
                        }
                        First::Over => return None,
                        First::Failed(failure) => match chain.fails(&failure) {
                            true => self.rest = Rest::Ahead(Box::pin(chain.go_on())),
                            false => return Some(Err(failure)),
                        },
                    }
                }
            }
        }
    }

    /// Whether somebody else goes on with what has failed after its first token.
    fn goes_on(&mut self, failure: &Failure) -> bool {
        let continuing = self.continuing.as_mut();
        let Some((continuing, (i, tokens))) = continuing.zip(self.generation.failed()) else {
            return false;
        };
        let Some((events, answerer)) = continuing.go_on(i, tokens, failure) else {
            return false;
        };
        self.wire.continued_by(&answerer.name);
        self.generation.goes_on(i, events, answerer);
        true
    }

    /// Whether it is known which tier answers.
    pub fn is_settled(&self) -> bool {
        match &self.rest {
            Rest::None => true,
            Rest::Behind(chain) => chain.is_settled(),
            Rest::Ahead(_) => false,
        }
    }

    fn taken_over(&mut self, chain: Chain, begun: Begun) {
        self.wire = begun.wire;
        let (source, prompt_lens) = (begun.source, &begun.prompt_lens);
        (self.generation).answered_by(begun.answerer, source, prompt_lens, begun.keep);
        self.rest = Rest::Behind(Box::new(chain));
    }
}

/// What comes first of a tier.
enum First {
    Token((usize, Delta)),
    Failed(Failure),
    /// An answer of no choice.
    Over,
}

/// What comes first, of a model that may compute nothing since then for so long.
async fn first(
    generation: &mut Generation,
    patience: Option<(Arc<ServedModel>, Instant, Duration)>,
) -> First {
    let next = match patience {
        None => generation.next().await,
        Some((model, since, patience)) => tokio::select! {
            biased;
            next = generation.next() => next,
            () = hung(&model, since, patience) => return First::Failed(Failure::hung()),
        },
    };
    match next {
        Some(Ok(next)) => First::Token(next),
        Some(Err(failure)) => First::Failed(failure),
        None => First::Over,
    }
}

/// Resolves once the model has computed no step for `patience`, `asked` being the earliest beginning. One that is being loaded does not
/// hang.
async fn hung(model: &ServedModel, mut asked: Instant, patience: Duration) {
    loop {
        if model.engine.presence() != Presence::Loaded {
            sleep(patience.min(LOADING_POLL)).await;
            asked = Instant::now();
            continue;
        }
        let waited = asked.elapsed();
        let still = model
            .engine
            .since_last_step()
            .map_or(waited, |since| since.min(waited));
        match patience.checked_sub(still) {
            Some(left) if !left.is_zero() => sleep(left).await,
            _ => return,
        }
    }
}
