//! One request's books: timings, counts, metrics and its log line, closed exactly once, also when the client leaves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::remote::RemoteUsage;
use crate::request::{DEFAULT_TENANT, Timing};
use crate::server::request::caller::Caller;
use crate::server::routing::Routed;
use crate::server::state::AppState;
use crate::telemetry::{Cause, Outcome, RequestMetrics, RequestRecord, Tier};

/// What is known of a request from its head on; shared by everything that handles it.
#[derive(Debug)]
pub(crate) struct Received {
    /// When its head was read.
    pub at: Instant,
    /// `x-request-id`.
    pub request_id: String,
    /// `x-session-id`, cut at a sensible length.
    pub session: Option<String>,
    /// `accept-language`, where it is not too long.
    pub languages: Option<String>,
    /// Whose key, once that is known.
    pub tenant: OnceLock<String>,
    /// What answers it, once that is known.
    model: OnceLock<String>,
    /// How its model was picked, where it leaves that open.
    route: OnceLock<Routed>,
    is_booked: AtomicBool,
}

impl Received {
    pub fn new(request_id: String, session: Option<String>, languages: Option<String>) -> Self {
        Self {
            at: Instant::now(),
            request_id,
            session,
            languages,
            tenant: OnceLock::new(),
            model: OnceLock::new(),
            route: OnceLock::new(),
            is_booked: AtomicBool::new(false),
        }
    }

    /// Whose request it is, once its key is known.
    pub fn tenant(&self) -> &str {
        self.tenant.get().map_or(DEFAULT_TENANT, String::as_str)
    }

    /// Notes that the model or adapter `name` answers it.
    pub fn answers_as(&self, name: &str) {
        // Whoever notes it first is right: there is one handler.
        let _ = self.model.set(name.to_owned());
    }

    /// Notes how its model was picked.
    pub fn routed(&self, routed: Routed) {
        let _ = self.route.set(routed);
    }

    /// What led to the model that answers it, where it leaves that open.
    pub fn route(&self) -> Option<&str> {
        self.route.get().map(Routed::name)
    }

    /// What answers it.
    pub fn model<'a>(&'a self, state: &'a AppState) -> &'a str {
        self.model.get().unwrap_or(&state.models.first().name)
    }

    /// The start of its log line.
    fn record(&self, state: &AppState) -> RequestRecord {
        RequestRecord {
            request_id: self.request_id.clone(),
            tenant: self.tenant.get().cloned(),
            session: self.session.clone(),
            model: self.model(state).to_owned(),
            route: self.route().map(str::to_owned),
            route_shadow: self.route.get().and_then(Routed::shadow),
            ..RequestRecord::default()
        }
    }

    /// Books a request that was refused before an [`Account`] was opened for it.
    pub fn refused(&self, state: &AppState, status: u16) {
        if self.is_booked.swap(true, Ordering::Relaxed) {
            return;
        }
        let metrics = state.metrics(self.model(state));
        match status {
            500 => metrics.ended(Outcome::Error, self.at.elapsed(), None),
            _ => metrics.rejected(),
        }
        state.options.request_log.write(&RequestRecord {
            status,
            latency_ms: ms(self.at.elapsed()),
            ..self.record(state)
        });
    }
}

impl Received {
    /// Books a request whose client left before an [`Account`] was opened for it.
    pub fn left(&self, state: &AppState) {
        if self.is_booked.swap(true, Ordering::Relaxed) {
            return;
        }
        let (outcome, e2e) = (Outcome::Cancelled, self.at.elapsed());
        state.metrics(self.model(state)).ended(outcome, e2e, None);
        state.options.request_log.write(&RequestRecord {
            status: CLIENT_LEFT,
            finish_reason: Some(outcome.as_str()),
            latency_ms: ms(e2e),
            ..self.record(state)
        });
    }
}

/// nginx's status for "the client closed the request".
const CLIENT_LEFT: u16 = 499;

fn ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Tokens so far, and who gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub tier: Tier,
    pub prompt: usize,
    /// Of the prompt, what the prefix cache had.
    pub cached: usize,
    pub completion: usize,
    /// Of the completion, what was thought.
    pub reasoning: usize,
}

impl Usage {
    /// What the caches had, as the `flambeau` object and `x-flambeau-cache` say it.
    pub fn cache(self) -> &'static str {
        match self.cached {
            _ if self.tier == Tier::Cache => "exact",
            0 => "miss",
            _ => "prefix",
        }
    }
}

/// Where the time went, in milliseconds, as the `flambeau` object and `server-timing` show it.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub(crate) struct Timings {
    pub queue_ms: f64,
    pub prefill_ms: f64,
    pub ttft_ms: f64,
}

/// Who answers a request.
pub(crate) struct Answerer {
    /// The model's or adapter's name.
    pub name: String,
    pub tier: Tier,
    /// Why it is not the one that was asked for.
    pub cause: Option<Cause>,
    pub metrics: RequestMetrics,
}

/// Dropped without [`Account::close`], it books the request as cancelled.
pub(crate) struct Account {
    state: AppState,
    metrics: RequestMetrics,
    tier: Tier,
    received: Arc<Received>,
    record: RequestRecord,
    engine_timing: Timing,
    first_content: Option<Instant>,
    /// When each choice last had a token.
    last_tokens: Vec<Option<Instant>>,
    /// Tokens of each prompt, and how many choices there are of it.
    prompt_lens: Vec<usize>,
    choices_a_prompt: usize,
    num_thoughts: usize,
    timings: Timings,
    is_open: bool,
}

impl Account {
    pub fn new(
        state: &AppState,
        received: Arc<Received>,
        caller: Caller,
        answerer: Answerer,
        prompt_lens: &[usize],
        choices_a_prompt: usize,
        prompt_chars: usize,
    ) -> Self {
        received.is_booked.store(true, Ordering::Relaxed);
        let start = received.record(state);
        let record = RequestRecord {
            user: caller.user,
            session: caller.session.or_else(|| start.session.clone()),
            prompt_chars,
            ..start
        };
        let mut account = Self {
            state: state.clone(),
            metrics: answerer.metrics.clone(),
            tier: answerer.tier,
            received,
            record,
            engine_timing: Timing::default(),
            first_content: None,
            last_tokens: vec![None; prompt_lens.len() * choices_a_prompt],
            prompt_lens: Vec::new(),
            choices_a_prompt,
            num_thoughts: 0,
            timings: Timings::default(),
            is_open: true,
        };
        account.answered_by(answerer, prompt_lens);
        account
    }

    /// Before any token has come, `answerer` takes it over, in whose tokens prompts are so long.
    pub fn answered_by(&mut self, answerer: Answerer, prompt_lens: &[usize]) {
        self.record.model = answerer.name;
        self.record.tier = Some(answerer.tier.as_str());
        self.record.fallback_cause = answerer.cause.map(Cause::as_str);
        self.record.prompt_tokens = prompt_lens.iter().sum();
        self.prompt_lens = prompt_lens.to_vec();
        (self.tier, self.metrics) = (answerer.tier, answerer.metrics);
    }

    /// `answerer` goes on with what has begun.
    pub fn goes_on_by(&mut self, answerer: Answerer) {
        let prompt_lens = std::mem::take(&mut self.prompt_lens);
        self.answered_by(answerer, &prompt_lens);
    }

    /// Tokens of the prompt, and those received.
    pub fn usage(&self) -> Usage {
        Usage {
            tier: self.tier,
            prompt: self.record.prompt_tokens,
            cached: self.record.cached_tokens,
            completion: self.record.completion_tokens,
            reasoning: self.num_thoughts,
        }
    }

    /// [`Received::route`].
    pub fn route(&self) -> Option<&str> {
        self.received.route()
    }

    /// [`Usage::cache`], from the first token on.
    pub fn cache(&self) -> Option<&'static str> {
        self.record.cache
    }

    /// A token of choice `i` came from the engine; `timing` is with its first. A prompt counts once, as its first choice
    /// found it.
    pub fn token(&mut self, i: usize, timing: Option<Timing>, is_thought: bool) {
        let metrics = &self.metrics;
        self.record.completion_tokens += 1;
        self.num_thoughts += usize::from(is_thought);
        let is_computed = self.tier != Tier::Cache;
        metrics.generated(u64::from(is_computed));
        if let Some(timing) = timing {
            let is_lead = i.is_multiple_of(self.choices_a_prompt);
            if is_lead {
                let num_tokens = self.prompt_lens[i / self.choices_a_prompt];
                self.record.cached_tokens += timing.num_cached_tokens;
                if is_computed {
                    metrics.prompt_computed(num_tokens as u64, timing.num_cached_tokens as u64);
                }
            }
            if is_lead || self.record.cache.is_none() {
                self.record.cache = Some(self.usage().cache());
                self.record.cache_hit = !is_computed;
            }
            if self.first_content.is_none() {
                self.engine_timing = timing;
            }
        }
        let now = Instant::now();
        let last = self.last_tokens[i].replace(now);
        // What is there at once says nothing of how fast tokens come.
        if let Some(last) = last.filter(|_| is_computed) {
            metrics.next_token(now - last);
        }
    }

    /// Something of choice `i` came from another server.
    pub fn heard(&mut self, i: usize) {
        let now = Instant::now();
        if let Some(last) = self.last_tokens[i].replace(now) {
            self.metrics.next_token(now - last);
        }
    }

    /// All of the other server's answer has come, which took so much, if it says so.
    pub fn told(&mut self, usage: Option<RemoteUsage>) {
        let usage = usage.unwrap_or_default();
        let record = &mut self.record;
        record.prompt_tokens = usage.prompt as usize;
        record.cached_tokens = usage.cached as usize;
        record.completion_tokens = usage.completion as usize;
        self.metrics.prompt_computed(usage.prompt, usage.cached);
        self.metrics.generated(usage.completion);
    }

    /// Content is handed to the socket, or, for an answer in one piece, has come.
    pub fn content(&mut self, chars: usize) {
        self.record.completion_chars += chars;
        if self.first_content.is_none() {
            let now = Instant::now();
            self.first_content = Some(now);
            let (engine, ttft) = (self.engine_timing, now - self.received.at);
            match self.tier {
                Tier::Cache => self.metrics.given_again(ttft),
                _ => (self.metrics).first_token(ttft, engine.queue, engine.prefill),
            }
            self.time(engine.queue, engine.prefill, ttft);
            self.record.expected_ttft_ms = engine.expected_ttft.map(ms);
        }
    }

    /// The vectors of all texts have come, after `elapsed`, of which they waited for `queue`.
    pub fn embedded(&mut self, queue: Duration, elapsed: Duration) -> Timings {
        self.metrics.embedded(self.record.prompt_tokens as u64);
        self.record.cache = Some("miss");
        let computed = elapsed.saturating_sub(queue);
        self.time(queue, computed, self.received.at.elapsed());
        self.timings
    }

    fn time(&mut self, queue: Duration, prefill: Duration, ttft: Duration) {
        self.timings = Timings {
            queue_ms: ms(queue),
            prefill_ms: ms(prefill),
            ttft_ms: ms(ttft),
        };
        self.record.queue_ms = Some(self.timings.queue_ms);
        self.record.ttft_ms = Some(self.timings.ttft_ms);
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
        let e2e = self.received.at.elapsed();
        let decode = self
            .first_content
            .zip(self.last_tokens.iter().flatten().max().copied());
        let decode = decode.map(|(first, last)| last.saturating_duration_since(first));
        let decode = decode.filter(|_| self.tier != Tier::Cache);
        self.metrics.ended(outcome, e2e, decode);
        // Of another model's answer, or a text, nothing was routed.
        let routed = self.received.route.get();
        if let Some(routed) = routed.filter(|_| self.tier == Tier::Primary) {
            // Before its first token a prompt may not have been computed.
            let num_tokens = match self.record.completion_tokens {
                0 => 0,
                completion => self.record.prompt_tokens + completion,
            };
            let is_whole = matches!(outcome, Outcome::Stop | Outcome::Length);
            routed.answered(num_tokens, is_whole);
        }
        self.record.finish_reason = Some(outcome.as_str());
        self.record.status = status;
        self.record.latency_ms = ms(e2e);
        self.state.options.request_log.write(&self.record);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close(Outcome::Cancelled, CLIENT_LEFT);
    }
}
