//! What routing does, and what it comes to.

use metrics::{Counter, Gauge, counter, gauge, with_local_recorder};
use serde::Serialize;

use super::Telemetry;

/// Requests that one rule routed to one model.
///
/// What was saved and lost are sums of fractions that may fall: gauges, for a counter does neither.
#[derive(Clone)]
pub struct RouteMetrics {
    routed: Counter,
    cost_saved: Gauge,
    quality_lost: Gauge,
}

/// What would have been picked, as the request log spells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowRoute {
    /// A rule's name, or `default`.
    pub route: String,
    /// The model's.
    pub model: String,
}

impl Telemetry {
    /// The handles for requests that `route` leads to `model`, or in shadow mode would lead there.
    pub fn route(&self, route: &str, model: &str, is_shadow: bool) -> RouteMetrics {
        let mode = match is_shadow {
            true => "shadow",
            false => "on",
        };
        let sum = |name: &'static str| gauge!(name, "model" => model.to_owned(), "mode" => mode);
        with_local_recorder(&self.recorder, || RouteMetrics {
            routed: counter!("flambeau_routed_total",
                "route" => route.to_owned(), "model" => model.to_owned(), "mode" => mode),
            cost_saved: sum("flambeau_routing_cost_saved"),
            quality_lost: sum("flambeau_routing_quality_lost"),
        })
    }
}

impl RouteMetrics {
    /// One more request was routed so.
    pub fn routed(&self) {
        self.routed.increment(1);
    }

    /// It has cost so much less than the default model would have; less than nothing where it has cost more.
    pub fn cost_saved(&self, cost: f64) {
        self.cost_saved.increment(cost);
    }

    /// Its answer is by so much less good than the default model's.
    pub fn quality_lost(&self, quality: f64) {
        self.quality_lost.increment(quality);
    }
}
