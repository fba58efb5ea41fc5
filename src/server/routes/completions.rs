//! `POST /v1/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::request::GenerateRequest;
use crate::server::answer::ask::{Ask, Call};
use crate::server::answer::form::{Asked, Form, Kind};
use crate::server::answer::openai::OpenAi;
use crate::server::answer::received::Received;
use crate::server::answer::respond::respond;
use crate::server::error::ApiError;
use crate::server::models::Chosen;
use crate::server::request::fields::{
    Field, Fields, NEVER, Support::Honoured, Support::Only, Support::Required, typed,
};
use crate::server::request::form::Form::{Bool, Either, Integer, List, Text};
use crate::server::request::form::{self, TOKEN_IDS};
use crate::server::request::generate::{Generate, MAX_CHOICES, MAX_LOGPROBS, SHARED, choices};
use crate::server::request::output_format;
use crate::server::request::sampling::check_token_ids;
use crate::server::request::urgency::Standing;
use crate::server::routing::route;
use crate::server::state::{AppState, ServedModel};

/// This endpoint's own fields.
pub(crate) const FIELDS: &[Field] = &[
    ("prompt", Required(PROMPT)),
    ("logprobs", Honoured(Integer(0, MAX_LOGPROBS))),
    ("best_of", Honoured(Integer(1, MAX_CHOICES))),
    ("echo", Honoured(Bool)),
    ("add_special_tokens", Only(&["true"])),
    ("prompt_embeds", NEVER),
    ("suffix", NEVER),
    ("thinking_token_budget", NEVER),
];

/// A string or a list of token ids, or several of either.
const PROMPT: form::Form = Either(&[Text, TOKEN_IDS, List(&Either(&[Text, TOKEN_IDS]))]);

/// OpenAI's default for this endpoint.
const DEFAULT_MAX_TOKENS: usize = 16;

const ROUTE: &str = "/v1/completions";

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
    let mut fields = Fields::parse(body, &[SHARED, output_format::FIELDS, FIELDS])?;
    fields.must_have("prompt")?;
    route(&mut fields, state, received).await;
    let asked_by = Arc::clone(received);
    let prepare = move |fields, chosen, standing| -> BoxFuture<'static, _> {
        let received = Arc::clone(&asked_by);
        Box::pin(async move { prepare(fields, chosen, standing, &received).await })
    };
    let wire = |form| Box::new(OpenAi::new(form)) as Box<_>;
    let kind = (ROUTE, Kind::Completion);
    Ask::new(fields, kind, state, received, wire, prepare)
}

async fn prepare(
    mut fields: Fields,
    chosen: Chosen,
    standing: Standing,
    received: &Received,
) -> Result<Call, ApiError> {
    let model = &chosen.model;
    let prompts = prompts(fields.required("prompt")?, model)?;
    let echoes = fields.opt("echo")?.unwrap_or(false);
    let best_of = choices(&mut fields, "best_of")?;
    let logprobs = fields.integer("logprobs")?;
    let generate = Generate::take(
        &mut fields,
        model,
        standing,
        logprobs.map(|count| count as u32),
    )?;
    let mut generate = candidates(generate, best_of, prompts.len())?;
    generate.compile(Vec::new(), model).await?;
    if echoes && generate.prompt_logprobs.is_none() {
        // The echoed tokens have theirs, too.
        generate.scores_prompt(generate.sampling.logprobs);
    }
    let prompt_chars = prompts.iter().map(Prompt::num_chars).sum();
    let (mut asked, mut requests) = (Vec::new(), Vec::new());
    for prompt in prompts {
        let (text, ids) = match prompt {
            Prompt::Text(text) => (text.clone(), encode(model, text).await?),
            Prompt::Ids(ids) => (model.tokenizer.detokenise(&ids, false), ids),
        };
        asked.push(Asked {
            token_ids: ids.clone(),
            echo: echoes.then_some(text),
        });
        let default = Some(DEFAULT_MAX_TOKENS);
        let request = generate.with_prompt(ids, "prompt", default, received.tenant(), model)?;
        requests.push(GenerateRequest {
            adapter: chosen.adapter.clone(),
            ..request
        });
    }
    let form = Form::new(Kind::Completion, &generate, received, &chosen, asked);
    generate.score_candidates(&mut requests);
    Ok(Call {
        generate,
        requests,
        prompt_chars,
        wire: Box::new(OpenAi::new(form)),
    })
}

/// Checks how many answers that makes, and that the best of them can be told.
fn candidates(
    mut generate: Generate,
    best_of: Option<usize>,
    num_prompts: usize,
) -> Result<Generate, ApiError> {
    let num_choices = generate.num_choices;
    if let Some(best_of) = best_of {
        if best_of < num_choices {
            let message = format!(
                "best_of is {best_of}, but n is {num_choices}: it must be as many at least"
            );
            return Err(ApiError::field("best_of", message));
        }
        if best_of > num_choices && generate.framing.stream {
            let message =
                "best_of cannot be told before the end: it must equal n where stream is true";
            return Err(ApiError::field("best_of", message));
        }
        generate.num_candidates = best_of;
    }
    let num_answers = num_prompts.saturating_mul(generate.num_candidates);
    if num_answers > MAX_CHOICES as usize {
        let message = format!(
            "{num_prompts} prompts of {} choices are {num_answers} answers; at most {MAX_CHOICES} are allowed in one call",
            generate.num_candidates
        );
        return Err(ApiError::field("prompt", message));
    }
    Ok(generate)
}

enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

impl Prompt {
    fn num_chars(&self) -> usize {
        match self {
            Self::Text(text) => text.chars().count(),
            Self::Ids(_) => 0,
        }
    }
}

/// A string or a list of token ids, or several of either.
fn prompts(value: Value, model: &ServedModel) -> Result<Vec<Prompt>, ApiError> {
    match value {
        Value::Array(list) if list.iter().any(|item| !item.is_number()) => list
            .into_iter()
            .enumerate()
            .map(|(i, item)| prompt(item, &format!("prompt[{i}]"), model))
            .collect(),
        one => Ok(vec![prompt(one, "prompt", model)?]),
    }
}

fn prompt(value: Value, name: &str, model: &ServedModel) -> Result<Prompt, ApiError> {
    match value {
        Value::String(text) => Ok(Prompt::Text(text)),
        Value::Array(_) => {
            let ids: Vec<u32> = typed(name, value)?;
            check_token_ids(&ids, name, model)?;
            Ok(Prompt::Ids(ids))
        }
        _ => {
            let message = format!("{name} must be a string or a list of token ids");
            Err(ApiError::field(name, message))
        }
    }
}

/// Tokenises off the async threads. A raw prompt may spell special tokens: it is the caller's own template.
pub(crate) async fn encode(model: &Arc<ServedModel>, text: String) -> Result<Vec<u32>, ApiError> {
    model.check_prompt_bytes(text.len(), "prompt")?;
    let tokenizer = Arc::clone(&model.tokenizer);
    let ids = tokio::task::spawn_blocking(move || tokenizer.encode_prompt(&text)).await;
    Ok(ids.map_err(|_| ApiError::internal("the tokenizer panicked"))??)
}
