//! A request as it goes on to a model that another server serves.

use std::time::Duration;

use serde_json::{Map, Value};

use super::caller::{Caller, caller};
use super::fields::Fields;
use super::framing::Framing;
use super::generate::{MAX_CHOICES, choices};
use super::urgency::{self, Standing};
use crate::server::error::ApiError;

/// What this server does itself, so that it is no matter of the other's.
const OWN: &[&str] = &[
    "model",
    "stream",
    "stream_options",
    "fallback",
    "cache",
    "priority",
    "deadline_ms",
    "service_tier",
];
/// What only a model that is served here gives.
const ONLY_HERE: &[&str] = &[
    "logprobs",
    "top_logprobs",
    "prompt_logprobs",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "echo",
    "best_of",
];
/// What only the model that was asked for is trusted with.
const BINDING: &[&str] = &[
    "tools",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
];

/// Whether a request has ids of tokens in it, which mean something else to another model.
pub(crate) fn names_tokens(fields: &Fields) -> bool {
    let has = |name: &str| fields.look(name).is_some();
    let is_ids = |value: &Value| match value {
        Value::Array(list) => list.iter().any(|item| item.is_number() || item.is_array()),
        _ => false,
    };
    let has_ids = fields.look("prompt").is_some_and(is_ids);
    has_ids || has("logit_bias") || has("stop_token_ids")
}

/// A request to a remote model.
pub(crate) struct Forwarded {
    /// The body that goes there, without the model's name.
    pub body: Map<String, Value>,
    pub framing: Framing,
    pub caller: Caller,
    /// Prompts, and choices of each.
    pub num_prompts: usize,
    pub num_choices: usize,
    pub prompt_chars: usize,
    /// Whether the answer follows a form that only the model asked for is trusted with.
    pub is_bound: bool,
    /// By when the first piece must come, from when the request came.
    pub deadline: Option<Duration>,
}

impl Forwarded {
    /// Of the fields of a chat or a completion.
    pub fn new(mut fields: Fields, standing: Standing) -> Result<Self, ApiError> {
        let priority = urgency::priority(&mut fields, standing)?;
        let deadline = urgency::deadline(&mut fields, standing, priority)?;
        let mut body = fields.rest();
        for name in ONLY_HERE {
            let num_choices = body.get("n").cloned().unwrap_or(1.into());
            let asks_nothing =
                |value: &Value| *value == false || *name == "best_of" && *value == num_choices;
            if body
                .remove(*name)
                .is_some_and(|value| !asks_nothing(&value))
            {
                let message = format!("{name}: a model that is served elsewhere gives none");
                return Err(ApiError::field(*name, message));
            }
        }
        OWN.iter().for_each(|name| drop(body.remove(*name)));
        let format = body.get("response_format");
        let has_format = format.is_some_and(|format| format["type"] != "text");
        let is_bound = has_format
            || BINDING.iter().any(|name| {
                let value = body.get(*name);
                value.is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty()))
            });
        let prompts = match body.get("prompt") {
            Some(Value::Array(list)) if list.iter().any(|item| !item.is_number()) => list.len(),
            _ => 1,
        };
        let num_choices = choices(&mut fields, "n")?.unwrap_or(1);
        if prompts.saturating_mul(num_choices) > MAX_CHOICES as usize {
            let message = format!(
                "{prompts} prompts of {num_choices} choices are more than the {MAX_CHOICES} answers that are allowed in one call"
            );
            return Err(ApiError::field("prompt", message));
        }
        let prompt = body.get("messages").or_else(|| body.get("prompt"));
        Ok(Self {
            prompt_chars: prompt.map_or(0, num_chars),
            framing: Framing::take(&mut fields)?,
            caller: caller(&mut fields)?,
            num_prompts: prompts,
            num_choices,
            is_bound,
            deadline,
            body,
        })
    }
}

/// Characters of texts, however deep they stand; of messages that is what they say and who says it.
fn num_chars(value: &Value) -> usize {
    match value {
        Value::String(text) => text.chars().count(),
        Value::Array(list) => list.iter().map(num_chars).sum(),
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| *key == "content" || *key == "text")
            .map(|(_, value)| num_chars(value))
            .sum(),
        _ => 0,
    }
}
