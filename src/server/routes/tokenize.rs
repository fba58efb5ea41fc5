//! `POST /tokenize` and `/detokenize`, in vLLM's shape.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use serde_json::{Value, json};

use crate::server::error::ApiError;
use crate::server::request::chat_prompt::{self, ChatPrompt};
use crate::server::request::fields::{Field, Fields, Support::Honoured, Support::Required};
use crate::server::request::form::Form::{Bool, Text};
use crate::server::request::form::TOKEN_IDS;
use crate::server::request::sampling::token_ids;
use crate::server::request::{conversation, thinking, tools};
use crate::server::state::AppState;
use crate::text::Specials;

pub(crate) const TOKENIZE: &[Field] = &[
    ("model", Honoured(Text)),
    // One of the two must be there.
    ("prompt", Honoured(Text)),
    ("messages", Honoured(conversation::MESSAGES)),
    ("add_special_tokens", Honoured(Bool)),
    ("return_token_strs", Honoured(Bool)),
];

/// All fields of `/tokenize`: a chat is rendered as it would be for an answer.
pub(crate) const TABLES: &[&[Field]] = &[
    TOKENIZE,
    chat_prompt::FIELDS,
    tools::FIELDS,
    thinking::FIELDS,
];

pub(crate) const DETOKENIZE: &[Field] =
    &[("model", Honoured(Text)), ("tokens", Required(TOKEN_IDS))];

pub(crate) async fn tokenize(
    State(state): State<AppState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let mut fields = Fields::parse(&body, TABLES)?;
    let model = &state.choose(fields.opt("model")?)?.model;
    let prompt = fields.opt::<String>("prompt")?;
    let add_special_tokens = fields.opt::<bool>("add_special_tokens")?;
    let with_strings = fields.opt("return_token_strs")?.unwrap_or(false);
    let ids = match prompt {
        Some(text) => {
            let of_chats = [
                chat_prompt::MESSAGES,
                chat_prompt::FIELDS,
                tools::FIELDS,
                thinking::FIELDS,
            ];
            for (name, _) in of_chats.into_iter().flatten() {
                if fields.opt::<Value>(name)?.is_some() {
                    let message = format!("{name} has no meaning beside prompt");
                    return Err(ApiError::field(*name, message));
                }
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
            let chat = ChatPrompt::take(&mut fields, model)?;
            chat.encode(model).await?.token_ids
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
    let model = &state.choose(fields.opt("model")?)?.model;
    fields.must_have("tokens")?;
    let ids = token_ids(&mut fields, "tokens", model)?;
    let tokenizer = Arc::clone(&model.tokenizer);
    let text = tokio::task::spawn_blocking(move || tokenizer.detokenise(&ids, false))
        .await
        .map_err(|_| ApiError::internal("the tokenizer panicked"))?;
    Ok(Json(json!({"prompt": text})))
}
