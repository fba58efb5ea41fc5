//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::BoxFuture;

use crate::server::answer::ask::{Ask, Call};
use crate::server::answer::form::{Asked, Form, Kind};
use crate::server::answer::openai::OpenAi;
use crate::server::answer::received::Received;
use crate::server::answer::respond::respond;
use crate::server::answer::wire::Wire;
use crate::server::error::ApiError;
use crate::server::models::Chosen;
use crate::server::request::chat_prompt::{self, ChatPrompt};
use crate::server::request::fields::{
    Field, Fields, NEVER, Support::Hint, Support::Honoured, Support::Only,
};
use crate::server::request::form::Form::{Bool, Integer};
use crate::server::request::form::at_least;
use crate::server::request::generate::{Generate, MAX_LOGPROBS, SHARED};
use crate::server::request::urgency::Standing;
use crate::server::request::{output_format, thinking, tools};
use crate::server::routing::route;
use crate::server::state::AppState;

/// This endpoint's own fields.
pub(crate) const FIELDS: &[Field] = &[
    ("max_completion_tokens", Honoured(at_least(1))),
    ("logprobs", Honoured(Bool)),
    ("top_logprobs", Honoured(Integer(0, MAX_LOGPROBS))),
    ("modalities", Only(&["[\"text\"]"])),
    ("best_of", Only(&["1"])),
    ("echo", Only(&["false"])),
    ("store", Only(&["false"])),
    ("add_special_tokens", Only(&["false"])),
    ("verbosity", Only(&["\"medium\""])),
    (
        "prompt_cache_key",
        Hint("prompts find what is cached of them without a key"),
    ),
    ("prompt_cache_retention", Only(&["\"in_memory\""])),
    ("prompt_cache_options", NEVER),
    ("moderation", NEVER),
    ("return_prompt_text", Only(&["false"])),
    ("audio", NEVER),
    ("prediction", NEVER),
    ("web_search_options", NEVER),
];

/// All fields of this endpoint.
pub(crate) const TABLES: &[&[Field]] = &[
    SHARED,
    chat_prompt::MESSAGES,
    chat_prompt::FIELDS,
    tools::FIELDS,
    thinking::FIELDS,
    output_format::FIELDS,
    FIELDS,
];

const ROUTE: &str = "/v1/chat/completions";

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    state.check_room(received.tenant())?;
    let ask = read(&body, &state, &received).await?;
    respond(state, received, ask).await
}

/// What a body asks for.
pub(crate) async fn read(
    body: &[u8],
    state: &AppState,
    received: &Arc<Received>,
) -> Result<Ask, ApiError> {
    let fields = Fields::parse(body, TABLES)?;
    let wire = |form| Box::new(OpenAi::new(form)) as Box<_>;
    ask(fields, ROUTE, state, received, wire).await
}

/// Makes what `fields` of this endpoint ask for, whoever spells the answer.
pub(crate) async fn ask(
    mut fields: Fields,
    path: &'static str,
    state: &AppState,
    received: &Arc<Received>,
    wire: impl Fn(Form) -> Box<dyn Wire> + Clone + Send + Sync + 'static,
) -> Result<Ask, ApiError> {
    route(&mut fields, state, received).await;
    let (asked_by, spelt) = (Arc::clone(received), wire.clone());
    let prepare = move |fields, chosen, standing| -> BoxFuture<'static, _> {
        let (received, wire) = (Arc::clone(&asked_by), spelt.clone());
        Box::pin(async move { prepare(fields, chosen, standing, &received, wire).await })
    };
    Ask::new(fields, (path, Kind::Chat), state, received, wire, prepare)
}

async fn prepare(
    mut fields: Fields,
    chosen: Chosen,
    standing: Standing,
    received: &Received,
    wire: impl Fn(Form) -> Box<dyn Wire>,
) -> Result<Call, ApiError> {
    let model = &chosen.model;
    let chat = ChatPrompt::take(&mut fields, model)?;
    let logprobs = logprobs(&mut fields)?;
    let mut generate = Generate::take(&mut fields, model, standing, logprobs)?;
    let prompt_chars = chat.num_chars();
    let prompt = chat.encode(model).await?;
    generate.follow(&chat, &prompt, model).await?;
    let asked = Asked {
        token_ids: prompt.token_ids.clone(),
        echo: None,
    };
    let mut request =
        generate.with_prompt(prompt.token_ids, "messages", None, received.tenant(), model)?;
    let form = Form::new(Kind::Chat, &generate, received, &chosen, vec![asked]);
    request.adapter = chosen.adapter;
    Ok(Call {
        generate,
        requests: vec![request],
        prompt_chars,
        wire: wire(form),
    })
}

/// `logprobs` says whether, `top_logprobs` how many alternatives.
fn logprobs(fields: &mut Fields) -> Result<Option<u32>, ApiError> {
    let wanted = fields.opt::<bool>("logprobs")?.unwrap_or(false);
    match fields.integer("top_logprobs")? {
        Some(count) if count > 0 && !wanted => Err(ApiError::field(
            "top_logprobs",
            "top_logprobs needs logprobs to be true",
        )),
        count => Ok(wanted.then(|| count.unwrap_or(0) as u32)),
    }
}
