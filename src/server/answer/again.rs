//! Requests that were answered before, to the letter: what of them makes a difference, and what is given again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::account::Answerer;
use super::ask::Call;
use super::begun::Begun;
use super::choice::Choice;
use super::form::Kind;
use super::generation::Source;
use super::put::reading;
use crate::gateway::{Answer, AskedKey, GivenChoice};
use crate::request::Adapter;
use crate::server::answer_cache::AnswerCache;
use crate::server::error::ApiError;
use crate::server::request::fields::Fields;
use crate::server::state::ServedModel;
use crate::telemetry::{RequestMetrics, Tier};

/// Fields that make no difference to which tokens an answer has.
const INDIFFERENT: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "user",
    "metadata",
    "session_id",
    "safety_identifier",
    "priority",
    "deadline_ms",
    "service_tier",
    "fallback",
    "cache",
];

/// What a request asks of any model, where its answer may be given again.
#[derive(Clone, Copy)]
pub(crate) struct Repeatable {
    digest: [u8; 32],
    /// Whether the same answer is wanted though tokens are drawn at random.
    is_forced: bool,
    is_seeded: bool,
}

/// Where an answer is kept, and may be found.
#[derive(Clone)]
pub(crate) struct Keeping {
    cache: Arc<AnswerCache>,
    tenant: Arc<str>,
    key: AskedKey,
}

impl Repeatable {
    /// Takes the field `cache`; `None` where the client wants an answer of its own.
    pub fn take(fields: &mut Fields, kind: Kind) -> Result<Option<Self>, ApiError> {
        let wanted: Option<bool> = fields.opt("cache")?;
        if wanted == Some(false) {
            return Ok(None);
        }
        let rest = fields.rest();
        let asked: BTreeMap<&str, &Value> = (rest.iter())
            .filter(|(name, _)| !INDIFFERENT.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value))
            .collect();
        let mut hasher = Sha256::new_with_prefix([kind as u8]);
        // Numbers and texts that say the same are spelt the same.
        let spelt = serde_json::to_vec(&asked);
        hasher.update(spelt.map_err(|error| ApiError::internal(error.to_string()))?);
        Ok(Some(Self {
            digest: hasher.finalize().into(),
            is_forced: wanted == Some(true),
            is_seeded: asked.contains_key("seed"),
        }))
    }

    /// Where the answer of `model` to `call` is kept; `None` where another time it would be another one, or says what is not kept.
    pub fn keeping(
        self,
        cache: &Arc<AnswerCache>,
        tenant: &str,
        call: &Call,
        model: &ServedModel,
        adapter: Option<&Adapter>,
    ) -> Option<Keeping> {
        let generate = &call.generate;
        let is_same = generate.sampling.temperature == 0.0 || self.is_seeded || self.is_forced;
        let is_whole = !generate.shows_tokens() && generate.num_candidates == generate.num_choices;
        if !is_same || !is_whole {
            return None;
        }
        let mut hasher = Sha256::new_with_prefix(self.digest);
        hasher.update(adapter.map_or(0, |adapter| adapter.id).to_le_bytes());
        hasher.update(&model.name);
        Some(Keeping {
            cache: Arc::clone(cache),
            tenant: tenant.into(),
            key: AskedKey(hasher.finalize().into()),
        })
    }
}

impl Keeping {
    /// What was answered before.
    pub fn find(&self, model: &str) -> Option<(Answer, RequestMetrics)> {
        self.cache.find(&self.tenant, model, self.key)
    }

    /// Keeps the answer.
    pub fn keep(&self, answer: Vec<GivenChoice>) {
        self.cache.keep(&self.tenant, self.key, answer);
    }
}

impl Call {
    /// Of what `model`, as `name`, has answered before.
    pub fn given_again(
        self,
        answer: &[GivenChoice],
        model: &ServedModel,
        name: String,
        metrics: RequestMetrics,
    ) -> Begun {
        let reading = reading(&self.generate, model);
        let choices = answer.iter().enumerate().map(|(i, given)| {
            let prompt = &self.requests[i / self.generate.num_candidates].prompt;
            Choice::given_again(given, prompt.len(), reading.clone())
        });
        let source = Source::Choices(choices.collect());
        let answerer = Answerer {
            name,
            tier: Tier::Cache,
            cause: None,
            metrics,
        };
        self.begun(answerer, source)
    }
}
