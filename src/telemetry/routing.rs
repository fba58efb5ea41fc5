//! What routing does, and what it comes to.

use metrics::{Counter, Gauge, counter, gauge, with_local_recorder};
use serde::Serialize;

use super::Telemetry;

/// Requests that one rule routed to one model.
#[derive(Clone)]
pub struct RouteMetrics(Counter);

/// What routing to one model has saved, or lost, so far. A gauge: it sums fractions and may fall, and a counter does neither.
#[derive(Clone)]
pub struct RoutingSum(Gauge);

/// What would have been picked, as the request log spells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShadowRoute {
    /// A rule's name, or `default`.
    pub route: String,
    /// The model's.
    pub model: String,
}

fn mode(is_shadow: bool) -> &'static str {
    match is_shadow {
        true => "shadow",
        false => "on",
    }
}

impl Telemetry {
    /// The handle for requests that `route` leads to `model`, or in shadow mode would lead there.
    pub fn routed(&self, route: &str, model: &str, is_shadow: bool) -> RouteMetrics {
        with_local_recorder(&self.recorder, || {
            RouteMetrics(counter!("flambeau_routed_total",
                "route" => route.to_owned(), "model" => model.to_owned(), "mode" => mode(is_shadow)))
        })
    }

    /// The handle for what answers of `model` cost less than the default model's would.
    pub fn routing_cost_saved(&self, model: &str, is_shadow: bool) -> RoutingSum {
        self.routing_sum("flambeau_routing_cost_saved", model, is_shadow)
    }

    /// The handle for how much less good they are.
    pub fn routing_quality_lost(&self, model: &str, is_shadow: bool) -> RoutingSum {
        self.routing_sum("flambeau_routing_quality_lost", model, is_shadow)
    }

    fn routing_sum(&self, name: &'static str, model: &str, is_shadow: bool) -> RoutingSum {
        with_local_recorder(&self.recorder, || {
            RoutingSum(gauge!(name, "model" => model.to_owned(), "mode" => mode(is_shadow)))
        })
    }
}

impl RouteMetrics {
    /// One more request was routed so.
    pub fn count(&self) {
        self.0.increment(1);
    }
}

impl RoutingSum {
    /// So much more, or less.
    pub fn add(&self, much: f64) {
        self.0.increment(much);
    }
}
