//! What is kept of answers, for operators: how it goes, why a request finds what it finds, what to forget, and what to share.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use super::{chat, completions};
use crate::gateway::{SHARED, Selection};
use crate::server::answer::ask::Ask;
use crate::server::answer::explain;
use crate::server::answer::received::Received;
use crate::server::error::ApiError;
use crate::server::request::fields::{Field, Fields, Support::Honoured, Support::Required};
use crate::server::request::form::Form::{Bool, Text};
use crate::server::request::form::OBJECT;
use crate::server::state::AppState;

/// What `POST /admin/cache/explain` and `/share` take.
pub(crate) const ASKED: &[Field] = &[("request", Required(OBJECT)), ("tenant", Honoured(Text))];

/// What `POST /admin/cache/purge` takes.
pub(crate) const PURGE: &[Field] = &[
    ("tenant", Honoured(Text)),
    ("shared", Honoured(Bool)),
    ("model", Honoured(Text)),
    ("user", Honoured(Text)),
    ("prompt_version", Honoured(Text)),
    ("data_version", Honoured(Text)),
    ("document", Honoured(Text)),
];

/// `GET /admin/cache`: how it goes.
pub(crate) async fn stats(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
) -> Result<Json<Value>, ApiError> {
    received.must_be_admin()?;
    let metrics = state.prometheus.render();
    let mut told = json!({"prefix": {"models": counted(&metrics, PREFIX, None)}});
    if let Some(exact) = &state.answers {
        let (entries, bytes) = exact.size();
        let models = counted(&metrics, ANSWERS, Some("exact"));
        told["exact"] = json!({"entries": entries, "bytes": bytes, "models": models});
    }
    if let Some(semantic) = &state.semantic {
        let (entries, bytes) = semantic.size();
        let mut models = counted(&metrics, ANSWERS, Some("semantic"));
        for (model, report) in semantic.report() {
            let report = json!(report);
            let of_model = models.entry(model).or_insert_with(|| json!({}));
            if let (Value::Object(of_model), Value::Object(report)) = (of_model, report) {
                of_model.extend(report);
            }
        }
        told["semantic"] = json!({"entries": entries, "bytes": bytes, "models": models});
    }
    Ok(Json(told))
}

/// Counters of the prefix cache, in tokens, and what they are called here.
const PREFIX: &[(&str, &str)] = &[
    ("flambeau_prefix_cache_queries_total", "query_tokens"),
    ("flambeau_prefix_cache_hits_total", "hit_tokens"),
];
/// Of answers.
const ANSWERS: &[(&str, &str)] = &[
    ("flambeau_answer_cache_lookups_total", "lookups"),
    ("flambeau_answer_cache_hits_total", "hits"),
    ("flambeau_answer_cache_tokens_total", "tokens"),
];

/// What `/metrics` says of each model, of a level where one is named.
fn counted(metrics: &str, names: &[(&str, &str)], level: Option<&str>) -> Map<String, Value> {
    let mut models = Map::new();
    for line in metrics.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let name = names.iter().find(|(metric, _)| {
            let labels = series.strip_prefix(metric);
            labels.is_some_and(|labels| labels.starts_with('{'))
        });
        let label = |name: &str| {
            let (_, rest) = series.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        if let (Some((_, name)), Some(model), Ok(value)) =
            (name, label("model"), value.parse::<u64>())
            && level.is_none_or(|level| label("level") == Some(level))
        {
            let of_model = models.entry(model).or_insert_with(|| json!({}));
            of_model[*name] = value.into();
        }
    }
    models
}

/// `POST /admin/cache/explain`: what a request would find, and why. An administrator may ask for another tenant.
pub(crate) async fn explain(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let (ask, tenant) = asked(&body, &state, &received).await?;
    if tenant != received.tenant() || !received.rights().sees_cache {
        received.must_be_admin()?;
    }
    let told = explain::explain(&state, ask, &tenant).await;
    Ok(Json(told.map_err(in_request)?))
}

/// `POST /admin/cache/share`: gives all tenants what one of them was answered.
pub(crate) async fn share(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    received.must_be_admin()?;
    let (ask, tenant) = asked(&body, &state, &received).await?;
    match explain::share(&state, &ask, &tenant).map_err(in_request)? {
        true => Ok(Json(json!({"shared": true}))),
        false => Err(ApiError::not_here(format!(
            "{tenant:?} was not answered this, or it was forgotten"
        ))),
    }
}

/// `POST /admin/cache/purge`: forgets answers, wherever they are, before it answers. Who is no administrator forgets its own.
pub(crate) async fn purge(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&body, &[PURGE])?;
    let mut chosen = Selection {
        tenant: fields.opt("tenant")?,
        model: fields.opt("model")?,
        user: fields.opt("user")?,
        prompt_version: fields.opt("prompt_version")?,
        data_version: fields.opt("data_version")?,
        document: fields.opt("document")?,
    };
    let shared = fields.opt("shared")?.unwrap_or(false);
    if shared && chosen.tenant.is_some() {
        let message = "what is shared is no tenant's: say shared or tenant";
        return Err(ApiError::field("shared", message));
    }
    if chosen == Selection::default() && !shared {
        let message = "say which answers to forget; /admin/cache/reset forgets all";
        return Err(ApiError::bad_request(message));
    }
    if shared {
        chosen.tenant = Some(SHARED.into());
    }
    if !received.rights().is_admin {
        let own = received.tenant();
        if chosen.tenant.as_deref().is_some_and(|tenant| tenant != own) {
            received.must_be_admin()?;
        }
        chosen.tenant = Some(own.into());
    }
    let mut num_answers = state
        .answers
        .as_ref()
        .map_or(0, |answers| answers.purge(&chosen));
    if let Some(semantic) = &state.semantic {
        let purged = semantic.purge(&chosen).await;
        num_answers += purged.map_err(|why| {
            ApiError::internal(format!("what was chosen is still on the disk: {why}"))
        })?;
    }
    Ok(Json(json!({"num_answers": num_answers})))
}

/// `POST /admin/cache/reset`: forgets all that the prefix caches and their arenas on the host hold, and all answers.
pub(crate) async fn reset(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
) -> Result<Json<Value>, ApiError> {
    received.must_be_admin()?;
    let answers = state.answers.as_ref();
    let num_exact = answers.map_or(0, |answers| answers.clear());
    let mut num_answers = num_exact;
    // A disk that fails keeps nobody else from forgetting, nor does an engine.
    let cleared = match &state.semantic {
        Some(semantic) => semantic.clear().await,
        None => Ok(0),
    };
    let mut num_blocks = 0;
    for model in state.models.iter() {
        num_blocks += model.engine.reset_cache().await?;
    }
    num_answers += cleared.map_err(|why| {
        ApiError::internal(format!("what is remembered is still on the disk: {why}"))
    })?;
    Ok(Json(
        json!({"num_blocks": num_blocks, "num_answers": num_answers}),
    ))
}

/// Names the field where it stands.
fn in_request(error: ApiError) -> ApiError {
    error.renamed(|param| format!("request.{param}"))
}

/// The request that is asked about, as its endpoint reads it, and whose it would be.
async fn asked(
    body: &Bytes,
    state: &AppState,
    received: &Arc<Received>,
) -> Result<(Ask, String), ApiError> {
    let mut fields = Fields::parse(body, &[ASKED])?;
    let tenant: Option<String> = fields.opt("tenant")?;
    let request: Map<String, Value> = fields.required("request")?;
    let is_chat = request.contains_key("messages");
    if is_chat == request.contains_key("prompt") {
        let message = "must be the body of a chat, with messages, or of a completion, with prompt";
        return Err(ApiError::field("request", message));
    }
    let bytes = Bytes::from(Value::Object(request).to_string());
    let ask = match is_chat {
        true => chat::read(&bytes, state, received).await,
        false => completions::read(&bytes, state, received).await,
    };
    let ask = ask.map_err(in_request)?;
    Ok((ask, tenant.unwrap_or_else(|| received.tenant().to_owned())))
}
