//! What became of answers to other questions that might have been given again.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram, with_local_recorder};

use metrics_exporter_prometheus::PrometheusRecorder;

use super::Telemetry;

/// Of one model.
#[derive(Clone)]
pub struct ServedAnswerMetrics {
    model: String,
    recorder: Arc<PrometheusRecorder>,
    verification: Histogram,
    saved: Counter,
    bound: Gauge,
    is_trusted: Gauge,
}

impl Telemetry {
    /// The handles for answers of `model`.
    pub fn served_answers(&self, model: &str) -> ServedAnswerMetrics {
        let name = || model.to_owned();
        with_local_recorder(&self.recorder, || ServedAnswerMetrics {
            verification: histogram!("flambeau_semantic_cache_verification_seconds", "model" => name()),
            saved: counter!("flambeau_semantic_cache_saved_engine_milliseconds_total", "model" => name()),
            bound: gauge!("flambeau_semantic_cache_false_hit_rate_bound", "model" => name()),
            is_trusted: gauge!("flambeau_semantic_cache_serves", "model" => name()),
            model: name(),
            recorder: Arc::clone(&self.recorder),
        })
    }
}

impl ServedAnswerMetrics {
    /// An answer was given again, to a question that is `likeness`, which saved the engine so much.
    pub fn served(&self, likeness: &'static str, saved: Duration) {
        self.count("flambeau_semantic_cache_served_total", "likeness", likeness);
        self.saved.increment(saved.as_millis() as u64);
    }

    /// None was, for this reason.
    pub fn rejected(&self, reason: &'static str) {
        self.count("flambeau_semantic_cache_rejects_total", "reason", reason);
    }

    /// One was checked.
    pub fn checked(&self, is_wrong: bool) {
        let outcome = if is_wrong { "wrong" } else { "right" };
        self.count("flambeau_semantic_cache_checks_total", "outcome", outcome);
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

    fn count(&self, name: &'static str, label: &'static str, value: &'static str) {
        with_local_recorder(&self.recorder, || {
            counter!(name, "model" => self.model.clone(), label => value).increment(1);
        });
    }
}
