//! What every handler can reach.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Mutex, Semaphore};

use super::answer_cache::AnswerCache;
use super::auth::ApiKey;
use super::embedder::EmbeddingModel;
use super::error::ApiError;
use super::models::{Chosen, Models, Target, is_called};
use super::request::sampling::SamplingDefaults;
use super::request::urgency::Standing;
use super::routes::adapters::Adapters;
use super::routing::Routing;
use super::semantic_cache::SemanticCache;
use super::tiers::Tiers;
use crate::engine::{EngineHandle, EventStream, SubmitError};
use crate::gateway::Tenants;
use crate::telemetry::{RequestLog, RequestMetrics};
use crate::text::{ChatTemplate, GrammarError, Grammars, Tokenizer};

/// A model behind the endpoints.
pub struct ServedModel {
    /// What requests call it.
    pub name: String,
    /// What they may call it as well.
    pub aliases: Vec<String>,
    /// A digest of what it computes with, so that what another model of this name has answered is not taken for its own.
    pub weights: [u8; 32],
    /// Its tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// What compiles grammars for it, once somebody asks for one.
    pub grammars: OnceLock<Result<Grammars, GrammarError>>,
    /// Grammars that may be compiled at once: the rest of the machine is for the model.
    pub compiles: Arc<Semaphore>,
    /// Its chat template, or why it has none.
    pub chat_template: Result<ChatTemplate, String>,
    /// Sampling where a request says nothing.
    pub defaults: SamplingDefaults,
    /// In which time the first token must come, where a request does not say.
    pub default_deadline: Option<Duration>,
    /// Tokens of prompt and answer together.
    pub max_model_len: usize,
    /// Its adapters.
    pub adapters: Adapters,
    /// Its engine.
    pub engine: EngineHandle,
    /// Its metrics.
    pub metrics: RequestMetrics,
    /// The token that `/ready` waits for, while there is one.
    pub probe: Mutex<Option<EventStream>>,
}

impl ServedModel {
    /// Whether requests may call it so.
    pub(super) fn is_called(&self, name: &str) -> bool {
        is_called(&self.name, &self.aliases, name)
    }

    /// What compiles grammars; the first call indexes the vocabulary.
    pub(super) fn grammars(&self) -> Result<&Grammars, GrammarError> {
        let grammars = self.grammars.get_or_init(|| Grammars::new(&self.tokenizer));
        grammars.as_ref().map_err(Clone::clone)
    }
}

impl ServedModel {
    /// Refuses, before the work of tokenising it, a text that cannot fit whatever its tokens are.
    pub(super) fn check_prompt_bytes(&self, num_bytes: usize, param: &str) -> Result<(), ApiError> {
        let at_least = num_bytes / self.tokenizer.max_token_bytes().max(1);
        if at_least >= self.max_model_len {
            let message = format!(
                "the prompt has at least {at_least} tokens; the context window is {}",
                self.max_model_len
            );
            return Err(ApiError::context_length(param, message));
        }
        Ok(())
    }
}

/// How the front behaves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Keys that open every route but `/health` and `/ready`; none opens all.
    pub api_keys: Vec<ApiKey>,
    /// Largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a stream's headers wait for its first token, and then the pause between comments that keep it open.
    pub keep_alive: Duration,
    /// How long open requests may take after the signal to stop.
    pub shutdown_timeout: Duration,
    /// `/ready` trusts a step computed this recently; otherwise it asks for one and waits this long for it. A model of a chain that computes
    /// none for so long hangs.
    pub ready_within: Duration,
    /// From a request's arrival, before which no answer begins that is given again.
    pub min_cached_latency: Option<Duration>,
    /// Where the request log goes.
    pub request_log: RequestLog,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            max_body_bytes: 2 << 20,
            keep_alive: Duration::from_secs(10),
            shutdown_timeout: Duration::from_secs(30),
            ready_within: Duration::from_secs(10),
            min_cached_latency: None,
            request_log: RequestLog::off(),
        }
    }
}

/// Shared by all handlers.
#[derive(Clone)]
pub struct AppState {
    /// The models.
    pub models: Models,
    /// Who answers instead of one of them.
    pub tiers: Option<Arc<Tiers>>,
    /// Which of them answers requests that leave it open.
    pub routing: Option<Arc<Routing>>,
    /// What requests may have, by whose they are.
    pub tenants: Arc<Tenants>,
    /// What was answered before, where that is kept.
    pub answers: Option<Arc<AnswerCache>>,
    /// Which questions were answered before, where that is remembered.
    pub semantic: Option<Arc<SemanticCache>>,
    /// The model behind `/v1/embeddings`, if there is one.
    pub embeddings: Option<Arc<EmbeddingModel>>,
    /// The options.
    pub options: Arc<ServerOptions>,
    /// Renders `/metrics`.
    pub prometheus: PrometheusHandle,
    /// When the server started, for the `created` of `/v1/models`.
    pub started: SystemTime,
}

impl AppState {
    /// Refuses a request of `tenant`, before the work of reading it, where nobody would answer it whatever it asks.
    pub(super) fn check_room(&self, tenant: &str) -> Result<(), SubmitError> {
        let room = self.models.check_room(tenant);
        // It may have been answered before.
        let semantic = self.semantic.as_ref();
        let policy = self.tenants.policy(tenant);
        let may_be_known =
            self.answers.is_some() || semantic.is_some_and(|of| of.may_serve(policy));
        if may_be_known && matches!(room, Err(SubmitError::QueueFull { .. })) {
            return Ok(());
        }
        let has_texts = self.tiers.as_ref().is_some_and(|tiers| tiers.has_texts());
        match room {
            Err(SubmitError::QueueFull { .. }) if has_texts && policy.may_be_static => Ok(()),
            room => room,
        }
    }

    /// As [`Models::choose`]. For what leaves the model open that is the default one where it is served here, else the first.
    pub(super) fn choose(&self, name: Option<String>) -> Result<Chosen, ApiError> {
        let routing = self.routing.as_ref();
        match routing.filter(|routing| name.as_deref() == Some(routing.name())) {
            Some(routing) => {
                let default = self.models.choose(Some(routing.default_model().to_owned()));
                Ok(default.unwrap_or_else(|_| Chosen::of(self.models.first())))
            }
            None => self.models.choose(name),
        }
    }

    /// How urgent requests of `tenant` are that do not say.
    pub(super) fn standing(&self, tenant: &str, target: &Target) -> Standing {
        let policy = self.tenants.policy(tenant);
        let tiers = self.tiers.as_ref();
        let slo = tiers.filter(|tiers| tiers.is_for(target));
        let slo = policy.slo_ttft.or(slo.map(|tiers| tiers.slo_ttft));
        Standing {
            priority: policy.priority,
            deadline: match target {
                Target::Here(chosen) => slo.or(chosen.model.default_deadline),
                Target::Elsewhere(_) => slo,
            },
        }
    }

    /// The metrics of requests that `model` answers.
    pub(super) fn metrics(&self, model: &str) -> &RequestMetrics {
        match &self.embeddings {
            Some(embeddings) if embeddings.name == model => &embeddings.metrics,
            _ => self.models.metrics(model),
        }
    }
}
