//! LoRA adapters: loaded, listed and let go while the server runs, each a model of its own to requests.

use std::any::Any;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};

use crate::request::Adapter;
use crate::server::error::ApiError;
use crate::server::request::fields::{
    Field, Fields, Support::Honoured, Support::Only, Support::Required,
};
use crate::server::request::form::Form::{Bool, Text};
use crate::server::state::AppState;
use crate::telemetry::log_line;

/// Reads an adapter's folder; the error says what is wrong with it. What it gives only the executor understands.
pub type AdapterLoader = dyn Fn(&Path) -> Result<Arc<dyn Any + Send + Sync>, String> + Send + Sync;

/// The adapters that requests may name. An adapter that is let go stays with the requests that run with it.
pub struct Adapters {
    loader: Box<AdapterLoader>,
    /// Held for moments only, never while anything is read or waited for.
    loaded: RwLock<Loaded>,
}

#[derive(Default)]
struct Loaded {
    by_name: BTreeMap<String, Entry>,
    /// Ids given so far.
    num_ids: u64,
}

#[derive(Clone)]
struct Entry {
    adapter: Adapter,
    path: String,
}

impl Adapters {
    /// None yet; `loader` reads them.
    pub fn new(loader: Box<AdapterLoader>) -> Self {
        Self {
            loader,
            loaded: RwLock::default(),
        }
    }

    /// Reads the adapter in the folder `path` and serves it as `name`, if `replaces` in the place of one that has this name already.
    ///
    /// # Errors
    /// What the loader says, or that there is one of this name.
    pub fn load(&self, name: &str, path: &str, replaces: bool) -> Result<(), String> {
        let weights = (self.loader)(Path::new(path))?;
        let replaced = {
            let mut loaded = self.write();
            if !replaces && loaded.by_name.contains_key(name) {
                return Err(format!("{name:?} is loaded already"));
            }
            loaded.num_ids += 1;
            let id = loaded.num_ids;
            let entry = Entry {
                adapter: Adapter { id, weights },
                path: path.to_owned(),
            };
            loaded.by_name.insert(name.to_owned(), entry)
        };
        // Giving memory back may wait for a card.
        drop(replaced);
        Ok(())
    }

    /// The one of this name.
    pub(crate) fn find(&self, name: &str) -> Option<Adapter> {
        self.read()
            .by_name
            .get(name)
            .map(|entry| entry.adapter.clone())
    }

    /// Whether there is one of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.read().by_name.contains_key(name)
    }

    /// Names and folders.
    pub(crate) fn list(&self) -> Vec<(String, String)> {
        let loaded = self.read();
        let entries = loaded.by_name.iter();
        entries
            .map(|(name, entry)| (name.clone(), entry.path.clone()))
            .collect()
    }

    /// Lets an adapter go, which may wait for a card. False if there is none.
    fn unload(&self, name: &str) -> bool {
        let removed = self.write().by_name.remove(name);
        removed.is_some()
    }

    // A panic while it is held leaves a whole map behind.
    fn read(&self) -> RwLockReadGuard<'_, Loaded> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Loaded> {
        self.loaded.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) const LOAD: &[Field] = &[
    ("lora_name", Required(Text)),
    ("lora_path", Required(Text)),
    ("load_inplace", Honoured(Bool)),
    ("is_3d_lora_weight", Only(&["false"])),
];

pub(crate) const UNLOAD: &[Field] = &[("lora_name", Required(Text)), ("lora_int_id", Only(&[]))];

/// `POST /v1/load_lora_adapter`.
pub(crate) async fn load(
    State(state): State<AppState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&body, &[LOAD])?;
    let name: String = fields.required("lora_name")?;
    let path: String = fields.required("lora_path")?;
    let replaces = fields.opt("load_inplace")?.unwrap_or(false);
    let is_embedder = (state.embeddings.as_ref()).is_some_and(|model| model.name == name);
    let is_model = state.models.has(&name);
    let is_routed = (state.routing.as_ref()).is_some_and(|routing| routing.name() == name);
    if name.is_empty() || is_model || is_embedder || is_routed {
        let message = "lora_name must be a name of its own, neither empty nor a model's, nor the one that is routed";
        return Err(ApiError::field("lora_name", message));
    }
    if !replaces && state.models.of_adapter(&name).is_some() {
        let message = format!(
            "{name:?} is loaded already: unload it first, or send load_inplace to have it replaced"
        );
        return Err(ApiError::field("lora_name", message));
    }
    let model = Arc::clone(state.models.first());
    let (loaded_name, loaded_path) = (name.clone(), path.clone());
    let load = move || model.adapters.load(&loaded_name, &loaded_path, replaces);
    tokio::task::spawn_blocking(load)
        .await
        .map_err(|_| ApiError::internal("reading the adapter panicked"))?
        .map_err(|message| ApiError::field("lora_path", message))?;
    log_line(&format!("adapter {name:?} loaded from {path}"));
    Ok(Json(json!({"lora_name": name, "status": "loaded"})))
}

/// `POST /v1/unload_lora_adapter`: requests that run go on.
pub(crate) async fn unload(
    State(state): State<AppState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&body, &[UNLOAD])?;
    let name: String = fields.required("lora_name")?;
    let (models, unloaded_name) = (state.models.clone(), name.clone());
    let unload = move || (models.iter()).any(|model| model.adapters.unload(&unloaded_name));
    let is_unloaded = tokio::task::spawn_blocking(unload)
        .await
        .map_err(|_| ApiError::internal("letting the adapter go panicked"))?;
    if !is_unloaded {
        return Err(state.models.not_found(&name));
    }
    log_line(&format!("adapter {name:?} unloaded"));
    Ok(Json(json!({"lora_name": name, "status": "unloaded"})))
}
