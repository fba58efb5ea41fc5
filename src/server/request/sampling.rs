//! The fields that chat and completions share, from JSON to the engine's request.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use serde_json::Value;

use super::fields::{Field, Fields, NEVER, Support::Honoured, Support::Only, typed};
use super::framing::Framing;
use super::urgency;
use crate::request::{GenerateRequest, Priority, SamplingParams, StopCriteria};
use crate::server::error::ApiError;
use crate::server::state::ServedModel;
use crate::text::StopMatcher;

/// What a request that names no value gets; from the model's card.
#[derive(Clone, Copy, Debug)]
pub struct SamplingDefaults {
    /// Temperature; 1 if the model says nothing.
    pub temperature: f32,
    /// Top-k; 0 (all) if the model says nothing.
    pub top_k: u32,
    /// Top-p; 1 (all) if the model says nothing.
    pub top_p: f32,
    /// Min-p; 0 (all) if the model says nothing.
    pub min_p: f32,
    /// Repetition penalty; 1 (none) if the model says nothing.
    pub repetition_penalty: f32,
}

impl Default for SamplingDefaults {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
        }
    }
}

/// Stop strings a request may have.
const MAX_STOPS: usize = 16;
/// Stop tokens a request may have.
const MAX_STOP_TOKEN_IDS: usize = 1024;
/// Characters of a name that goes into the log.
const MAX_NAME_LEN: usize = 256;
/// Tokens a request may bias.
const MAX_BIASES: usize = 1024;
/// Alternatives a token.
pub(crate) const MAX_LOGPROBS: i64 = 20;
/// Temperatures below this are greedy, as in vLLM: dividing by them says nothing else.
const GREEDY_BELOW: f32 = 1e-5;

/// The shared part of both endpoints' tables.
pub(crate) const SHARED: &[Field] = &[
    ("model", Honoured),
    ("stream", Honoured),
    ("stream_options", Honoured),
    ("max_tokens", Honoured),
    ("min_tokens", Honoured),
    ("temperature", Honoured),
    ("top_p", Honoured),
    ("top_k", Honoured),
    ("min_p", Honoured),
    ("presence_penalty", Honoured),
    ("frequency_penalty", Honoured),
    ("repetition_penalty", Honoured),
    ("seed", Honoured),
    ("stop", Honoured),
    ("stop_token_ids", Honoured),
    ("ignore_eos", Honoured),
    ("logit_bias", Honoured),
    ("skip_special_tokens", Honoured),
    ("include_stop_str_in_output", Honoured),
    ("return_tokens_as_token_ids", Honoured),
    ("return_token_ids", Honoured),
    ("user", Honoured),
    ("metadata", Honoured),
    ("logprobs", Honoured),
    ("priority", Honoured),
    ("deadline_ms", Honoured),
    // Accepted where they ask for nothing.
    ("n", Only(&["1"])),
    ("best_of", Only(&["1"])),
    ("echo", Only(&["false"])),
    ("use_beam_search", Only(&["false"])),
    ("length_penalty", Only(&["1", "1.0"])),
    ("spaces_between_special_tokens", Only(&["true"])),
    ("service_tier", Only(&["\"auto\"", "\"default\""])),
    ("response_format", Only(&[r#"{"type":"text"}"#])),
    ("bad_words", Only(&["[]"])),
    ("prompt_logprobs", NEVER),
    ("allowed_token_ids", NEVER),
    ("truncate_prompt_tokens", NEVER),
    ("logits_processors", NEVER),
    ("structured_outputs", NEVER),
    ("guided_json", NEVER),
    ("guided_regex", NEVER),
    ("guided_choice", NEVER),
    ("guided_grammar", NEVER),
    ("guided_decoding_backend", NEVER),
    ("guided_whitespace_pattern", NEVER),
    ("cache_salt", NEVER),
    ("request_id", NEVER),
    ("session_id", NEVER),
    ("kv_transfer_params", NEVER),
    ("vllm_xargs", NEVER),
];

/// Who asks, for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub user: Option<String>,
    pub session: Option<String>,
}

/// A validated request without its prompt.
pub(crate) struct Generate {
    pub sampling: SamplingParams,
    pub framing: Framing,
    pub caller: Caller,
    pub stops: StopMatcher,
    max_tokens: Option<(&'static str, usize)>,
    min_tokens: usize,
    stop_token_ids: Vec<u32>,
    priority: Priority,
    deadline: Option<Duration>,
}

impl Generate {
    /// Takes the shared fields. `logprobs` is the endpoint's own reading of its fields.
    pub fn take(
        fields: &mut Fields,
        model: &ServedModel,
        logprobs: Option<u32>,
    ) -> Result<Self, ApiError> {
        let mut stop_token_ids = token_ids(fields, "stop_token_ids", model)?;
        if !fields.opt::<bool>("ignore_eos")?.unwrap_or(false) {
            stop_token_ids.extend_from_slice(model.tokenizer.eos_ids());
        }
        stop_token_ids.sort_unstable();
        stop_token_ids.dedup();
        if stop_token_ids.len() > MAX_STOP_TOKEN_IDS {
            let message = format!("at most {MAX_STOP_TOKEN_IDS} stop_token_ids are allowed");
            return Err(ApiError::field("stop_token_ids", message));
        }
        let max_completion = fields
            .integer("max_completion_tokens", 1, i64::MAX)?
            .map(|n| ("max_completion_tokens", n as usize));
        let max_tokens = fields
            .integer("max_tokens", 1, i64::MAX)?
            .map(|n| ("max_tokens", n as usize));
        if let (Some((_, a)), Some((_, b))) = (max_completion, max_tokens)
            && a != b
        {
            let message = format!("max_tokens is {b}, but max_completion_tokens is {a}: send one");
            return Err(ApiError::field("max_tokens", message));
        }
        let priority = urgency::priority(fields)?;
        let include_stop = fields.opt("include_stop_str_in_output")?.unwrap_or(false);
        Ok(Self {
            framing: Framing::take(fields)?,
            caller: caller(fields)?,
            stops: stops(fields, include_stop)?,
            max_tokens: max_completion.or(max_tokens),
            min_tokens: fields.integer("min_tokens", 0, i64::MAX)?.unwrap_or(0) as usize,
            stop_token_ids,
            priority,
            deadline: urgency::deadline(fields, model, priority)?,
            sampling: sampling(fields, model, logprobs)?,
        })
    }

    /// Joins it with a prompt: checks both against the context window. `param` is the prompt's field and
    /// `default_max_tokens` applies when the request names none.
    pub fn with_prompt(
        &self,
        prompt: Vec<u32>,
        param: &str,
        default_max_tokens: Option<usize>,
        tenant: &str,
        model: &ServedModel,
    ) -> Result<GenerateRequest, ApiError> {
        let window = model.max_model_len;
        if prompt.is_empty() {
            return Err(ApiError::field(
                param,
                format!("{param} is empty: at least one token is needed"),
            ));
        }
        if prompt.len() >= window {
            let message = format!(
                "the prompt has {} tokens; the context window is {window}, one of which must be left for the answer",
                prompt.len()
            );
            return Err(ApiError::context_length(param, message));
        }
        let room = window - prompt.len();
        let max_tokens = match self.max_tokens {
            Some((name, n)) if n > room => {
                let message = format!(
                    "{name} is {n}, but after the prompt's {} tokens the context window of {window} has room for {room}",
                    prompt.len()
                );
                return Err(ApiError::context_length(name, message));
            }
            Some((_, n)) => n,
            None => default_max_tokens.unwrap_or(room).min(room),
        };
        if self.min_tokens > max_tokens {
            return Err(ApiError::field(
                "min_tokens",
                format!(
                    "min_tokens is {}, above the {max_tokens} tokens that may be generated",
                    self.min_tokens
                ),
            ));
        }
        let stop = StopCriteria {
            max_tokens,
            min_tokens: self.min_tokens,
            stop_token_ids: self.stop_token_ids.clone(),
        };
        Ok(GenerateRequest {
            adapter: None,
            tenant: tenant.into(),
            priority: self.priority,
            deadline: self.deadline,
            prompt,
            sampling: self.sampling.clone(),
            stop,
        })
    }
}

fn sampling(
    fields: &mut Fields,
    model: &ServedModel,
    logprobs: Option<u32>,
) -> Result<SamplingParams, ApiError> {
    let defaults = model.defaults;
    let top_p = fields.number("top_p", 0.0, 1.0)?.unwrap_or(defaults.top_p);
    if top_p == 0.0 {
        return Err(ApiError::field("top_p", "top_p must be above 0"));
    }
    let repetition_penalty = fields
        .number("repetition_penalty", 0.01, 100.0)?
        .unwrap_or(defaults.repetition_penalty);
    let temperature = fields
        .number("temperature", 0.0, 100.0)?
        .unwrap_or(defaults.temperature);
    // -1 and 0 both mean all, as in vLLM.
    let top_k = fields
        .integer("top_k", -1, i64::from(u32::MAX))?
        .map_or(defaults.top_k, |k| k.max(0) as u32);
    let seed = fields.integer("seed", i64::MIN, i64::MAX)?;
    Ok(SamplingParams {
        temperature: if temperature < GREEDY_BELOW {
            0.0
        } else {
            temperature
        },
        top_k,
        top_p,
        min_p: fields.number("min_p", 0.0, 1.0)?.unwrap_or(defaults.min_p),
        presence_penalty: fields.number("presence_penalty", -2.0, 2.0)?.unwrap_or(0.0),
        frequency_penalty: fields
            .number("frequency_penalty", -2.0, 2.0)?
            .unwrap_or(0.0),
        repetition_penalty,
        logit_bias: logit_bias(fields, model)?,
        // A fresh key of the standard library's hasher is as random as a seed needs to be.
        seed: seed.map_or_else(|| RandomState::new().hash_one(()), |seed| seed as u64),
        logprobs,
    })
}

fn caller(fields: &mut Fields) -> Result<Caller, ApiError> {
    let metadata = fields
        .opt::<HashMap<String, String>>("metadata")?
        .unwrap_or_default();
    let short = |name: &str, text: Option<String>| match text {
        Some(text) if text.chars().count() > MAX_NAME_LEN => Err(ApiError::field(
            name,
            format!("{name} is longer than {MAX_NAME_LEN} characters"),
        )),
        text => Ok(text),
    };
    Ok(Caller {
        user: short("user", fields.opt("user")?)?,
        session: short("metadata.session_id", metadata.get("session_id").cloned())?,
    })
}

fn stops(fields: &mut Fields, include_stop: bool) -> Result<StopMatcher, ApiError> {
    let stops = match fields.opt::<Value>("stop")? {
        None => Vec::new(),
        Some(Value::String(stop)) => vec![stop],
        Some(list) => typed::<Vec<String>>("stop", list)?,
    };
    if stops.len() > MAX_STOPS {
        return Err(ApiError::field(
            "stop",
            format!(
                "stop has {} strings; at most {MAX_STOPS} are allowed",
                stops.len()
            ),
        ));
    }
    StopMatcher::new(stops, include_stop)
        .map_err(|error| ApiError::field("stop", error.to_string()))
}

/// Takes a list of token ids, each in the vocabulary.
pub(crate) fn token_ids(
    fields: &mut Fields,
    name: &str,
    model: &ServedModel,
) -> Result<Vec<u32>, ApiError> {
    let ids = fields.opt::<Vec<u32>>(name)?.unwrap_or_default();
    check_token_ids(&ids, name, model)?;
    Ok(ids)
}

/// Checks that every id is in the vocabulary.
pub(crate) fn check_token_ids(
    ids: &[u32],
    name: &str,
    model: &ServedModel,
) -> Result<(), ApiError> {
    match ids
        .iter()
        .position(|&id| id as usize >= model.tokenizer.vocab_size())
    {
        Some(i) => Err(ApiError::field(
            name,
            format!(
                "{name}[{i}] is {}, but the vocabulary has {} tokens",
                ids[i],
                model.tokenizer.vocab_size()
            ),
        )),
        None => Ok(()),
    }
}

fn logit_bias(fields: &mut Fields, model: &ServedModel) -> Result<Vec<(u32, f32)>, ApiError> {
    let name = "logit_bias";
    let map = fields
        .opt::<serde_json::Map<String, Value>>(name)?
        .unwrap_or_default();
    if map.len() > MAX_BIASES {
        return Err(ApiError::field(
            name,
            format!(
                "logit_bias has {} tokens; at most {MAX_BIASES} are allowed",
                map.len()
            ),
        ));
    }
    map.into_iter()
        .map(|(key, value)| {
            let vocab_size = model.tokenizer.vocab_size();
            let id: u32 = key.parse().ok().filter(|&id| (id as usize) < vocab_size).ok_or_else(|| {
                ApiError::field(name, format!("logit_bias: {key:?} is no token id; they are the integers below {vocab_size}"))
            })?;
            let bias = value.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)).ok_or_else(|| {
                ApiError::field(name, format!("logit_bias[{key}] must be a number in -100..=100, is {value}"))
            })?;
            Ok((id, bias as f32))
        })
        .collect()
}
