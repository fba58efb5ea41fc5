//! What operators and orchestrators ask: is it alive, can it generate, how is it doing, what is it.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::engine::Presence;
use crate::server::error::ApiError;
use crate::server::probe::probe;
use crate::server::state::{AppState, ServedModel};

/// The process lives.
pub(crate) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Every model computed a step lately, or generates a token now when asked for one.
pub(crate) async fn ready(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let within = state.options.ready_within;
    let all = state.models.iter().map(|model| is_ready(model, within));
    // All are waited for, so that no probe's token is left to be taken for a later one's.
    for ready in futures_util::future::join_all(all).await {
        ready?;
    }
    Ok(Json(json!({"status": "ready"})))
}

async fn is_ready(model: &ServedModel, within: Duration) -> Result<(), ApiError> {
    let engine = &model.engine;
    if engine.is_draining() {
        return Err(ApiError::unavailable("the server is shutting down"));
    }
    // It is loaded for those who ask for it, and kept as long as somebody does; who watches is nobody of them.
    let is_asked = engine.presence() == Presence::Loaded && engine.num_open() > 0;
    if engine.is_on_demand() && !is_asked {
        return Ok(());
    }
    if engine
        .since_last_step()
        .is_some_and(|since| since <= within)
    {
        return Ok(());
    }
    let why = match timeout(within, probe(model)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => format!("no token within {} s", within.as_secs_f64()),
    };
    Err(ApiError::unavailable(format!("not ready: {why}")))
}

/// Prometheus text.
pub(crate) async fn metrics(State(state): State<AppState>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.prometheus.render(),
    )
        .into_response()
}

pub(crate) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

pub(crate) async fn models(State(state): State<AppState>) -> Json<Value> {
    let created = state
        .started
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let bare = |id: &str| {
        json!({
            "id": id,
            "object": "model",
            "created": created,
            "owned_by": "flambeau",
        })
    };
    let mut data = Vec::new();
    for model in state.models.iter() {
        let entry = |id: &str| {
            let mut entry = bare(id);
            entry["max_model_len"] = model.max_model_len.into();
            entry["state"] = model.engine.presence().as_str().into();
            entry
        };
        data.push(entry(&model.name));
        data.extend(model.adapters.list().into_iter().map(|(name, path)| {
            let mut adapter = entry(&name);
            (adapter["root"], adapter["parent"]) = (path.into(), model.name.clone().into());
            adapter
        }));
    }
    data.extend(state.models.remotes().map(|model| bare(&model.name)));
    data.extend((state.routing.iter()).map(|routing| bare(routing.name())));
    data.extend(state.embeddings.iter().map(|model| {
        let mut entry = bare(&model.name);
        entry["state"] = model.presence().as_str().into();
        entry
    }));
    Json(json!({"object": "list", "data": data}))
}
