//! An answer that comes from another server.

use std::collections::VecDeque;
use std::time::Instant;

use futures_util::future::BoxFuture;
use tokio::time::timeout_at;

use super::choice::Delta;
use super::failure::Failure;
use crate::engine::{EngineError, Refusal};
use crate::remote::{RemoteDelta, RemoteError, RemoteFinish, RemoteStream, RemoteUsage};
use crate::request::FinishReason;
use crate::server::open_elsewhere::Open;

/// Dropping it closes the connection, which cancels the request there.
pub(crate) struct Elsewhere {
    from: From,
    /// By when the first piece must come.
    deadline: Option<Instant>,
    is_finished: Vec<bool>,
    /// Ends of choices, held back until the usage has come that is told with the last of them.
    ends: VecDeque<(usize, Delta)>,
    usage: Option<RemoteUsage>,
    open: Open,
}

enum From {
    Asked(BoxFuture<'static, Result<RemoteStream, RemoteError>>),
    Stream(Box<RemoteStream>),
    /// All has come.
    Over,
}

impl Elsewhere {
    /// What `asked` brings, of so many choices, counted as `open`.
    pub fn new(
        asked: BoxFuture<'static, Result<RemoteStream, RemoteError>>,
        num_choices: usize,
        deadline: Option<Instant>,
        open: Open,
    ) -> Self {
        Self {
            open,
            from: From::Asked(asked),
            deadline,
            is_finished: vec![false; num_choices],
            ends: VecDeque::new(),
            usage: None,
        }
    }

    /// Whether nothing more comes.
    pub fn is_over(&self) -> bool {
        matches!(self.from, From::Over) && self.ends.is_empty()
    }

    /// The choices that have no end.
    pub fn unfinished(&self) -> Vec<usize> {
        let all = 0..self.is_finished.len();
        all.filter(|&i| !self.is_finished[i]).collect()
    }

    /// What it took, once all has come.
    pub fn usage(&self) -> Option<RemoteUsage> {
        self.usage
    }

    /// The next delta of a choice; `None` after the last. Safe to cancel.
    pub async fn next(&mut self) -> Option<Result<(usize, Delta), Failure>> {
        loop {
            let stopped = self.open.stopped();
            match &mut self.from {
                From::Asked(asked) => {
                    let began = tokio::select! {
                        biased;
                        began = in_time(asked, self.deadline) => began,
                        () = stopped => return Some(Err(self.ended(EngineError::ShutDown))),
                    };
                    match began {
                        None => return Some(Err(self.ended(EngineError::Refused(Refusal::Late)))),
                        Some(Ok(stream)) => self.from = From::Stream(Box::new(stream)),
                        Some(Err(error)) => return Some(Err(self.failed(&error))),
                    }
                }
                From::Stream(stream) => match tokio::select! {
                    biased;
                    next = stream.next() => next,
                    () = stopped => return Some(Err(self.ended(EngineError::ShutDown))),
                } {
                    Some(Ok(delta)) => {
                        if let Some(next) = self.take(delta) {
                            return Some(Ok(next));
                        }
                    }
                    Some(Err(error)) => return Some(Err(self.failed(&error))),
                    None => self.from = From::Over,
                },
                From::Over => {
                    let (i, delta) = self.ends.pop_front()?;
                    self.is_finished[i] = true;
                    return Some(Ok((i, delta)));
                }
            }
        }
    }

    fn failed(&mut self, error: &RemoteError) -> Failure {
        self.from = From::Over;
        self.ends.clear();
        error.into()
    }

    fn ended(&mut self, error: EngineError) -> Failure {
        self.from = From::Over;
        self.ends.clear();
        error.into()
    }

    /// A delta of what came, unless that is to be told later.
    fn take(&mut self, delta: RemoteDelta) -> Option<(usize, Delta)> {
        self.usage = delta.usage.or(self.usage);
        let own = Delta {
            text: delta.text,
            pieces: delta.pieces,
            ..Delta::default()
        };
        let is_silent = own.pieces.is_empty();
        match delta.finish {
            None if is_silent => None,
            None => Some((delta.choice, own)),
            Some(finish) => {
                let end = Delta {
                    finish: Some(match finish {
                        RemoteFinish::Length => FinishReason::Length,
                        _ => FinishReason::Stop,
                    }),
                    ..Delta::default()
                };
                self.ends.push_back((delta.choice, end));
                (!is_silent).then_some((delta.choice, own))
            }
        }
    }
}

/// What comes by the deadline.
async fn in_time<T>(future: impl Future<Output = T>, deadline: Option<Instant>) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => timeout_at(deadline.into(), future).await.ok(),
    }
}
