//! Requests that leave their model open: which one answers, and what that comes to.

use std::sync::Arc;

use serde_json::Value;

use super::answer::received::Received;
use super::request::features::features;
use super::request::fields::Fields;
use super::request::forward::names_tokens;
use super::state::AppState;
use crate::gateway::Router;
use crate::telemetry::{RouteMetrics, RoutingSum, ShadowRoute, Telemetry};
use crate::text::Tokenizer;

/// A model that may be picked.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What requests call it.
    pub name: String,
    /// What a million of its tokens cost, in whatever the operator counts.
    pub cost: Option<f64>,
    /// How good its answers are by the operator's own measure, in 0..=1.
    pub quality: Option<f64>,
}

/// Picks a model for each request that names what it is called.
pub struct Routing {
    name: String,
    is_shadow: bool,
    router: Router,
    default_model: String,
    /// One for each rule, in their order; then the one where none holds.
    routes: Vec<Arc<Route>>,
}

/// A rule's, or the default's, way to a model.
struct Route {
    name: String,
    model: String,
    /// Of a million tokens, and the sum so far; `None` where costs are not said of both models.
    cost_saved: Option<(f64, RoutingSum)>,
    /// Of an answer, the same.
    quality_lost: Option<(f64, RoutingSum)>,
    metrics: RouteMetrics,
}

/// How a request was routed.
pub(crate) struct Routed {
    pick: Arc<Route>,
    is_shadow: bool,
}

/// What answers, logs and metrics say where no rule holds.
const DEFAULT: &str = "default";

impl Routing {
    /// For requests that name `name`. The places of `router` are those of `models`. In shadow mode the default model answers, whatever is
    /// picked.
    pub fn new(
        name: String,
        is_shadow: bool,
        router: Router,
        models: &[Candidate],
        telemetry: &Telemetry,
    ) -> Self {
        let default = &models[router.default_model()];
        let less = |of_default: Option<f64>, own: Option<f64>| Some(of_default? - own?);
        let route = |name: &str, model: &Candidate| {
            let cost = less(default.cost, model.cost);
            let cost =
                cost.map(|cost| (cost, telemetry.routing_cost_saved(&model.name, is_shadow)));
            let quality = less(default.quality, model.quality);
            let quality = quality.map(|quality| {
                (
                    quality,
                    telemetry.routing_quality_lost(&model.name, is_shadow),
                )
            });
            Arc::new(Route {
                metrics: telemetry.routed(name, &model.name, is_shadow),
                name: name.to_owned(),
                model: model.name.clone(),
                cost_saved: cost,
                quality_lost: quality,
            })
        };
        let rules = router.rules().iter();
        let rules = rules.map(|rule| route(&rule.name, &models[rule.model]));
        Self {
            routes: rules
                .chain(std::iter::once(route(DEFAULT, default)))
                .collect(),
            default_model: default.name.clone(),
            name,
            is_shadow,
            router,
        }
    }

    /// What requests name that leave the model open.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The model where no rule holds.
    pub(super) fn default_model(&self) -> &str {
        &self.default_model
    }

    /// The way of a request of a chat or a completion. Ids of tokens mean something else to another model, so who sends some is answered by
    /// the default one.
    async fn route(&self, fields: &Fields, tokenizer: &Arc<Tokenizer>) -> Routed {
        let rule = match names_tokens(fields) {
            true => None,
            false => {
                let features = features(
                    fields,
                    self.router.most_tokens(),
                    self.router.reads_languages(),
                    tokenizer,
                );
                self.router.pick(&features.await)
            }
        };
        let pick = &self.routes[rule.unwrap_or(self.router.rules().len())];
        pick.metrics.count();
        Routed {
            pick: Arc::clone(pick),
            is_shadow: self.is_shadow,
        }
    }
}

/// Where `fields` of a chat or a completion leave the model open, has them name the one that is to answer. It fails no request: what cannot be
/// read is not there, and whoever reads it next says so.
pub(crate) async fn route(fields: &mut Fields, state: &AppState, received: &Received) {
    let Some(routing) = &state.routing else {
        return;
    };
    let is_open = |name: &Value| name.as_str() == Some(routing.name());
    if !fields.look("model").is_some_and(is_open) {
        return;
    }
    let routed = routing.route(fields, &state.models.first().tokenizer).await;
    let model = match routed.is_shadow {
        true => &routing.default_model,
        false => &routed.pick.model,
    };
    fields.set("model", model.as_str().into());
    received.routed(routed);
}

impl Routed {
    /// What led to the model that answers: a rule's name, or `default`.
    pub fn name(&self) -> &str {
        match self.is_shadow {
            true => DEFAULT,
            false => &self.pick.name,
        }
    }

    /// In shadow mode, where the rules would have led.
    pub fn shadow(&self) -> Option<ShadowRoute> {
        self.is_shadow.then(|| ShadowRoute {
            route: self.pick.name.clone(),
            model: self.pick.model.clone(),
        })
    }

    /// Books what an answer of so many tokens, by the model that it was routed to, has saved and lost; `is_whole` where it was not cut off. In
    /// shadow mode, what it would have.
    pub fn answered(&self, num_tokens: usize, is_whole: bool) {
        if let Some((of_a_million, sum)) = &self.pick.cost_saved {
            sum.add(of_a_million * num_tokens as f64 / 1e6);
        }
        if let Some((of_an_answer, sum)) = self.pick.quality_lost.as_ref().filter(|_| is_whole) {
            sum.add(*of_an_answer);
        }
    }
}

impl std::fmt::Debug for Routed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Routed({} to {})", self.pick.name, self.pick.model)
    }
}
