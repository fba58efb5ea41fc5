//! How tokens are drawn: a request's own values, or the model's.

use std::hash::{BuildHasher, RandomState};

use serde_json::Value;

use super::fields::Fields;
use crate::request::SamplingParams;
use crate::server::error::ApiError;
use crate::server::state::ServedModel;

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

/// Tokens a request may bias.
const MAX_BIASES: usize = 1024;
/// Temperatures below this are greedy, as in vLLM: dividing by them says nothing else.
const GREEDY_BELOW: f32 = 1e-5;

/// Takes the fields about sampling. `logprobs` is the endpoint's own reading of its fields.
pub(crate) fn sampling(
    fields: &mut Fields,
    model: &ServedModel,
    logprobs: Option<u32>,
) -> Result<SamplingParams, ApiError> {
    let defaults = model.defaults;
    let top_p = fields.number("top_p")?.unwrap_or(defaults.top_p);
    if top_p == 0.0 {
        return Err(ApiError::field("top_p", "top_p must be above 0"));
    }
    let repetition_penalty = fields
        .number("repetition_penalty")?
        .unwrap_or(defaults.repetition_penalty);
    let temperature = fields
        .number("temperature")?
        .unwrap_or(defaults.temperature);
    // -1 and 0 both mean all, as in vLLM.
    let top_k = fields
        .integer("top_k")?
        .map_or(defaults.top_k, |k| k.max(0) as u32);
    let seed = fields.integer("seed")?;
    Ok(SamplingParams {
        temperature: if temperature < GREEDY_BELOW {
            0.0
        } else {
            temperature
        },
        top_k,
        top_p,
        min_p: fields.number("min_p")?.unwrap_or(defaults.min_p),
        presence_penalty: fields.number("presence_penalty")?.unwrap_or(0.0),
        frequency_penalty: fields.number("frequency_penalty")?.unwrap_or(0.0),
        repetition_penalty,
        logit_bias: logit_bias(fields, model)?,
        // A fresh key of the standard library's hasher is as random as a seed needs to be.
        seed: seed.map_or_else(|| RandomState::new().hash_one(()), |seed| seed as u64),
        choice: 0,
        logprobs,
    })
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
