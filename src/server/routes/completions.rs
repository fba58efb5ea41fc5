//! `POST /v1/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use crate::server::answer::account::Received;
use crate::server::answer::body::Kind;
use crate::server::answer::respond::respond;
use crate::server::error::ApiError;
use crate::server::request::fields::{
    Field, Fields, NEVER, Support::Honoured, Support::Only, typed,
};
use crate::server::request::sampling::{Generate, MAX_LOGPROBS, SHARED, check_token_ids};
use crate::server::state::{AppState, ServedModel};

/// This endpoint's own fields.
pub(crate) const FIELDS: &[Field] = &[
    ("prompt", Honoured),
    ("add_special_tokens", Only(&["true"])),
    ("prompt_embeds", NEVER),
    ("suffix", NEVER),
];

/// OpenAI's default for this endpoint.
const DEFAULT_MAX_TOKENS: usize = 16;

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    // Before the work of templating and tokenising what would be refused.
    state.model.engine.check_room(received.tenant())?;
    let mut fields = Fields::parse(&body, &[SHARED, FIELDS])?;
    let model = &state.model;
    let chosen = model.choose(fields.opt("model")?)?;
    received.answers_as(&chosen.name);
    let prompt = prompt(fields.required("prompt")?, model)?;
    let logprobs = fields
        .integer("logprobs", 0, MAX_LOGPROBS)?
        .map(|count| count as u32);
    let generate = Generate::take(&mut fields, model, logprobs)?;
    let (ids, prompt_chars) = match prompt {
        Prompt::Text(text) => {
            let chars = text.chars().count();
            (encode(model, text).await?, chars)
        }
        Prompt::Ids(ids) => (ids, 0),
    };
    let mut request = generate.with_prompt(
        ids,
        "prompt",
        Some(DEFAULT_MAX_TOKENS),
        received.tenant(),
        model,
    )?;
    request.adapter = chosen.adapter;
    respond(
        state,
        received,
        Kind::Completion,
        generate,
        request,
        prompt_chars,
    )
    .await
}

enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

/// A string, a list of token ids, or a list of just one of either.
fn prompt(value: Value, model: &ServedModel) -> Result<Prompt, ApiError> {
    match value {
        Value::String(text) => Ok(Prompt::Text(text)),
        Value::Array(list) if list.iter().any(|item| !item.is_number()) => {
            let count = list.len();
            match list.into_iter().next() {
                Some(item) if count == 1 => prompt(item, model),
                _ => Err(ApiError::field(
                    "prompt",
                    format!("{count} prompts in one call are not supported yet: send one"),
                )),
            }
        }
        Value::Array(ids) => {
            let ids: Vec<u32> = typed("prompt", Value::Array(ids))?;
            check_token_ids(&ids, "prompt", model)?;
            Ok(Prompt::Ids(ids))
        }
        _ => Err(ApiError::field(
            "prompt",
            "prompt must be a string or a list of token ids",
        )),
    }
}

/// Tokenises off the async threads. A raw prompt may spell special tokens: it is the caller's own template.
pub(crate) async fn encode(model: &Arc<ServedModel>, text: String) -> Result<Vec<u32>, ApiError> {
    model.check_prompt_bytes(text.len(), "prompt")?;
    let tokenizer = Arc::clone(&model.tokenizer);
    let ids = tokio::task::spawn_blocking(move || tokenizer.encode_prompt(&text)).await;
    Ok(ids.map_err(|_| ApiError::internal("the tokenizer panicked"))??)
}
