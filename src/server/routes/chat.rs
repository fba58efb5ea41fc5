//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};

use crate::server::answer::account::Received;
use crate::server::answer::openai::{Asked, Form, Kind, OpenAi};
use crate::server::answer::respond::{Call, respond};
use crate::server::error::ApiError;
use crate::server::request::fields::{
    Field, Fields, NEVER, Support::Honoured, Support::Only, check_keys, typed,
};
use crate::server::request::generate::{Generate, MAX_LOGPROBS, SHARED};
use crate::server::request::output_format;
use crate::server::state::{AppState, ServedModel};
use crate::text::{Message, Prompt, Role, encode_chat};

/// This endpoint's own fields.
pub(crate) const FIELDS: &[Field] = &[
    ("messages", Honoured),
    ("max_completion_tokens", Honoured),
    ("top_logprobs", Honoured),
    ("add_generation_prompt", Honoured),
    ("tools", Only(&["[]"])),
    ("tool_choice", Only(&["\"none\"", "\"auto\""])),
    ("parallel_tool_calls", Only(&["true", "false"])),
    ("functions", Only(&["[]"])),
    ("function_call", Only(&["\"none\"", "\"auto\""])),
    ("modalities", Only(&["[\"text\"]"])),
    ("best_of", Only(&["1"])),
    ("echo", Only(&["false"])),
    ("store", Only(&["false"])),
    ("continue_final_message", Only(&["false"])),
    ("add_special_tokens", Only(&["false"])),
    ("chat_template_kwargs", Only(&["{}"])),
    ("documents", Only(&["[]"])),
    ("include_reasoning", Only(&["true"])),
    ("audio", NEVER),
    ("prediction", NEVER),
    ("reasoning_effort", NEVER),
    ("verbosity", NEVER),
    ("web_search_options", NEVER),
    ("prompt_cache_key", NEVER),
    ("safety_identifier", NEVER),
    ("chat_template", NEVER),
    ("mm_processor_kwargs", NEVER),
];

const MESSAGE: &[Field] = &[
    ("role", Honoured),
    ("content", Honoured),
    ("name", Honoured),
    ("refusal", NEVER),
    ("audio", NEVER),
    ("tool_calls", Only(&["[]"])),
    ("tool_call_id", NEVER),
    ("function_call", NEVER),
    ("reasoning", NEVER),
    ("reasoning_content", NEVER),
];

const TEXT_PART: &[Field] = &[("type", Honoured), ("text", Honoured)];

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    // Before the work of templating and tokenising what would be refused.
    state.model.engine.check_room(received.tenant())?;
    let mut fields = Fields::parse(&body, &[SHARED, output_format::FIELDS, FIELDS])?;
    let model = &state.model;
    let chosen = model.choose(fields.opt("model")?)?;
    received.answers_as(&chosen.name);
    let messages = messages(&mut fields)?;
    let add_generation_prompt = fields.opt("add_generation_prompt")?.unwrap_or(true);
    let logprobs = logprobs(&mut fields)?;
    let mut generate = Generate::take(&mut fields, model, logprobs)?;
    let prompt_chars = messages
        .iter()
        .map(|message| message.content.chars().count())
        .sum();
    let prompt = encode(&state, messages, add_generation_prompt).await?;
    generate.compile(model).await?;
    let asked = Asked {
        token_ids: prompt.token_ids.clone(),
        echo: None,
    };
    let mut request =
        generate.with_prompt(prompt.token_ids, "messages", None, received.tenant(), model)?;
    request.adapter = chosen.adapter;
    let form = Form::new(Kind::Chat, &generate, &received, &state, vec![asked]);
    let call = Call {
        generate,
        requests: vec![request],
        prompt_chars,
        wire: Box::new(OpenAi::new(form)),
    };
    respond(state, received, call).await
}

/// Renders and tokenises off the async threads: long prompts take milliseconds.
pub(crate) async fn encode(
    state: &AppState,
    messages: Vec<Message>,
    add_generation_prompt: bool,
) -> Result<Prompt, ApiError> {
    let model = Arc::clone(&state.model);
    let num_bytes = messages.iter().map(|message| message.content.len()).sum();
    model.check_prompt_bytes(num_bytes, "messages")?;
    let encode = move || -> Result<Prompt, ApiError> {
        let template = model
            .chat_template
            .as_ref()
            .map_err(|why| ApiError::field("messages", why.clone()))?;
        Ok(encode_chat(
            &model.tokenizer,
            template,
            &messages,
            add_generation_prompt,
        )?)
    };
    tokio::task::spawn_blocking(encode)
        .await
        .map_err(|_| ApiError::internal("the chat template panicked"))?
}

/// `logprobs` says whether, `top_logprobs` how many alternatives.
fn logprobs(fields: &mut Fields) -> Result<Option<u32>, ApiError> {
    let wanted = fields.opt::<bool>("logprobs")?.unwrap_or(false);
    match fields.integer("top_logprobs", 0, MAX_LOGPROBS)? {
        Some(count) if count > 0 && !wanted => Err(ApiError::field(
            "top_logprobs",
            "top_logprobs needs logprobs to be true",
        )),
        count => Ok(wanted.then(|| count.unwrap_or(0) as u32)),
    }
}

/// Takes the conversation; errors name the message and its field.
pub(crate) fn messages(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let list: Vec<Map<String, Value>> = fields.required("messages")?;
    if list.is_empty() {
        return Err(ApiError::field(
            "messages",
            "messages is empty: at least one message is needed",
        ));
    }
    list.into_iter()
        .enumerate()
        .map(|(i, map)| message(i, map))
        .collect()
}

fn message(i: usize, mut map: Map<String, Value>) -> Result<Message, ApiError> {
    let path = format!("messages[{i}].");
    map.retain(|_, value| !value.is_null());
    check_keys(&map, &[MESSAGE], &path)?;
    let mut take = |key: &str| map.remove(key);
    let missing =
        |key: &str| ApiError::field(format!("{path}{key}"), format!("{path}{key} is required"));
    let role: Role = typed(
        &format!("{path}role"),
        take("role").ok_or_else(|| missing("role"))?,
    )?;
    let content = match take("content").ok_or_else(|| missing("content"))? {
        Value::String(text) => text,
        Value::Array(parts) => join_parts(parts, &path)?,
        _ => {
            return Err(ApiError::field(
                format!("{path}content"),
                format!("{path}content must be a string or a list of parts"),
            ));
        }
    };
    let name = take("name")
        .map(|name| typed(&format!("{path}name"), name))
        .transpose()?;
    Ok(Message {
        role,
        content,
        name,
    })
}

/// Text parts in a row are one text.
fn join_parts(parts: Vec<Value>, path: &str) -> Result<String, ApiError> {
    let mut text = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        let path = format!("{path}content[{i}].");
        let part: Map<String, Value> = typed(path.trim_end_matches('.'), part)?;
        match part.get("type").and_then(Value::as_str) {
            Some("text") => {}
            Some(other) => {
                let message = format!(
                    "{path}type is {other:?}, but the model is text-only: parts must be \"text\""
                );
                return Err(ApiError::field(format!("{path}type"), message));
            }
            None => {
                return Err(ApiError::field(
                    format!("{path}type"),
                    format!("{path}type is required"),
                ));
            }
        }
        check_keys(&part, &[TEXT_PART], &path)?;
        match part.get("text") {
            Some(Value::String(piece)) => text.push_str(piece),
            _ => {
                return Err(ApiError::field(
                    format!("{path}text"),
                    format!("{path}text must be a string"),
                ));
            }
        }
    }
    Ok(text)
}

impl ServedModel {
    /// Refuses, before the work of tokenising it, a text that cannot fit whatever its tokens are.
    pub(crate) fn check_prompt_bytes(&self, num_bytes: usize, param: &str) -> Result<(), ApiError> {
        let at_least = num_bytes / self.tokenizer.max_token_bytes().max(1);
        if at_least >= self.max_model_len {
            let message = format!(
                "the prompt has at least {at_least} tokens; the context window is {}",
                self.max_model_len
            );
            return Err(ApiError::context_length(param, message));
        }
        Ok(())
    }
}
