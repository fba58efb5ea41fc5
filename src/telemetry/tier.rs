//! Who answers a request, and why it is not the model that was asked for.

use metrics::{Counter, Gauge, counter, gauge, with_local_recorder};

use super::Telemetry;

/// Who answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tier {
    /// The model that was asked for.
    #[default]
    Primary,
    /// Another model.
    Fallback,
    /// What the model answered before.
    Cache,
    /// A text that no model wrote.
    Static,
}

impl Tier {
    /// As answers, metrics and the request log spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Fallback => "fallback",
            Self::Cache => "cache",
            Self::Static => "static",
        }
    }
}

/// Why a request went on to the next tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The first token was expected too late.
    PredictedTtft,
    /// There was no place for it.
    QueueFull,
    /// The model has failed before, and is not asked for a while.
    Unhealthy,
    /// It failed before the first token.
    Failed,
    /// The time for the first token passed before it came.
    Late,
}

impl Cause {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [
        Self::PredictedTtft,
        Self::QueueFull,
        Self::Unhealthy,
        Self::Failed,
        Self::Late,
    ];

    /// As metrics and the request log spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PredictedTtft => "predicted_ttft",
            Self::QueueFull => "queue_full",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Late => "late",
        }
    }
}

/// Requests that went on to one tier.
#[derive(Clone)]
pub struct FallbackMetrics([Counter; 5]);

impl FallbackMetrics {
    /// One more, because of `cause`.
    pub fn count(&self, cause: Cause) {
        self.0[cause as usize].increment(1);
    }
}

/// Whether a model is left alone because it has failed.
#[derive(Clone)]
pub struct CircuitMetrics(Gauge);

impl CircuitMetrics {
    /// Publishes it.
    pub fn set(&self, is_open: bool) {
        self.0.set(f64::from(u8::from(is_open)));
    }
}

impl Telemetry {
    /// The handles for requests to `model` that `to` answers.
    pub fn fallbacks(&self, model: &str, to: &str) -> FallbackMetrics {
        with_local_recorder(&self.recorder, || {
            FallbackMetrics(Cause::ALL.map(|cause| {
                counter!("flambeau_fallbacks_total",
                    "model" => model.to_owned(), "to" => to.to_owned(), "cause" => cause.as_str())
            }))
        })
    }

    /// The handle for the circuit breaker of `model`.
    pub fn circuit(&self, model: &str) -> CircuitMetrics {
        with_local_recorder(&self.recorder, || {
            CircuitMetrics(gauge!("flambeau_circuit_open", "model" => model.to_owned()))
        })
    }
}
