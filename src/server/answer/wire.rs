//! How an endpoint spells answers: what every spelling is asked, and what they have in common.

use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use super::account::{Timings, Usage};
use super::choice::Delta;
use crate::request::{FinishReason, SampledToken, TokenLogprobs};
use crate::server::error::ApiError;
use crate::text::{Piece, ToolFormat};

/// An endpoint's spelling of one answer, whole or as a stream of events. It writes, and decides nothing.
pub(crate) trait Wire: Send {
    /// The whole answer.
    fn whole(&mut self, choices: &[Whole], usage: Usage, timings: Timings) -> Value;

    /// Frames what a token of choice `i` led to; nothing where nobody would see a difference.
    fn delta(&mut self, i: usize, delta: &Delta, usage: Usage, frame: &mut Vec<u8>);

    /// Frames what comes after the last delta.
    fn end(&mut self, usage: Usage, timings: Timings, frame: &mut Vec<u8>);

    /// From here on the model `name` goes on with what another has begun.
    fn continued_by(&mut self, name: &str);

    /// Frames a failure, which ends the stream.
    fn fail(&mut self, error: &ApiError, frame: &mut Vec<u8>);
}

/// A message as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub reasoning: String,
    pub content: String,
    /// Names and arguments of calls.
    pub calls: Vec<(String, String)>,
}

impl Said {
    fn push(&mut self, pieces: Vec<Piece>) {
        for piece in pieces {
            match piece {
                Piece::Reasoning(text) => self.reasoning.push_str(&text),
                Piece::Content(text) => self.content.push_str(&text),
                Piece::Call(name) => self.calls.push((name, String::new())),
                Piece::Arguments(text) => {
                    if let Some((_, arguments)) = self.calls.last_mut() {
                        arguments.push_str(&text);
                    }
                }
            }
        }
    }
}

/// A choice that has ended.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub text: String,
    pub said: Said,
    pub tokens: Vec<SampledToken>,
    /// Of the prompt, from its second token on.
    pub prompt_logprobs: Vec<TokenLogprobs>,
    pub finish: Option<FinishReason>,
    /// The stop string that ended it.
    pub stopped: Option<String>,
}

impl Whole {
    /// Takes in the next delta.
    pub fn push(&mut self, delta: Delta) {
        self.text.push_str(&delta.text);
        self.said.push(delta.pieces);
        self.tokens.extend(delta.token);
        if !delta.prompt_logprobs.is_empty() {
            self.prompt_logprobs = delta.prompt_logprobs;
        }
        self.finish = self.finish.or(delta.finish);
        self.stopped = self.stopped.take().or(delta.stopped);
    }

    /// The mean log-probability of its tokens, by which the best are chosen.
    pub fn mean_logprob(&self) -> f64 {
        let chosen = |token: &SampledToken| token.logprobs.as_ref().map(|l| f64::from(l.chosen));
        let sum: f64 = self.tokens.iter().filter_map(chosen).sum();
        sum / self.tokens.len().max(1) as f64
    }
}

/// A fresh name of a call. Mistral's templates take nothing but nine letters and digits.
pub(crate) fn call_id(format: Option<ToolFormat>) -> String {
    let random = RandomState::new().hash_one(());
    match format {
        Some(ToolFormat::Mistral) => format!("{:09x}", random >> 28),
        _ => format!("call_{random:016x}"),
    }
}

/// Frames one event that is called by the `type` of `data`.
pub(crate) fn named_event(frame: &mut Vec<u8>, data: &Value) {
    if let Some(name) = data["type"].as_str() {
        frame.extend_from_slice(b"event: ");
        frame.extend_from_slice(name.as_bytes());
        frame.push(b'\n');
    }
    event(frame, data);
}

/// Frames one event that holds `data`.
pub(crate) fn event(frame: &mut Vec<u8>, data: &Value) {
    frame.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *frame, data).expect("JSON values always serialise: this is a bug");
    frame.extend_from_slice(b"\n\n");
}
