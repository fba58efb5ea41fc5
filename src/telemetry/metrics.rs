//! The metrics of DESIGN §4, on handles made once at start, so that recording is an atomic add.
//!
//! The figures that dashboards and endpoint pickers read are exported under vLLM's names too.

use std::sync::Arc;
use std::time::Duration;

use super::Tier;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

/// 1 ms to 2 minutes: prompt on a small model to queue on a loaded one.
const SECONDS: [f64; 17] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 7.5, 20.0, 60.0,
    120.0,
];
const TOKENS: [f64; 13] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0,
];

/// The registry of one server.
pub struct Telemetry {
    pub(super) recorder: Arc<PrometheusRecorder>,
}

/// How a request ended, as the `outcome` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A stop token or string.
    Stop,
    /// `max_tokens` or the context window.
    Length,
    /// The client left.
    Cancelled,
    /// The engine failed.
    Error,
    /// Refused before any work: a bad field or key, the queue full, no first token in time, draining.
    Rejected,
    /// Its deadline passed in the queue.
    Deadline,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Stop,
        Self::Length,
        Self::Cancelled,
        Self::Error,
        Self::Rejected,
        Self::Deadline,
    ];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
            Self::Rejected => "rejected",
            Self::Deadline => "deadline",
        }
    }
}

/// A histogram under our name and, where there is one, vLLM's.
#[derive(Clone)]
struct Seconds(Vec<Histogram>);

impl Seconds {
    fn new(model: &str, names: &[&'static str]) -> Self {
        Self(
            names
                .iter()
                .map(|&name| histogram!(name, "model" => model.to_owned()))
                .collect(),
        )
    }

    fn record(&self, duration: Duration) {
        self.0
            .iter()
            .for_each(|histogram| histogram.record(duration));
    }
}

/// Where drafts are from, as the `source` label.
const DRAFT_SOURCES: [&str; 3] = ["lookup", "model", "recalled"];

/// A count of drafts, for each source under our name and of all under vLLM's.
#[derive(Clone)]
struct DraftCounters {
    by_source: [Counter; DRAFT_SOURCES.len()],
    all: Counter,
}

impl DraftCounters {
    fn new(model: &str, [ours, vllm]: [&'static str; 2]) -> Self {
        let counter = |source| counter!(ours, "model" => model.to_owned(), "source" => source);
        Self {
            by_source: DRAFT_SOURCES.map(counter),
            all: counter!(vllm, "model" => model.to_owned()),
        }
    }

    fn set(&self, counts: [u64; DRAFT_SOURCES.len()]) {
        for (counter, count) in self.by_source.iter().zip(counts) {
            counter.absolute(count);
        }
        self.all.absolute(counts.iter().sum());
    }
}

/// What the engine's loop reports.
#[derive(Clone)]
pub struct EngineMetrics {
    running: [Gauge; 2],
    waiting: [Gauge; 2],
    kv_usage: [Gauge; 2],
    loaded: Gauge,
    iteration_tokens: Histogram,
    preemptions: Counter,
    wasted: Counter,
    drafted: DraftCounters,
    accepted: DraftCounters,
    saves: Counter,
    loads: Counter,
}

/// One reading of the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct EngineGauges {
    /// Sequences running.
    pub num_running: usize,
    /// Sequences waiting.
    pub num_waiting: usize,
    /// Blocks held by sequences over all blocks.
    pub kv_usage: f64,
    /// Preemptions since the start.
    pub num_preemptions: u64,
    /// Drafted tokens computed since the start: looked up, and of a draft model.
    pub num_drafted: [u64; 3],
    /// And how many of them were right.
    pub num_accepted: [u64; 3],
    /// Blocks copied to the host's arena since the start.
    pub num_saves: u64,
    /// And back.
    pub num_loads: u64,
}

/// What the front reports of each request.
#[derive(Clone)]
pub struct RequestMetrics {
    ttft: Seconds,
    itl: Seconds,
    e2e: Seconds,
    queue: Seconds,
    prefill: Seconds,
    decode: Seconds,
    prompt_tokens: Counter,
    generation_tokens: Counter,
    prefix_queries: Counter,
    prefix_hits: Counter,
    requests: [Counter; 6],
}

impl Telemetry {
    /// An empty registry.
    pub fn new() -> Result<Self, BuildError> {
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
            .set_buckets_for_metric(Matcher::Full("flambeau_iteration_tokens".into()), &TOKENS)?
            .build_recorder();
        Ok(Self {
            recorder: Arc::new(recorder),
        })
    }

    /// Renders `/metrics`; its `run_upkeep` is to be called every few seconds.
    pub fn handle(&self) -> PrometheusHandle {
        self.recorder.handle()
    }

    /// The handles for the engine that serves `model`.
    pub fn engine(&self, model: &str) -> EngineMetrics {
        let gauges =
            |names: [&'static str; 2]| names.map(|name| gauge!(name, "model" => model.to_owned()));
        with_local_recorder(&self.recorder, || EngineMetrics {
            running: gauges(["flambeau_num_requests_running", "vllm:num_requests_running"]),
            waiting: gauges(["flambeau_num_requests_waiting", "vllm:num_requests_waiting"]),
            kv_usage: gauges(["flambeau_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc"]),
            loaded: gauge!("flambeau_model_loaded", "model" => model.to_owned()),
            iteration_tokens: histogram!("flambeau_iteration_tokens", "model" => model.to_owned()),
            preemptions: counter!("flambeau_num_preemptions_total", "model" => model.to_owned()),
            wasted: counter!("flambeau_cancelled_tokens_wasted_total", "model" => model.to_owned()),
            saves: counter!("flambeau_kv_offloaded_blocks_total", "model" => model.to_owned()),
            loads: counter!("flambeau_kv_reloaded_blocks_total", "model" => model.to_owned()),
            drafted: DraftCounters::new(
                model,
                [
                    "flambeau_num_draft_tokens_total",
                    "vllm:spec_decode_num_draft_tokens_total",
                ],
            ),
            accepted: DraftCounters::new(
                model,
                [
                    "flambeau_num_accepted_tokens_total",
                    "vllm:spec_decode_num_accepted_tokens_total",
                ],
            ),
        })
    }

    /// The handles for requests to `model`, answered by `tier`.
    pub fn requests(&self, model: &str, tier: Tier) -> RequestMetrics {
        let total = |name: &'static str| counter!(name, "model" => model.to_owned());
        with_local_recorder(&self.recorder, || {
            RequestMetrics {
            ttft: Seconds::new(
                model,
                &[
                    "flambeau_time_to_first_token_seconds",
                    "vllm:time_to_first_token_seconds",
                ],
            ),
            itl: Seconds::new(
                model,
                &[
                    "flambeau_inter_token_latency_seconds",
                    "vllm:inter_token_latency_seconds",
                ],
            ),
            e2e: Seconds::new(
                model,
                &[
                    "flambeau_e2e_request_latency_seconds",
                    "vllm:e2e_request_latency_seconds",
                ],
            ),
            queue: Seconds::new(
                model,
                &[
                    "flambeau_request_queue_time_seconds",
                    "vllm:request_queue_time_seconds",
                ],
            ),
            prefill: Seconds::new(
                model,
                &[
                    "flambeau_request_prefill_time_seconds",
                    "vllm:request_prefill_time_seconds",
                ],
            ),
            decode: Seconds::new(
                model,
                &[
                    "flambeau_request_decode_time_seconds",
                    "vllm:request_decode_time_seconds",
                ],
            ),
            prompt_tokens: total("flambeau_prompt_tokens_total"),
            generation_tokens: total("flambeau_generation_tokens_total"),
            prefix_queries: total("flambeau_prefix_cache_queries_total"),
            prefix_hits: total("flambeau_prefix_cache_hits_total"),
            requests: Outcome::ALL.map(|outcome| {
                counter!("flambeau_requests_total",
                    "model" => model.to_owned(), "tier" => tier.as_str(), "outcome" => outcome.as_str())
            }),
        }
        })
    }
}

impl EngineMetrics {
    /// Publishes a reading.
    pub fn set(&self, gauges: &EngineGauges) {
        for i in 0..2 {
            self.running[i].set(gauges.num_running as f64);
            self.waiting[i].set(gauges.num_waiting as f64);
            self.kv_usage[i].set(gauges.kv_usage);
        }
        self.drafted.set(gauges.num_drafted);
        self.accepted.set(gauges.num_accepted);
        self.preemptions.absolute(gauges.num_preemptions);
        self.saves.absolute(gauges.num_saves);
        self.loads.absolute(gauges.num_loads);
    }

    /// Whether the model is loaded.
    pub fn loaded(&self, is_loaded: bool) {
        self.loaded.set(f64::from(u8::from(is_loaded)));
    }

    /// A step of `num_tokens` rows was computed.
    pub fn step(&self, num_tokens: usize) {
        self.iteration_tokens.record(num_tokens as f64);
    }

    /// Tokens were computed for a client that had left.
    pub fn wasted(&self, num_tokens: u64) {
        self.wasted.increment(num_tokens);
    }
}

impl RequestMetrics {
    /// The first content was handed to the socket: from arrival, and of that in the queue and in prefill.
    pub fn first_token(&self, ttft: Duration, queue: Duration, prefill: Duration) {
        self.ttft.record(ttft);
        self.queue.record(queue);
        self.prefill.record(prefill);
    }

    /// The first content of an answer that was given before was handed to the socket.
    pub fn given_again(&self, ttft: Duration) {
        self.ttft.record(ttft);
    }

    /// A later token came this long after the one before.
    pub fn next_token(&self, itl: Duration) {
        self.itl.record(itl);
    }

    /// So many tokens more were generated.
    pub fn generated(&self, num_tokens: u64) {
        self.generation_tokens.increment(num_tokens);
    }

    /// A prompt of `num_tokens` is in the KV cache; the prefix cache had the first `num_cached` of them.
    pub fn prompt_computed(&self, num_tokens: u64, num_cached: u64) {
        self.prompt_tokens.increment(num_tokens);
        self.prefix_queries.increment(num_tokens);
        self.prefix_hits.increment(num_cached);
    }

    /// Texts of `num_tokens` were turned into vectors.
    pub fn embedded(&self, num_tokens: u64) {
        self.prompt_tokens.increment(num_tokens);
    }

    /// A request that was accepted has ended; only answers that were finished count in the latencies.
    pub fn ended(&self, outcome: Outcome, e2e: Duration, decode: Option<Duration>) {
        self.requests[outcome as usize].increment(1);
        if matches!(outcome, Outcome::Stop | Outcome::Length) {
            self.e2e.record(e2e);
            if let Some(decode) = decode {
                self.decode.record(decode);
            }
        }
    }

    /// A request was not accepted.
    pub fn rejected(&self) {
        self.requests[Outcome::Rejected as usize].increment(1);
    }
}
