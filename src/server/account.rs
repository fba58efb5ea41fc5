//! One request's books: timings, counts, metrics and its log line, closed exactly once, also when the client leaves.

use std::sync::Arc;
use std::time::Instant;

use super::sampling::Caller;
use super::state::AppState;
use crate::request::Timing;
use crate::telemetry::{Outcome, RequestRecord};

/// What is known of a request when it arrives.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// When its head was read.
    pub at: Instant,
    /// `x-request-id`.
    pub request_id: Arc<str>,
    /// Whose key.
    pub tenant: String,
    /// `x-session-id`.
    pub session: Option<String>,
}

/// Where the time went, in milliseconds, as the `flambeau` object and `server-timing` show it.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(super) struct Timings {
    pub queue_ms: f64,
    pub prefill_ms: f64,
    pub ttft_ms: f64,
}

/// Dropped without [`Account::close`], it books the request as cancelled.
pub(super) struct Account {
    state: AppState,
    arrival: Arrival,
    record: RequestRecord,
    engine_timing: Option<Timing>,
    first: Option<Instant>,
    last: Option<Instant>,
    timings: Timings,
    is_open: bool,
}

impl Account {
    pub fn new(
        state: &AppState,
        arrival: Arrival,
        caller: Caller,
        prompt_tokens: usize,
        prompt_chars: usize,
    ) -> Self {
        let record = RequestRecord {
            request_id: arrival.request_id.to_string(),
            tenant: arrival.tenant.clone(),
            user: caller.user,
            session: caller.session.or_else(|| arrival.session.clone()),
            model: state.model.name.clone(),
            tier: TIER,
            cache: CACHE,
            prompt_tokens,
            prompt_chars,
            status: 200,
            ..RequestRecord::default()
        };
        Self {
            state: state.clone(),
            arrival,
            record,
            engine_timing: None,
            first: None,
            last: None,
            timings: Timings::default(),
            is_open: true,
        }
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.record.prompt_tokens
    }

    /// Tokens received.
    pub fn completion_tokens(&self) -> usize {
        self.record.completion_tokens
    }

    /// A token came from the engine; `timing` is with the first.
    pub fn token(&mut self, timing: Option<Timing>) {
        self.record.completion_tokens += 1;
        self.engine_timing = self.engine_timing.or(timing);
    }

    /// Content is handed to the socket, or, for an answer in one piece, has come.
    pub fn content(&mut self, chars: usize) {
        self.record.completion_chars += chars;
        let now = Instant::now();
        match self.last.replace(now) {
            Some(last) => self.state.model.metrics.next_token(now - last),
            None => {
                self.first = Some(now);
                let engine = self.engine_timing.unwrap_or_default();
                let ttft = now - self.arrival.at;
                self.state
                    .model
                    .metrics
                    .first_token(ttft, engine.queue, engine.prefill);
                let ms =
                    |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
                self.timings = Timings {
                    queue_ms: ms(engine.queue),
                    prefill_ms: ms(engine.prefill),
                    ttft_ms: ms(ttft),
                };
                self.record.queue_ms = Some(self.timings.queue_ms);
                self.record.ttft_ms = Some(self.timings.ttft_ms);
            }
        }
    }

    /// Known from the first content on.
    pub fn timings(&self) -> Timings {
        self.timings
    }

    /// The request has ended; later calls change nothing.
    pub fn close(&mut self, outcome: Outcome, status: u16) {
        if !std::mem::replace(&mut self.is_open, false) {
            return;
        }
        let e2e = self.arrival.at.elapsed();
        let decode = self.first.zip(self.last).map(|(first, last)| last - first);
        let (prompt, output) = (
            self.record.prompt_tokens as u64,
            self.record.completion_tokens as u64,
        );
        self.state
            .model
            .metrics
            .ended(outcome, e2e, decode, prompt, output);
        self.record.finish_reason = Some(outcome.as_str());
        self.record.status = status;
        self.record.latency_ms = (e2e.as_secs_f64() * 1e6).round() / 1e3;
        self.state.options.request_log.write(&self.record);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // nginx's status for "the client closed the request".
        self.close(Outcome::Cancelled, 499);
    }
}

/// Which tier answers: there is one so far.
pub(super) const TIER: &str = "primary";
/// What the caches had: there are none so far.
pub(super) const CACHE: &str = "miss";
