//! A run's figures.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::drive::{Outcome, Run};
use super::failure::Failure;
use super::reply::Reply;
use super::sample::{Sample, samples};
use super::serve::ServeBench;
use super::stats::Summary;

/// What a run measured. Latencies, tokens and rates are of the completed requests alone; latencies are in
/// milliseconds, and `None` where there is no sample.
#[derive(Clone, Serialize)]
pub struct Report {
    /// The version of the load generator.
    pub version: &'static str,
    /// What was asked for; the API key is left out.
    pub settings: ServeBench,
    /// Requests with a complete reply.
    pub completed: usize,
    /// Requests without one.
    pub failed: usize,
    /// The failures by kind, the most frequent first.
    pub failures: Vec<FailureCount>,
    /// Seconds from the start of the run to the end of the last reply.
    pub duration_s: f64,
    /// Completed requests a second.
    pub requests_per_s: f64,
    /// Output tokens a second.
    pub output_tokens_per_s: f64,
    /// Prompt and output tokens a second.
    pub total_tokens_per_s: f64,
    /// Prompt tokens, by the server's count.
    pub prompt_tokens: u64,
    /// Output tokens by the server's count; of replies without usage, the chunks with content.
    pub output_tokens: u64,
    /// The most requests in flight at once, failed ones included.
    pub max_concurrency: usize,
    /// The mean number of requests in flight, failed ones included (by Little's law: the time all of them took, over
    /// the duration).
    pub mean_concurrency: f64,
    /// Time to first token: from the intended start to the first chunk with content.
    pub ttft_ms: Option<Summary>,
    /// Open loop only: the same from the moment the request was sent.
    pub ttft_from_send_ms: Option<Summary>,
    /// Inter-token latency: between one chunk with content and the next, over all gaps of all replies.
    pub itl_ms: Option<Summary>,
    /// Time per output token: (E2E − TTFT) / (output tokens − 1) of each reply with two tokens or more.
    pub tpot_ms: Option<Summary>,
    /// End to end: from the intended start to `[DONE]`.
    pub e2e_ms: Option<Summary>,
    /// Open loop only: from the intended start to the sending, mostly waiting for a free place.
    pub schedule_delay_ms: Option<Summary>,
    /// Output tokens a chunk with content; when it isn't 1, ITL is the time between groups of tokens.
    pub tokens_per_chunk: Option<f64>,
    /// Cores that the load generator itself kept busy; near one of its threads', its own speed is what was measured. `None` where the
    /// system does not say.
    pub client_cpu_cores: Option<f64>,
    /// Completed replies without usage: their prompt tokens aren't in the totals.
    pub replies_without_usage: usize,
    /// Completed replies without any content: they have no TTFT.
    pub replies_without_content: usize,
    /// Every request, in the order of their starts.
    #[serde(skip)]
    pub samples: Vec<Sample>,
}

/// The failures of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct FailureCount {
    /// `connect`, `connection`, `http_<status>`, `timeout`, `malformed`, `error_event`, `no_done`, `no_finish_reason`.
    pub kind: String,
    /// How many there were.
    pub count: usize,
    /// The message of one of them.
    pub example: String,
}

impl Report {
    /// Sums up `run`.
    pub(super) fn new(settings: ServeBench, run: &Run) -> Self {
        let failures = count_failures(
            run.outcomes
                .iter()
                .filter_map(|outcome| outcome.result.as_ref().err()),
        );
        let replies: Vec<(&Outcome, &Reply)> = run
            .outcomes
            .iter()
            .filter_map(|outcome| Some((outcome, outcome.result.as_ref().ok()?)))
            .collect();
        let summary = |sample: fn(&Outcome, &Reply) -> Option<Duration>| {
            Summary::of(
                replies
                    .iter()
                    .filter_map(|(outcome, reply)| sample(outcome, reply))
                    .collect(),
            )
        };
        let open_loop =
            |summary: Option<Summary>| summary.filter(|_| settings.request_rate.is_some());
        let sum =
            |count: fn(&Reply) -> u64| replies.iter().map(|(_, reply)| count(reply)).sum::<u64>();
        let seconds = run.duration.as_secs_f64();
        let per_second = |count: u64| {
            if seconds > 0.0 {
                count as f64 / seconds
            } else {
                0.0
            }
        };
        let busy: Duration = run
            .outcomes
            .iter()
            .map(|outcome| outcome.ended - outcome.sent)
            .sum();
        let (output_tokens, chunks) = (sum(output_tokens), sum(|reply| reply.num_chunks));
        let prompt_tokens = sum(|reply| reply.usage.map_or(0, |usage| usage.prompt_tokens));
        Self {
            version: env!("CARGO_PKG_VERSION"),
            completed: replies.len(),
            failed: run.outcomes.len() - replies.len(),
            failures,
            duration_s: seconds,
            requests_per_s: per_second(replies.len() as u64),
            output_tokens_per_s: per_second(output_tokens),
            total_tokens_per_s: per_second(prompt_tokens.saturating_add(output_tokens)),
            prompt_tokens,
            output_tokens,
            max_concurrency: run.max_in_flight,
            mean_concurrency: if seconds > 0.0 {
                busy.as_secs_f64() / seconds
            } else {
                0.0
            },
            ttft_ms: summary(|outcome, reply| Some(reply.first_content? - outcome.intended)),
            ttft_from_send_ms: open_loop(summary(|outcome, reply| {
                Some(reply.first_content? - outcome.sent)
            })),
            itl_ms: Summary::of(
                replies
                    .iter()
                    .flat_map(|(_, reply)| reply.gaps.iter().copied())
                    .collect(),
            ),
            tpot_ms: summary(|_, reply| time_per_output_token(reply)),
            e2e_ms: summary(|outcome, reply| Some(reply.done - outcome.intended)),
            schedule_delay_ms: open_loop(summary(|outcome, _| {
                Some(outcome.sent - outcome.intended)
            })),
            tokens_per_chunk: (chunks > 0).then(|| output_tokens as f64 / chunks as f64),
            client_cpu_cores: run
                .cpu_time
                .filter(|_| seconds > 0.0)
                .map(|cpu| cpu.as_secs_f64() / seconds),
            samples: samples(run),
            replies_without_usage: sum(|reply| reply.usage.is_none().into()) as usize,
            replies_without_content: sum(|reply| reply.first_content.is_none().into()) as usize,
            settings,
        }
    }
}

pub(super) fn output_tokens(reply: &Reply) -> u64 {
    reply
        .usage
        .map_or(reply.num_chunks, |usage| usage.completion_tokens)
}

pub(super) fn time_per_output_token(reply: &Reply) -> Option<Duration> {
    let rest = output_tokens(reply)
        .checked_sub(1)
        .filter(|&rest| rest > 0)?;
    Some((reply.done - reply.first_content?).div_f64(rest as f64))
}

fn count_failures<'a>(failures: impl Iterator<Item = &'a Failure>) -> Vec<FailureCount> {
    let mut kinds: BTreeMap<String, FailureCount> = BTreeMap::new();
    for failure in failures {
        let kind = failure.kind().into_owned();
        let counted = kinds.entry(kind.clone()).or_insert_with(|| FailureCount {
            kind,
            count: 0,
            example: failure.to_string(),
        });
        counted.count += 1;
    }
    let mut counts: Vec<_> = kinds.into_values().collect();
    counts.sort_by_key(|counted| std::cmp::Reverse(counted.count));
    counts
}
