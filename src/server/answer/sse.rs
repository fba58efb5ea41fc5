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

use super::answering::Answering;
use super::choice::Delta;
use super::failure::Failure;
use super::respond::provenance;
use crate::request::FinishReason;
use crate::server::error::ApiError;

const COMMENT: &[u8] = b": waiting\n\n";

/// A stream between two polls. Dropped by hyper when the client leaves, which cancels the generation.
struct Stream {
    answering: Answering,
    keep_alive: Duration,
    /// When bytes were last sent; silence is counted from here, whatever the engine does meanwhile.
    last_sent: Instant,
    /// Taken from the engine while the headers waited, not framed yet.
    pending: Option<Result<(usize, Delta), Failure>>,
    is_done: bool,
}

/// Waits for the first token, or `keep_alive`, then answers.
pub(crate) async fn respond(
    mut answering: Answering,
    keep_alive: Duration,
) -> Result<Response, ApiError> {
    let waiting_since = Instant::now();
    let pending = match timeout(keep_alive, answering.next()).await {
        Ok(Some(Err(Failure { error, .. }))) => {
            answering.generation.fail(&error);
            return Err(error);
        }
        Ok(next) => next,
        Err(_) => None,
    };
    let generation = &answering.generation;
    let tier = answering.is_settled().then(|| generation.usage().tier);
    let mut headers = provenance(generation.route(), tier, generation.cache(), None);
    let stream = Stream {
        answering,
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
                None => match timeout_at(self.last_sent + self.keep_alive, self.answering.next())
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
                Err(failure) if failure.is_late() => self.frame_late(&mut frame),
                Err(Failure { error, .. }) => {
                    self.is_done = true;
                    self.answering.generation.fail(&error);
                    self.answering.wire.fail(&error, &mut frame);
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
        let Answering {
            generation, wire, ..
        } = &mut self.answering;
        wire.delta(i, delta, generation.usage(), frame);
        if !frame.is_empty() {
            generation.handed_on(delta);
        }
        if generation.is_over() {
            self.is_done = true;
            generation.close();
            self.frame_end(frame);
        }
    }

    /// Frames the end of every choice that has none.
    fn frame_late(&mut self, frame: &mut Vec<u8>) {
        let late = Delta {
            finish: Some(FinishReason::Deadline),
            ..Delta::default()
        };
        let Answering {
            generation, wire, ..
        } = &mut self.answering;
        for i in generation.unfinished() {
            wire.delta(i, &late, generation.usage(), frame);
        }
        self.is_done = true;
        generation.close_late();
        self.frame_end(frame);
    }

    fn frame_end(&mut self, frame: &mut Vec<u8>) {
        let generation = &self.answering.generation;
        let (usage, timings) = (generation.usage(), generation.timings());
        self.answering.wire.end(usage, timings, frame);
    }
}
