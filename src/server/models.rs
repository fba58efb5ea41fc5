//! The models that requests may name.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::ApiError;
use super::open_elsewhere::OpenElsewhere;
use super::remote::RemoteServed;
use super::state::ServedModel;
use crate::engine::{ExecutorError, SubmitError};
use crate::request::Adapter;
use crate::telemetry::RequestMetrics;

/// Resolves when an engine's thread ends: with an error where it could not go on.
pub type EngineEnd = oneshot::Receiver<Result<(), ExecutorError>>;

/// Models with an engine each, the first of which answers requests that name none, and models that other servers serve.
#[derive(Clone)]
pub struct Models {
    first: Arc<ServedModel>,
    others: Arc<[Arc<ServedModel>]>,
    remotes: Arc<[Arc<RemoteServed>]>,
    /// Requests to `remotes`.
    pub(super) open_elsewhere: OpenElsewhere,
}

/// A model, wherever it is served.
#[derive(Clone)]
pub enum Served {
    /// By an engine of this process.
    Here(Arc<ServedModel>),
    /// By another server.
    Elsewhere(Arc<RemoteServed>),
}

impl Served {
    /// What requests call it.
    pub fn name(&self) -> &str {
        match self {
            Self::Here(model) => &model.name,
            Self::Elsewhere(model) => &model.name,
        }
    }
}

/// Whether a model of this name and these aliases is called `name`.
pub(super) fn is_called(own: &str, aliases: &[String], name: &str) -> bool {
    own == name || aliases.iter().any(|alias| alias == name)
}

/// What a request's `model` names, wherever it is served.
#[derive(Clone)]
pub(crate) enum Target {
    Here(Chosen),
    Elsewhere(Arc<RemoteServed>),
}

impl Target {
    /// A model as it is.
    pub fn of(served: &Served) -> Self {
        match served {
            Served::Here(model) => Self::Here(Chosen::of(model)),
            Served::Elsewhere(model) => Self::Elsewhere(Arc::clone(model)),
        }
    }

    /// What the answer says.
    pub fn name(&self) -> &str {
        match self {
            Self::Here(chosen) => &chosen.name,
            Self::Elsewhere(model) => &model.name,
        }
    }
}

/// What a request's `model` names of what is served here.
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
    pub fn new(
        first: Arc<ServedModel>,
        others: Vec<Arc<ServedModel>>,
        remotes: Vec<Arc<RemoteServed>>,
    ) -> Self {
        Self {
            first,
            others: others.into(),
            remotes: remotes.into(),
            open_elsewhere: OpenElsewhere::default(),
        }
    }

    /// The one that answers requests that name none.
    pub fn first(&self) -> &Arc<ServedModel> {
        &self.first
    }

    /// Those that other servers serve.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<RemoteServed>> {
        self.remotes.iter()
    }

    /// Whether a model is called so.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.iter().any(|model| model.is_called(name)) || self.remote(name).is_some()
    }

    fn remote(&self, name: &str) -> Option<&Arc<RemoteServed>> {
        self.remotes.iter().find(|model| model.is_called(name))
    }

    /// As [`Models::choose`], also of the models that other servers serve.
    pub(crate) fn target(&self, name: Option<String>) -> Result<Target, ApiError> {
        let remote = name.as_ref().and_then(|name| self.remote(name));
        match remote {
            Some(remote) => Ok(Target::Elsewhere(Arc::clone(remote))),
            None => self.choose(name).map(Target::Here),
        }
    }

    /// Those that are served here, in the order of the settings.
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
            None if self.remote(&name).is_some() => {
                let message = format!("{name} is served elsewhere, and only generates from here");
                Err(ApiError::field("model", message))
            }
            None => Err(self.not_found(&name)),
        }
    }

    /// The first model's refusal where none has room for a request of `tenant`: for refusing it before the work of reading it.
    pub(crate) fn check_room(&self, tenant: &str) -> Result<(), SubmitError> {
        let has_room = |model: &Arc<ServedModel>| model.engine.check_room(tenant).is_ok();
        match self.first.engine.check_room(tenant) {
            Err(refused) if self.remotes.is_empty() && !self.others.iter().any(has_room) => {
                Err(refused)
            }
            _ => Ok(()),
        }
    }

    /// The model that has an adapter of this name.
    pub(crate) fn of_adapter(&self, name: &str) -> Option<&Arc<ServedModel>> {
        self.iter().find(|model| model.adapters.has(name))
    }

    /// The metrics of requests that the model, or the adapter, of this name answers; the first model's for any other.
    pub(crate) fn metrics(&self, name: &str) -> &RequestMetrics {
        if let Some(remote) = self.remote(name) {
            return &remote.metrics;
        }
        let named = self.iter().find(|model| model.name == name);
        let named = named.or_else(|| self.of_adapter(name));
        &named.unwrap_or(&self.first).metrics
    }

    pub(crate) fn not_found(&self, name: &str) -> ApiError {
        let names = self.iter().map(|model| &*model.name);
        let remotes = self.remotes.iter().map(|model| &*model.name);
        let names: Vec<&str> = names.chain(remotes).collect();
        ApiError::model_not_found(name, &names)
    }
}
