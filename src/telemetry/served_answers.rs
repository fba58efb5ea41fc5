//! What became of answers to other questions that might have been given again.

use std::collections::HashMap;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};

use super::Telemetry;

/// Of one model.
#[derive(Clone)]
pub struct ServedAnswerMetrics {
    served: Named,
    rejects: Named,
    checks: Named,
    verification: Histogram,
    saved: Counter,
    bound: Gauge,
    is_trusted: Gauge,
}

/// A counter for each value of a label.
type Named = HashMap<&'static str, Counter>;

const RIGHT: &str = "right";
const WRONG: &str = "wrong";

impl Telemetry {
    /// The handles for answers of `model`, to questions of these kinds of `likeness`, or not given for these `reasons`.
    pub fn served_answers(
        &self,
        model: &str,
        likenesses: impl Iterator<Item = &'static str>,
        reasons: impl Iterator<Item = &'static str>,
    ) -> ServedAnswerMetrics {
        let name = || model.to_owned();
        let named = |metric: &'static str, label: &'static str, value: &'static str| {
            (value, counter!(metric, "model" => name(), label => value))
        };
        let served = |value| named("flambeau_semantic_cache_served_total", "likeness", value);
        let rejects = |value| named("flambeau_semantic_cache_rejects_total", "reason", value);
        let checks = |value| named("flambeau_semantic_cache_checks_total", "outcome", value);
        with_local_recorder(&self.recorder, || ServedAnswerMetrics {
            served: likenesses.map(served).collect(),
            rejects: reasons.map(rejects).collect(),
            checks: [RIGHT, WRONG].map(checks).into(),
            verification: histogram!("flambeau_semantic_cache_verification_seconds", "model" => name()),
            saved: counter!("flambeau_semantic_cache_saved_engine_milliseconds_total", "model" => name()),
            bound: gauge!("flambeau_semantic_cache_false_hit_rate_bound", "model" => name()),
            is_trusted: gauge!("flambeau_semantic_cache_serves", "model" => name()),
        })
    }
}

impl ServedAnswerMetrics {
    /// An answer was given again, to a question that is `likeness`, which saved the engine so much.
    pub fn served(&self, likeness: &'static str, saved: Duration) {
        count(&self.served, likeness);
        self.saved.increment(saved.as_millis() as u64);
    }

    /// None was, for this reason.
    pub fn rejected(&self, reason: &'static str) {
        count(&self.rejects, reason);
    }

    /// One was checked.
    pub fn checked(&self, is_wrong: bool) {
        count(&self.checks, if is_wrong { WRONG } else { RIGHT });
    }

    /// The model was asked about one, which took so long.
    pub fn verified(&self, elapsed: Duration) {
        self.verification.record(elapsed);
    }

    /// Publishes the rate below which wrong ones are, and whether any is given.
    pub fn trust(&self, bound: f64, is_trusted: bool) {
        self.bound.set(bound);
        self.is_trusted.set(f64::from(u8::from(is_trusted)));
    }
}

fn count(counters: &Named, value: &str) {
    if let Some(counter) = counters.get(value) {
        counter.increment(1);
    }
}
