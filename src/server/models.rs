//! The models that requests may name.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::ApiError;
use super::state::ServedModel;
use crate::engine::{ExecutorError, SubmitError};
use crate::request::Adapter;
use crate::telemetry::RequestMetrics;

/// Resolves when an engine's thread ends: with an error where it could not go on.
pub type EngineEnd = oneshot::Receiver<Result<(), ExecutorError>>;

/// Models with an engine each. The first answers requests that name none.
#[derive(Clone)]
pub struct Models {
    first: Arc<ServedModel>,
    others: Arc<[Arc<ServedModel>]>,
}

/// What a request's `model` names.
#[derive(Clone)]
pub(crate) struct Chosen {
    pub model: Arc<ServedModel>,
    /// What the answer says.
    pub name: String,
    pub adapter: Option<Adapter>,
}

impl Chosen {
    /// A model as it is.
    pub fn of(model: &Arc<ServedModel>) -> Self {
        Self {
            model: Arc::clone(model),
            name: model.name.clone(),
            adapter: None,
        }
    }
}

impl Models {
    /// Each with a name of its own.
    pub fn new(first: Arc<ServedModel>, others: Vec<Arc<ServedModel>>) -> Self {
        Self {
            first,
            others: others.into(),
        }
    }

    /// The one that answers requests that name none.
    pub fn first(&self) -> &Arc<ServedModel> {
        &self.first
    }

    /// All of them, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ServedModel>> {
        std::iter::once(&self.first).chain(self.others.iter())
    }

    /// The model or the adapter of this name; naming none means the first model. 404 for another name.
    pub(crate) fn choose(&self, name: Option<String>) -> Result<Chosen, ApiError> {
        let Some(name) = name else {
            return Ok(Chosen::of(&self.first));
        };
        if let Some(model) = self.iter().find(|model| model.is_called(&name)) {
            return Ok(Chosen::of(model));
        }
        let mut all = self.iter();
        match all.find_map(|model| Some((model, model.adapters.find(&name)?))) {
            Some((model, adapter)) => Ok(Chosen {
                model: Arc::clone(model),
                name,
                adapter: Some(adapter),
            }),
            None => Err(self.not_found(&name)),
        }
    }

    /// The first model's refusal where none has room for a request of `tenant`: for refusing it before the work of reading it.
    pub(crate) fn check_room(&self, tenant: &str) -> Result<(), SubmitError> {
        let has_room = |model: &Arc<ServedModel>| model.engine.check_room(tenant).is_ok();
        match self.first.engine.check_room(tenant) {
            Err(refused) if !self.others.iter().any(has_room) => Err(refused),
            _ => Ok(()),
        }
    }

    /// The model that has an adapter of this name.
    pub(crate) fn of_adapter(&self, name: &str) -> Option<&Arc<ServedModel>> {
        self.iter().find(|model| model.adapters.has(name))
    }

    /// The metrics of requests that the model, or the adapter, of this name answers; the first model's for any other.
    pub(crate) fn metrics(&self, name: &str) -> &RequestMetrics {
        let named = self.iter().find(|model| model.name == name);
        let named = named.or_else(|| self.of_adapter(name));
        &named.unwrap_or(&self.first).metrics
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        let names: Vec<&str> = self.iter().map(|model| &*model.name).collect();
        ApiError::model_not_found(name, &names)
    }
}
