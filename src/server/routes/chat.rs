//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use crate::server::answer::account::Received;
use crate::server::answer::openai::{Asked, Form, Kind, OpenAi};
use crate::server::answer::respond::{Call, respond};
use crate::server::error::ApiError;
use crate::server::request::chat_prompt::{self, ChatPrompt};
use crate::server::request::fields::{
    Field, Fields, NEVER, Support::Hint, Support::Honoured, Support::Only,
};
use crate::server::request::form::Form::{Bool, Integer};
use crate::server::request::form::at_least;
use crate::server::request::generate::{Generate, MAX_LOGPROBS, SHARED};
use crate::server::request::{output_format, thinking, tools};
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

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    state.models.check_room(received.tenant())?;
    let fields = Fields::parse(&body, TABLES)?;
    let wire = |form| Box::new(OpenAi::new(form)) as Box<_>;
    let call = prepare(fields, &state, &received, wire).await?;
    respond(state, received, call).await
}

/// Makes the call that `fields` of this endpoint ask for, whoever spells the answer.
pub(crate) async fn prepare(
    mut fields: Fields,
    state: &AppState,
    received: &Received,
    wire: impl FnOnce(Form) -> Box<dyn crate::server::answer::wire::Wire>,
) -> Result<Call, ApiError> {
    let chosen = state.models.choose(fields.opt("model")?)?;
    received.answers_as(&chosen.name);
    let model = &chosen.model;
    // Before the work of templating and tokenising what would be refused.
    model.engine.check_room(received.tenant())?;
    let chat = ChatPrompt::take(&mut fields, model)?;
    let logprobs = logprobs(&mut fields)?;
    let mut generate = Generate::take(&mut fields, model, logprobs)?;
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
        model: chosen.model,
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
