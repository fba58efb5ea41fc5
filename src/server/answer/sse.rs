//! Streams: server-sent events, however the endpoint spells them.
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
use tokio::time::{Instant, timeout, timeout_at};

use super::choice::Delta;
use super::generation::Generation;
use super::respond::provenance;
use super::wire::Wire;
use crate::engine::{EngineError, Refusal};
use crate::request::FinishReason;
use crate::server::error::ApiError;

const COMMENT: &[u8] = b": waiting\n\n";

/// A stream between two polls. Dropped by hyper when the client leaves, which cancels the generation.
struct Stream {
    generation: Generation,
    wire: Box<dyn Wire>,
    keep_alive: Duration,
    /// When bytes were last sent; silence is counted from here, whatever the engine does meanwhile.
    last_sent: Instant,
    /// Taken from the engine while the headers waited, not framed yet.
    pending: Option<Result<(usize, Delta), EngineError>>,
    is_done: bool,
}

/// Waits for the first token, or `keep_alive`, then answers.
pub(crate) async fn respond(
    mut generation: Generation,
    wire: Box<dyn Wire>,
    keep_alive: Duration,
) -> Result<Response, ApiError> {
    let waiting_since = Instant::now();
    let pending = match timeout(keep_alive, generation.next()).await {
        Ok(Some(Err(error))) => {
            let error = ApiError::from(error);
            generation.fail(&error);
            return Err(error);
        }
        Ok(next) => next,
        Err(_) => None,
    };
    let mut headers = provenance(generation.cache(), None);
    let stream = Stream {
        generation,
        wire,
        keep_alive,
        last_sent: waiting_since,
        pending,
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
                Ok((i, delta)) => self.frame_delta(i, &delta, &mut frame),
                // The headers have gone: the stream ends as an answer does, without one.
                Err(EngineError::Refused(Refusal::Late)) => self.frame_late(&mut frame),
                Err(error) => {
                    self.is_done = true;
                    let error = ApiError::from(error);
                    self.generation.fail(&error);
                    self.wire.fail(&error, &mut frame);
                }
            }
            if !frame.is_empty() {
                self.last_sent = Instant::now();
                return Some(frame.into());
            }
        }
        None
    }

    /// Frames a delta, and the end after the last one.
    fn frame_delta(&mut self, i: usize, delta: &Delta, frame: &mut Vec<u8>) {
        self.wire.delta(i, delta, self.generation.usage(), frame);
        if !frame.is_empty() {
            self.generation.handed_on(delta);
        }
        if self.generation.is_over() {
            self.is_done = true;
            self.generation.close();
            self.frame_end(frame);
        }
    }

    /// Frames the end of every choice that has none.
    fn frame_late(&mut self, frame: &mut Vec<u8>) {
        let late = Delta {
            finish: Some(FinishReason::Deadline),
            ..Delta::default()
        };
        for i in self.generation.unfinished() {
            self.wire.delta(i, &late, self.generation.usage(), frame);
        }
        self.is_done = true;
        self.generation.close_late();
        self.frame_end(frame);
    }

    fn frame_end(&mut self, frame: &mut Vec<u8>) {
        let (usage, timings) = (self.generation.usage(), self.generation.timings());
        self.wire.end(usage, timings, frame);
    }
}
