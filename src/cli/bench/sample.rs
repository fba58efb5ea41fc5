//! What became of each request, for those who compare runs.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::drive::{Outcome, Run};
use super::report::{output_tokens, time_per_output_token};

/// One request. Times are in milliseconds from when it was meant to be sent.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// When that was, in seconds from the first.
    pub start_s: f64,
    /// To the first chunk with content.
    pub ttft_ms: Option<f64>,
    /// Per output token after the first.
    pub tpot_ms: Option<f64>,
    /// Between one chunk with content and the next.
    pub itl_ms: Vec<f64>,
    /// To the end of the reply, or of the attempt.
    pub e2e_ms: f64,
    /// Of a complete reply.
    pub output_tokens: u64,
    /// Why there is none: a kind of failure.
    pub failure: Option<String>,
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// In the order of the requests' starts.
pub(super) fn samples(run: &Run) -> Vec<Sample> {
    let first = run.outcomes.iter().map(|outcome| outcome.intended).min();
    let sample = |outcome: &Outcome| sample(outcome, first.unwrap_or(outcome.intended));
    let mut samples: Vec<Sample> = run.outcomes.iter().map(sample).collect();
    samples.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    samples
}

fn sample(outcome: &Outcome, first: Instant) -> Sample {
    let reply = outcome.result.as_ref();
    let ok = reply.ok();
    let first_content = ok.and_then(|reply| reply.first_content);
    Sample {
        start_s: (outcome.intended - first).as_secs_f64(),
        ttft_ms: first_content.map(|at| milliseconds(at - outcome.intended)),
        tpot_ms: ok.and_then(time_per_output_token).map(milliseconds),
        itl_ms: ok.map_or(Vec::new(), |reply| {
            reply.gaps.iter().copied().map(milliseconds).collect()
        }),
        e2e_ms: milliseconds(ok.map_or(outcome.ended, |reply| reply.done) - outcome.intended),
        output_tokens: ok.map_or(0, output_tokens),
        failure: reply.err().map(|failure| failure.kind().into_owned()),
    }
}
