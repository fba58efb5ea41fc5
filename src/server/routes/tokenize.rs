//! `POST /tokenize` and `/detokenize`, in vLLM's shape.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};

use super::chat;
use crate::server::error::ApiError;
use crate::server::request::fields::{Field, Fields, NEVER, Support::Honoured, Support::Only};
use crate::server::request::sampling::token_ids;
use crate::server::state::AppState;
use crate::text::Specials;

pub(crate) const TOKENIZE: &[Field] = &[
    ("model", Honoured),
    ("prompt", Honoured),
    ("messages", Honoured),
    ("add_generation_prompt", Honoured),
    ("add_special_tokens", Honoured),
    ("return_token_strs", Honoured),
    ("continue_final_message", Only(&["false"])),
    ("tools", Only(&["[]"])),
    ("chat_template_kwargs", Only(&["{}"])),
    ("chat_template", NEVER),
    ("mm_processor_kwargs", NEVER),
];

pub(crate) const DETOKENIZE: &[Field] = &[("model", Honoured), ("tokens", Honoured)];

pub(crate) async fn tokenize(
    State(state): State<AppState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&body, &[TOKENIZE])?;
    let model = &state.model;
    model.choose(fields.opt("model")?)?;
    let prompt = fields.opt::<String>("prompt")?;
    let add_special_tokens = fields.opt::<bool>("add_special_tokens")?;
    let add_generation_prompt = fields.opt::<bool>("add_generation_prompt")?;
    let with_strings = fields.opt("return_token_strs")?.unwrap_or(false);
    let ids = match prompt {
        Some(text) => {
            let stray = [
                ("messages", fields.opt::<Value>("messages")?.is_some()),
                ("add_generation_prompt", add_generation_prompt.is_some()),
            ];
            if let Some((name, _)) = stray.iter().find(|(_, is_there)| *is_there) {
                let message = format!("{name} has no meaning beside prompt");
                return Err(ApiError::field(*name, message));
            }
            let tokenizer = Arc::clone(&model.tokenizer);
            let encode = move || match add_special_tokens.unwrap_or(true) {
                true => tokenizer.encode_prompt(&text),
                false => tokenizer.encode(&text, Specials::Parse),
            };
            tokio::task::spawn_blocking(encode)
                .await
                .map_err(|_| ApiError::internal("the tokenizer panicked"))??
        }
        None => {
            if add_special_tokens == Some(true) {
                return Err(ApiError::field(
                    "add_special_tokens",
                    "with messages the chat template adds the special tokens",
                ));
            }
            let messages = chat::messages(&mut fields)?;
            chat::encode(&state, messages, add_generation_prompt.unwrap_or(true))
                .await?
                .token_ids
        }
    };
    let strings: Option<Vec<String>> = with_strings.then(|| {
        ids.iter()
            .map(|&id| model.tokenizer.token_text(id))
            .collect()
    });
    Ok(Json(json!({
        "count": ids.len(),
        "max_model_len": model.max_model_len,
        "tokens": ids,
        "token_strs": strings,
    })))
}

pub(crate) async fn detokenize(
    State(state): State<AppState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&body, &[DETOKENIZE])?;
    let model = &state.model;
    model.choose(fields.opt("model")?)?;
    let ids = token_ids(&mut fields, "tokens", model)?;
    let tokenizer = Arc::clone(&model.tokenizer);
    let text = tokio::task::spawn_blocking(move || tokenizer.detokenise(&ids, false))
        .await
        .map_err(|_| ApiError::internal("the tokenizer panicked"))?;
    Ok(Json(json!({"prompt": text})))
}
