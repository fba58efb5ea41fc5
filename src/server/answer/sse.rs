//! Streams: server-sent events as OpenAI frames them.
//!
//! Headers go with the first token, so that a failure before it has a true status code; or after `keep_alive` of
//! waiting, from when a comment line every `keep_alive` keeps proxies awake and failures become error events.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

use super::body::{AnswerBody, Part};
use super::generation::{Delta, Generation};
use super::respond::provenance;
use crate::engine::{EngineError, Refusal};
use crate::request::{FinishReason, SampledToken};
use crate::server::error::ApiError;

const COMMENT: &[u8] = b": waiting\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

/// A stream between two polls. Dropped by hyper when the client leaves, which cancels the generation.
struct Stream {
    generation: Generation,
    body: AnswerBody,
    keep_alive: Duration,
    /// When bytes were last sent; silence is counted from here, whatever the engine does meanwhile.
    last_sent: Instant,
    /// Taken from the engine while the headers waited, not framed yet.
    pending: Option<Result<Delta, EngineError>>,
    is_first: bool,
    is_done: bool,
}

/// Waits for the first token, or `keep_alive`, then answers.
pub(crate) async fn respond(
    mut generation: Generation,
    body: AnswerBody,
    keep_alive: Duration,
) -> Result<Response, ApiError> {
    let waiting_since = Instant::now();
    let pending = match timeout(keep_alive, generation.next()).await {
        Ok(Some(Err(error))) => {
            let error = ApiError::from(error);
            generation.close(Err(&error));
            return Err(error);
        }
        Ok(next) => next,
        Err(_) => None,
    };
    let mut headers = provenance(generation.cache(), None);
    let stream = Stream {
        generation,
        body,
        keep_alive,
        last_sent: waiting_since,
        pending,
        is_first: true,
        is_done: false,
    };
    let frames = stream::unfold(stream, |mut stream| async move {
        let frame = stream.next_frame().await?;
        Some((Ok::<_, Infallible>(frame), stream))
    });
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would otherwise collect the stream.
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    Ok((headers, Body::from_stream(frames)).into_response())
}

impl Stream {
    /// The next bytes for the socket; `None` at the end.
    async fn next_frame(&mut self) -> Option<Bytes> {
        while !self.is_done {
            let next = match self.pending.take() {
                Some(next) => next,
                None => match timeout_at(self.last_sent + self.keep_alive, self.generation.next())
                    .await
                {
                    Ok(next) => next?,
                    Err(_) => {
                        self.last_sent = Instant::now();
                        return Some(Bytes::from_static(COMMENT));
                    }
                },
            };
            let mut frame = Vec::with_capacity(512);
            match next {
                Ok(delta) => self.frame_delta(&delta, &mut frame),
                // The headers have gone: the stream ends as an answer does, without one.
                Err(EngineError::Refused(Refusal::Late)) => {
                    self.frame_part("", &[], Some(FinishReason::Deadline), &mut frame);
                    self.frame_end(FinishReason::Deadline, &mut frame);
                }
                Err(error) => {
                    self.is_done = true;
                    let error = ApiError::from(error);
                    self.generation.close(Err(&error));
                    event(&mut frame, &error.body());
                    frame.extend_from_slice(DONE);
                }
            }
            if !frame.is_empty() {
                self.last_sent = Instant::now();
                return Some(frame.into());
            }
        }
        None
    }

    /// Frames a delta; a token whose text is still held back, and that nobody asked details of, gives nothing.
    fn frame_delta(&mut self, delta: &Delta, frame: &mut Vec<u8>) {
        let has_details = delta.token.logprobs.is_some() || self.body.framing.return_token_ids;
        if delta.text.is_empty() && delta.finish.is_none() && !has_details {
            return;
        }
        let tokens = std::slice::from_ref(&delta.token);
        self.frame_part(&delta.text, tokens, delta.finish, frame);
        self.generation.handed_on(delta);
        if let Some(finish) = delta.finish {
            self.frame_end(finish, frame);
        }
    }

    /// Frames a chunk, and before the first one who speaks.
    fn frame_part(
        &mut self,
        text: &str,
        tokens: &[SampledToken],
        finish: Option<FinishReason>,
        frame: &mut Vec<u8>,
    ) {
        if self.is_first
            && let Some(role) = self.body.role_chunk(self.generation.usage())
        {
            event(frame, &role);
        }
        let part = Part {
            text,
            tokens,
            finish,
        };
        let chunk = self.body.chunk(
            &part,
            std::mem::take(&mut self.is_first),
            self.generation.usage(),
        );
        event(frame, &chunk);
    }

    /// Closes the books, and frames what comes after the last chunk.
    fn frame_end(&mut self, finish: FinishReason, frame: &mut Vec<u8>) {
        self.is_done = true;
        self.generation.close(Ok(finish));
        if let Some(usage) = self
            .body
            .usage_chunk(self.generation.usage(), self.generation.timings())
        {
            event(frame, &usage);
        }
        frame.extend_from_slice(DONE);
    }
}

fn event(frame: &mut Vec<u8>, data: &Value) {
    frame.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *frame, data).expect("JSON values always serialise: this is a bug");
    frame.extend_from_slice(b"\n\n");
}
