//! One request's books: timings, counts, metrics and its log line, closed exactly once, also when the client leaves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::received::{CLIENT_LEFT, Received, ms};
use crate::remote::RemoteUsage;
use crate::request::Timing;
use crate::server::request::caller::Caller;
use crate::server::state::AppState;
use crate::telemetry::{AnswerCacheLevel, Cause, Outcome, RequestMetrics, RequestRecord, Tier};

/// Tokens so far, and who gives them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub tier: Tier,
    /// At which the cache had the answer.
    pub level: Option<AnswerCacheLevel>,
    pub prompt: usize,
    /// Of the prompt, what the prefix cache had.
    pub cached: usize,
    pub completion: usize,
    /// Of the completion, what was thought.
    pub reasoning: usize,
    /// Whether who asks may know what the caches had.
    pub shows_cache: bool,
}

impl Usage {
    /// What the caches had, as the `flambeau` object and `x-flambeau-cache` say it.
    pub fn cache(self) -> &'static str {
        match (self.level, self.cached) {
            (Some(level), _) => level.as_str(),
            (None, 0) => "miss",
            (None, _) => "prefix",
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
    /// At which the cache had the answer, where it did.
    pub level: Option<AnswerCacheLevel>,
    pub metrics: RequestMetrics,
}

/// Dropped without [`Account::close`], it books the request as cancelled.
pub(crate) struct Account {
    state: AppState,
    metrics: RequestMetrics,
    tier: Tier,
    level: Option<AnswerCacheLevel>,
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
        received.is_booked_elsewhere();
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
            level: answerer.level,
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
        (self.tier, self.level) = (answerer.tier, answerer.level);
        self.metrics = answerer.metrics;
    }

    /// `answerer` goes on with what has begun.
    pub fn goes_on_by(&mut self, answerer: Answerer) {
        let prompt_lens = std::mem::take(&mut self.prompt_lens);
        self.answered_by(answerer, &prompt_lens);
    }

    /// Tokens of the prompt, and those received, as far as who asks may know.
    pub fn usage(&self) -> Usage {
        let usage = self.all_usage();
        if usage.shows_cache {
            return usage;
        }
        // As if the model had just said it, whether it has or not.
        Usage {
            tier: match usage.level {
                Some(_) => Tier::Primary,
                None => usage.tier,
            },
            level: None,
            cached: 0,
            ..usage
        }
    }

    fn all_usage(&self) -> Usage {
        Usage {
            tier: self.tier,
            level: self.level,
            prompt: self.record.prompt_tokens,
            cached: self.record.cached_tokens,
            completion: self.record.completion_tokens,
            reasoning: self.num_thoughts,
            shows_cache: self.received.rights().sees_cache,
        }
    }

    /// [`Received::route`].
    pub fn route(&self) -> Option<&str> {
        self.received.route()
    }

    /// [`Usage::cache`], from the first token on, where who asks may know.
    pub fn cache(&self) -> Option<&'static str> {
        (self.record.cache).filter(|_| self.received.rights().sees_cache)
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
                self.record.cache = Some(self.all_usage().cache());
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

    /// Known from the first content on, as far as who asks may know: where the time went tells what was there.
    pub fn timings(&self) -> Timings {
        match self.received.rights().sees_cache {
            true => self.timings,
            false => Timings {
                queue_ms: 0.0,
                prefill_ms: self.timings.ttft_ms,
                ..self.timings
            },
        }
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
        let routed = self.received.routing();
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
