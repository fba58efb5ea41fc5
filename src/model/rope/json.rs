//! `rope_scaling` and `rope_parameters` of a `config.json`.

use serde::Deserialize;
use serde_json::Value;

use super::scaling::{Llama3, Yarn, longrope_magnitude};
use super::{Divisors, RopeConfig};
use crate::model::ModelError;
use crate::model::config::{error, positive};
use crate::model::gguf::shown;
use crate::ops::RopeStyle;

#[derive(Clone, Default, Deserialize)]
pub(in crate::model) struct RopeJson {
    pub rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The older name.
    #[serde(rename = "type")]
    old_type: Option<String>,
    pub partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    attention_factor: Option<f64>,
    mscale: Option<f64>,
    mscale_all_dim: Option<f64>,
    beta_fast: Option<f64>,
    beta_slow: Option<f64>,
    truncate: Option<bool>,
    short_factor: Option<Vec<f32>>,
    long_factor: Option<Vec<f32>>,
}

/// One for all layers, or one for each of two kinds.
#[derive(Deserialize)]
#[serde(try_from = "Value")]
pub(in crate::model) enum RopesJson {
    ByLayer(Box<RopesByLayer>),
    One(Box<RopeJson>),
}

/// By whether either kind is named, so that what is wrong in one is not taken for the other form.
impl TryFrom<Value> for RopesJson {
    type Error = serde_json::Error;

    fn try_from(value: Value) -> Result<Self, serde_json::Error> {
        let kinds = ["full_attention", "sliding_attention"];
        match kinds.iter().any(|kind| value.get(kind).is_some()) {
            true => Ok(Self::ByLayer(serde_json::from_value(value)?)),
            false => Ok(Self::One(serde_json::from_value(value)?)),
        }
    }
}

#[derive(Deserialize)]
pub(in crate::model) struct RopesByLayer {
    pub full_attention: RopeJson,
    pub sliding_attention: RopeJson,
}

/// What the scaling depends on besides.
pub(in crate::model) struct RopeContext {
    /// Of the object, for errors.
    pub key: &'static str,
    pub base: f64,
    pub rotary_dim: usize,
    pub max_position_embeddings: usize,
    /// Where it stands outside of the object (Phi-3), which counts first.
    pub original_max_position_embeddings: Option<f64>,
}

impl RopeJson {
    /// The embedding, and how many positions it is for.
    pub fn resolve(&self, context: &RopeContext) -> Result<(RopeConfig, usize), ModelError> {
        let &RopeContext {
            base, rotary_dim, ..
        } = context;
        let mut length = context.max_position_embeddings;
        let mut config = RopeConfig {
            base,
            rotary_dim,
            linear_scale: 1.0,
            divisors: Divisors::None,
            original_length: None,
            magnitude: 1.0,
            style: RopeStyle::Half,
        };
        let number = |name: &str, value: Option<f64>| context.number(name, value);
        let original = context.original_max_position_embeddings;
        let original = original.or(self.original_max_position_embeddings);
        let original = || number("original_max_position_embeddings", original);
        match self.rope_type.as_deref().or(self.old_type.as_deref()) {
            // The dynamic one changes nothing until a sequence is longer than `max_position_embeddings`, where it ends here.
            None | Some("default" | "dynamic") => {}
            Some("linear") => config.linear_scale = number("factor", self.factor)?,
            Some("llama3") => {
                let scaling = Llama3 {
                    factor: number("factor", self.factor)?,
                    low: number("low_freq_factor", self.low_freq_factor)?,
                    high: number("high_freq_factor", self.high_freq_factor)?,
                    original: original()?,
                };
                if scaling.low >= scaling.high {
                    let message = format!("{} is not above low_freq_factor", scaling.high);
                    return Err(context.error("high_freq_factor", message));
                }
                config.divisors = Divisors::Fixed(scaling.divisors(base, rotary_dim));
            }
            Some("yarn") => {
                let scaling = self.yarn(context, original()?)?;
                // Files say how long the context is before the scaling, or after it.
                let scaled = (scaling.original * scaling.factor).min(f64::from(1 << 24));
                length = length.max(scaled as usize);
                config.magnitude = self.yarn_magnitude(context, scaling.factor)?;
                config.divisors = Divisors::Yarn(scaling);
            }
            // The second name is the older one.
            Some("longrope" | "su") => {
                let original = original()?;
                let factor = self.factor.unwrap_or(length as f64 / original);
                let magnitude = self.attention_factor;
                let magnitude = magnitude.unwrap_or(longrope_magnitude(factor, original));
                config.magnitude = positive(&context.key("attention_factor"), magnitude)?;
                config.divisors = Divisors::ByLength {
                    original: original as usize,
                    short: context.factors("short_factor", self.short_factor.as_ref())?,
                    long: context.factors("long_factor", self.long_factor.as_ref())?,
                };
            }
            Some(other) => {
                let message = format!(
                    "{} is not supported; default, linear, dynamic, llama3, yarn and longrope are",
                    shown(other)
                );
                return Err(context.error("rope_type", message));
            }
        }
        Ok((config, length))
    }

    fn yarn(&self, context: &RopeContext, original: f64) -> Result<Yarn, ModelError> {
        let number = |name: &str, value: Option<f64>| context.number(name, value);
        let scaling = Yarn {
            factor: number("factor", self.factor)?,
            beta_fast: number("beta_fast", Some(self.beta_fast.unwrap_or(32.0)))?,
            beta_slow: number("beta_slow", Some(self.beta_slow.unwrap_or(1.0)))?,
            original,
            truncate: self.truncate.unwrap_or(true),
        };
        match scaling.beta_slow < scaling.beta_fast {
            true => Ok(scaling),
            false => {
                let message = format!("{} is not above beta_slow", scaling.beta_fast);
                Err(context.error("beta_fast", message))
            }
        }
    }

    /// As the file names it, or by its weights, of which zeros are none.
    fn yarn_magnitude(&self, context: &RopeContext, factor: f64) -> Result<f64, ModelError> {
        let given = |weight: Option<f64>| weight.filter(|&weight| weight != 0.0);
        let magnitude = match (
            self.attention_factor,
            given(self.mscale),
            given(self.mscale_all_dim),
        ) {
            (Some(magnitude), _, _) => magnitude,
            (None, Some(weight), Some(all)) => {
                Yarn::magnitude(factor, weight) / Yarn::magnitude(factor, all)
            }
            _ => Yarn::magnitude(factor, 1.0),
        };
        positive(&context.key("attention_factor"), magnitude)
    }
}

impl RopeContext {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.key)
    }

    fn error(&self, name: &str, message: impl Into<String>) -> ModelError {
        error(&self.key(name), message)
    }

    fn number(&self, name: &str, value: Option<f64>) -> Result<f64, ModelError> {
        match value {
            Some(value) => positive(&self.key(name), value),
            None => Err(self.error(name, "is missing")),
        }
    }

    /// A positive number for every pair that turns.
    fn factors(&self, name: &str, values: Option<&Vec<f32>>) -> Result<Vec<f32>, ModelError> {
        let Some(values) = values else {
            return Err(self.error(name, "is missing"));
        };
        let num_pairs = self.rotary_dim / 2;
        if values.len() != num_pairs {
            let message = format!("has {} values, not {num_pairs}, one a pair", values.len());
            return Err(self.error(name, message));
        }
        for (i, &value) in values.iter().enumerate() {
            positive(&self.key(&format!("{name}[{i}]")), f64::from(value))?;
        }
        Ok(values.clone())
    }
}
