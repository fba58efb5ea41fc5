//! `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's requests and answers, translated.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::chat;
use crate::server::answer::anthropic::Anthropic;
use crate::server::answer::received::Received;
use crate::server::answer::respond::respond;
use crate::server::error::ApiError;
use crate::server::request::anthropic::{GENERATE, PROMPT, original, to_chat};
use crate::server::request::chat_prompt::ChatPrompt;
use crate::server::request::fields::Fields;
use crate::server::state::AppState;

const ROUTE: &str = "/v1/messages";

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    state.check_room(received.tenant())?;
    let fields = Fields::parse(&body, &[PROMPT, GENERATE])?;
    fields.must_have("max_tokens")?;
    let ask = async {
        let wire = |form| Box::new(Anthropic::new(form)) as Box<_>;
        let chat = Fields::of(to_chat(fields)?, chat::TABLES);
        chat::ask(chat, ROUTE, &state, &received, wire).await
    };
    let ask = ask
        .await
        .map_err(|error: ApiError| error.renamed(original))?;
    respond(state, received, ask.renaming(original)).await
}

pub(crate) async fn count_tokens(
    State(state): State<AppState>,
    body: Bytes,
) -> Result<Json<Value>, ApiError> {
    let fields = Fields::parse(&body, &[PROMPT])?;
    let count = async {
        let mut fields = Fields::of(to_chat(fields)?, chat::TABLES);
        let model = state.choose(fields.opt("model")?)?.model;
        let chat = ChatPrompt::take(&mut fields, &model)?;
        chat.encode(&model).await
    };
    let prompt = count.await.map_err(|error| error.renamed(original))?;
    Ok(Json(json!({"input_tokens": prompt.token_ids.len()})))
}

/// Errors of these paths have Anthropic's shape, wherever they come from.
pub(crate) async fn spell_errors(request: Request, next: Next) -> Response {
    let is_ours = request.uri().path().starts_with("/v1/messages");
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<ApiError>() {
        Some(error) if is_ours => {
            let (parts, _) = response.into_parts();
            let mut own = Json(error.anthropic_body()).into_response();
            *own.status_mut() = parts.status;
            let lengths = [
                axum::http::header::CONTENT_LENGTH,
                axum::http::header::CONTENT_TYPE,
            ];
            for (name, value) in &parts.headers {
                if !lengths.contains(name) {
                    own.headers_mut().insert(name.clone(), value.clone());
                }
            }
            own
        }
        _ => response,
    }
}
