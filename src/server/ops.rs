//! What operators and orchestrators ask: is it alive, can it generate, how is it doing, what is it.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::error::ApiError;
use super::state::AppState;
use crate::engine::{EngineHandle, Event};
use crate::request::{GenerateRequest, SamplingParams, StopCriteria};

/// The process lives.
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// A token was generated lately, or is generated now when asked for one.
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Value>, ApiError> {
    let engine = &state.model.engine;
    if engine.is_draining() {
        return Err(ApiError::unavailable("the server is shutting down"));
    }
    let within = state.options.ready_within;
    if engine.since_last_token().is_none_or(|since| since > within) {
        probe(engine, within).await?;
    }
    Ok(Json(json!({"status": "ready"})))
}

/// Generates one token.
async fn probe(engine: &EngineHandle, within: Duration) -> Result<(), ApiError> {
    let stop = StopCriteria {
        max_tokens: 1,
        min_tokens: 0,
        stop_token_ids: Vec::new(),
    };
    let request = GenerateRequest {
        prompt: vec![0],
        sampling: SamplingParams::greedy(),
        stop,
    };
    let mut events = engine
        .submit(request)
        .map_err(|error| ApiError::unavailable(format!("not ready: {error}")))?;
    match timeout(within, events.recv()).await {
        Ok(Some(Event::Token { .. })) => Ok(()),
        Ok(Some(Event::Failed(error))) => Err(ApiError::unavailable(format!("not ready: {error}"))),
        Ok(None) => Err(ApiError::unavailable("not ready: the engine is gone")),
        Err(_) => Err(ApiError::unavailable(format!(
            "not ready: no token within {} s",
            within.as_secs_f64()
        ))),
    }
}

/// Prometheus text.
pub(super) async fn metrics(State(state): State<AppState>) -> Response {
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        state.prometheus.render(),
    )
        .into_response()
}

pub(super) async fn version() -> Json<Value> {
    Json(json!({"version": env!("CARGO_PKG_VERSION")}))
}

pub(super) async fn models(State(state): State<AppState>) -> Json<Value> {
    let created = state
        .started
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    Json(json!({
        "object": "list",
        "data": [{
            "id": state.model.name,
            "object": "model",
            "created": created,
            "owned_by": "flambeau",
            "max_model_len": state.model.max_model_len,
        }],
    }))
}
