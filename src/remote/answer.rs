//! Reads an answer from its bytes.
//!
//! Invariant: the deltas depend on the bytes alone, never on how they were cut.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use super::calls::Calls;
use super::chunk::{Chunk, ChunkChoice};
use super::delta::{RemoteDelta, RemoteFinish};
use super::error::RemoteError;
use crate::http::{SseEvent, SseParser, excerpt};
use crate::text::Piece;

/// How many choices the answer to `body` has: `n`, of each prompt.
pub(super) fn num_choices(body: &Map<String, Value>) -> usize {
    let n = body.get("n").and_then(Value::as_u64).unwrap_or(1);
    let num_prompts = match body.get("prompt").and_then(Value::as_array) {
        Some(prompts) if prompts.iter().any(|p| p.is_string() || p.is_array()) => prompts.len(),
        _ => 1,
    };
    usize::try_from(n)
        .unwrap_or(usize::MAX)
        .saturating_mul(num_prompts)
}

/// Turns bytes into deltas as they come.
pub(super) struct AnswerReader {
    parser: SseParser,
    num_choices: usize,
    /// Those that have begun.
    choices: BTreeMap<usize, Choice>,
    is_over: bool,
}

#[derive(Default)]
struct Choice {
    calls: Calls,
    is_finished: bool,
}

impl AnswerReader {
    /// Of an answer that is to have so many choices.
    pub fn new(num_choices: usize) -> Self {
        Self {
            parser: SseParser::default(),
            num_choices,
            choices: BTreeMap::new(),
            is_over: false,
        }
    }

    /// Takes the next bytes of a stream and appends what they complete, also what came before an error. What follows
    /// `[DONE]` is ignored.
    pub fn push(
        &mut self,
        bytes: &[u8],
        deltas: &mut VecDeque<RemoteDelta>,
    ) -> Result<(), RemoteError> {
        let mut events = Vec::new();
        let pushed = self.parser.push(bytes, &mut events);
        for event in &events {
            if !self.is_over {
                self.event(event, deltas)?;
            }
        }
        match pushed {
            Err(error) if !self.is_over => Err(RemoteError::Malformed(error.to_string())),
            _ => Ok(()),
        }
    }

    /// Takes a body that is the whole answer.
    pub fn whole(
        &mut self,
        body: &[u8],
        deltas: &mut VecDeque<RemoteDelta>,
    ) -> Result<(), RemoteError> {
        let text = str::from_utf8(body).map_err(|e| RemoteError::Malformed(e.to_string()))?;
        self.chunk(text, deltas)?;
        self.end_all(deltas)
    }

    /// Ends a stream whose bytes have ended.
    pub fn end(&self) -> Result<(), RemoteError> {
        match self.is_over || self.is_answered() {
            true => Ok(()),
            false => Err(RemoteError::Broken(
                "the stream ended without a finish_reason or [DONE]".into(),
            )),
        }
    }

    /// Whether `[DONE]` came.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether all choices have ended. What follows can but be accounts.
    pub fn is_answered(&self) -> bool {
        self.choices.len() == self.num_choices && self.choices.values().all(|c| c.is_finished)
    }

    fn event(
        &mut self,
        event: &SseEvent,
        deltas: &mut VecDeque<RemoteDelta>,
    ) -> Result<(), RemoteError> {
        if event.name == "error" {
            return Err(match serde_json::from_str(&event.data) {
                Ok(body) => RemoteError::of_event(&body),
                Err(_) => RemoteError::Failed {
                    status: None,
                    message: excerpt(&event.data),
                },
            });
        }
        match event.data.trim() {
            "[DONE]" => self.end_all(deltas),
            data => self.chunk(data, deltas),
        }
    }

    fn chunk(&mut self, data: &str, deltas: &mut VecDeque<RemoteDelta>) -> Result<(), RemoteError> {
        let malformed = |error: serde_json::Error| {
            let error = excerpt(&error.to_string());
            RemoteError::Malformed(format!("{error} in `{}`", excerpt(data)))
        };
        let chunk: Chunk = serde_json::from_str(data).map_err(malformed)?;
        if chunk.is_error() {
            let body = serde_json::from_str(data).map_err(malformed)?;
            return Err(RemoteError::of_event(&body));
        }
        let mut usage = chunk.usage();
        for choice in chunk.choices.unwrap_or_default() {
            let mut delta = self.choice(choice)?;
            if delta.is_answer() {
                delta.usage = usage.take();
                deltas.push_back(delta);
            }
        }
        if usage.is_some() {
            deltas.push_back(RemoteDelta {
                usage,
                ..RemoteDelta::default()
            });
        }
        Ok(())
    }

    fn choice(&mut self, chunk: ChunkChoice) -> Result<RemoteDelta, RemoteError> {
        let choice = chunk.index.unwrap_or(0);
        if choice >= self.num_choices {
            return Err(RemoteError::Malformed(format!(
                "there is a choice {choice}, and {} asked for",
                self.num_choices
            )));
        }
        let mut delta = RemoteDelta {
            choice,
            ..RemoteDelta::default()
        };
        let state = self.choices.entry(choice).or_default();
        if state.is_finished {
            return Ok(delta);
        }
        let (finish, mut contents) = (chunk.finish(), vec![chunk.text]);
        let mut parts = Vec::new();
        if let Some(mut message) = chunk.delta.or(chunk.message) {
            (delta.pieces).extend(message.take_reasoning().map(Piece::Reasoning));
            contents.push(message.content);
            parts = message.tool_calls.unwrap_or_default();
        }
        for text in contents
            .into_iter()
            .flatten()
            .filter(|text| !text.is_empty())
        {
            delta.text.push_str(&text);
            delta.pieces.push(Piece::Content(text));
        }
        for part in &parts {
            state.calls.push(part, &mut delta.pieces)?;
        }
        if finish.is_some() {
            state.calls.finish(&mut delta.pieces)?;
            (delta.finish, state.is_finished) = (finish, true);
        }
        Ok(delta)
    }

    /// The server says that this is all: choices that have no reason to end have ended all the same.
    fn end_all(&mut self, deltas: &mut VecDeque<RemoteDelta>) -> Result<(), RemoteError> {
        for (&choice, state) in self.choices.iter_mut().filter(|(_, c)| !c.is_finished) {
            let mut delta = RemoteDelta {
                choice,
                finish: Some(RemoteFinish::Other),
                ..RemoteDelta::default()
            };
            state.calls.finish(&mut delta.pieces)?;
            state.is_finished = true;
            deltas.push_back(delta);
        }
        self.is_over = true;
        match self.is_answered() {
            true => Ok(()),
            false => Err(RemoteError::Malformed(format!(
                "it has {} choices, not {}",
                self.choices.len(),
                self.num_choices
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
