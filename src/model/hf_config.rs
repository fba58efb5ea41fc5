//! `config.json`, as `transformers` writes it, to the numbers of the one decoder.
//!
//! Only families whose computation is known are read (`model_type`), and what would change it is refused by its key.

use std::f64::consts::PI;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::config::{ARCHITECTURES, Architecture, MAX_HEAD_DIM, RopeConfig};
use super::gguf::shown;
use super::{ModelConfig, ModelError};
use crate::ops::RopeStyle;

/// A Llama with a sliding window, which GGUF files call one.
const MISTRAL: &str = "mistral";

/// The keys that are read; the optional ones are not in every family's files.
#[derive(Deserialize)]
struct Json {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: f32,
    max_position_embeddings: usize,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    /// The newer place of both.
    rope_parameters: Option<Rope>,
    hidden_act: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    partial_rotary_factor: Option<f64>,
    quantization_config: Option<Value>,
}

#[derive(Clone, Deserialize)]
struct Rope {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
    /// The older name.
    #[serde(rename = "type")]
    old_type: Option<String>,
    partial_rotary_factor: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

/// What a folder's `config.json` says.
pub(super) struct HfConfig {
    /// The decoder's numbers.
    pub model: ModelConfig,
    /// Whether the LM head is the embedding.
    pub has_tied_head: bool,
}

impl HfConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// Each names the key: it is missing, out of range, or asks for what this decoder does not compute.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(ModelError::open(path))?;
        let parse = |error: serde_json::Error| ModelError::file(path, error.to_string());
        let json: Value = serde_json::from_slice(&bytes).map_err(parse)?;
        // Before the numbers, which other architectures may have under other names.
        let architecture = architecture(&json)?;
        let json: Json = serde_json::from_value(json).map_err(parse)?;
        json.resolve(architecture)
    }
}

fn architecture(json: &Value) -> Result<&'static Architecture, ModelError> {
    let model_type = json["model_type"].as_str().unwrap_or("(none)");
    if model_type == MISTRAL && json.get("sliding_window").is_none() {
        return Err(error(
            "sliding_window",
            "is missing: write null if there is none",
        ));
    }
    let name = if model_type == MISTRAL {
        "llama"
    } else {
        model_type
    };
    Architecture::find(name).ok_or_else(|| {
        let known = ARCHITECTURES.map(|known| known.name).join(", ");
        let message = format!(
            "{} is not supported; this version serves {known} and {MISTRAL}",
            shown(model_type)
        );
        error("model_type", message)
    })
}

fn error(key: &str, message: impl Into<String>) -> ModelError {
    ModelError::config(format!("config.json: {key}"), message)
}

fn in_range(key: &str, value: usize, max: usize) -> Result<usize, ModelError> {
    match (1..=max).contains(&value) {
        true => Ok(value),
        false => Err(error(key, format!("{value} is not in 1..={max}"))),
    }
}

fn positive(key: &str, value: f64) -> Result<f64, ModelError> {
    match value.is_finite() && value > 0.0 {
        true => Ok(value),
        false => Err(error(key, format!("{value} is not a positive number"))),
    }
}

impl Json {
    fn resolve(self, architecture: &Architecture) -> Result<HfConfig, ModelError> {
        self.refuse_unsupported()?;
        let hidden_size = in_range("hidden_size", self.hidden_size, 1 << 20)?;
        let num_heads = in_range("num_attention_heads", self.num_attention_heads, 1 << 12)?;
        let num_kv_heads = self.num_key_value_heads.unwrap_or(num_heads);
        let num_kv_heads = in_range("num_key_value_heads", num_kv_heads, num_heads)?;
        if !num_heads.is_multiple_of(num_kv_heads) {
            let message = format!("{num_kv_heads} does not divide the {num_heads} query heads");
            return Err(error("num_key_value_heads", message));
        }
        let head_dim = self.head_dim(hidden_size, num_heads)?;
        let model = ModelConfig {
            num_layers: in_range("num_hidden_layers", self.num_hidden_layers, 1 << 10)?,
            hidden_size,
            intermediate_size: in_range("intermediate_size", self.intermediate_size, 1 << 20)?,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: in_range("vocab_size", self.vocab_size, 1 << 24)?,
            rms_norm_eps: positive("rms_norm_eps", f64::from(self.rms_norm_eps))? as f32,
            context_length: self.context_length()?,
            qkv_bias: architecture.qkv_bias,
            qk_norm: architecture.qk_norm,
            rope: self.rope(head_dim)?,
        };
        Ok(HfConfig {
            model,
            has_tied_head: self.tie_word_embeddings,
        })
    }

    fn refuse_unsupported(&self) -> Result<(), ModelError> {
        if let Some(config) = &self.quantization_config {
            let method = shown(config["quant_method"].as_str().unwrap_or("unnamed"));
            let message =
                format!("{method} is not supported yet: use the unquantised model, or a GGUF file");
            return Err(error("quantization_config.quant_method", message));
        }
        match self.hidden_act.as_deref() {
            None | Some("silu") => Ok(()),
            Some(other) => {
                let message = format!("{} is not supported; silu is", shown(other));
                Err(error("hidden_act", message))
            }
        }
    }

    fn head_dim(&self, hidden_size: usize, num_heads: usize) -> Result<usize, ModelError> {
        let head_dim = match self.head_dim {
            Some(head_dim) => head_dim,
            None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
            None => {
                let message = format!("{num_heads} heads do not divide a width of {hidden_size}");
                return Err(error("num_attention_heads", message));
            }
        };
        match head_dim.is_multiple_of(8) && (1..=MAX_HEAD_DIM).contains(&head_dim) {
            true => Ok(head_dim),
            false => {
                let message = format!(
                    "heads of {head_dim} values are not supported: they must be a multiple of 8 up to {MAX_HEAD_DIM}"
                );
                Err(error("head_dim", message))
            }
        }
    }

    /// No more than the sliding window, within which attention is plain. Qwen's files name a window that is off.
    fn context_length(&self) -> Result<usize, ModelError> {
        let length = in_range(
            "max_position_embeddings",
            self.max_position_embeddings,
            1 << 24,
        )?;
        let is_on = self
            .use_sliding_window
            .unwrap_or(!self.model_type.starts_with("qwen"));
        match self.sliding_window.filter(|_| is_on) {
            None => Ok(length),
            Some(window) => Ok(length.min(in_range("sliding_window", window, 1 << 24)?)),
        }
    }

    fn rope(&self, head_dim: usize) -> Result<RopeConfig, ModelError> {
        let (key, rope) = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(rope), _) => ("rope_parameters", Some(rope)),
            (None, rope) => ("rope_scaling", rope.as_ref()),
        };
        let theta = rope.and_then(|rope| rope.rope_theta).or(self.rope_theta);
        let base = positive("rope_theta", theta.unwrap_or(10_000.0))?;
        let mut config = RopeConfig {
            base,
            rotary_dim: head_dim,
            linear_scale: 1.0,
            divisors: None,
            style: RopeStyle::Half,
        };
        let part = rope.and_then(|rope| rope.partial_rotary_factor);
        if let Some(part) = part
            .or(self.partial_rotary_factor)
            .filter(|&part| part != 1.0)
        {
            let message = format!("{part} is not supported yet: all values of a head must turn");
            return Err(error("partial_rotary_factor", message));
        }
        let Some(rope) = rope else {
            return Ok(config);
        };
        let number = |name: &str, value: Option<f64>| {
            let key = format!("{key}.{name}");
            match value {
                Some(value) => positive(&key, value),
                None => Err(error(&key, "is missing")),
            }
        };
        match rope.rope_type.as_deref().or(rope.old_type.as_deref()) {
            None | Some("default") => {}
            Some("linear") => config.linear_scale = number("factor", rope.factor)?,
            Some("llama3") => {
                let scaling = Llama3 {
                    factor: number("factor", rope.factor)?,
                    low: number("low_freq_factor", rope.low_freq_factor)?,
                    high: number("high_freq_factor", rope.high_freq_factor)?,
                    original: number(
                        "original_max_position_embeddings",
                        rope.original_max_position_embeddings,
                    )?,
                };
                if scaling.low >= scaling.high {
                    let message = format!("{} is not above low_freq_factor", scaling.high);
                    return Err(error(&format!("{key}.high_freq_factor"), message));
                }
                config.divisors = Some(scaling.divisors(base, head_dim));
            }
            Some(other) => {
                let message = format!(
                    "{} is not supported yet; default, linear and llama3 are",
                    shown(other)
                );
                return Err(error(&format!("{key}.rope_type"), message));
            }
        }
        Ok(config)
    }
}

/// Llama 3.1's scaling: long waves are stretched by `factor`, short ones stay, those between are blended. Source: "The Llama
/// 3 Herd of Models", 2024, as released with the weights.
struct Llama3 {
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
}

impl Llama3 {
    /// What the frequencies are divided by, `[rotary_dim / 2]`.
    fn divisors(&self, base: f64, rotary_dim: usize) -> Vec<f32> {
        let divisor = |i: usize| {
            let wave_length = 2.0 * PI * base.powf(2.0 * i as f64 / rotary_dim as f64);
            let turns = self.original / wave_length;
            let kept = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
            1.0 / ((1.0 - kept) / self.factor + kept)
        };
        (0..rotary_dim / 2).map(|i| divisor(i) as f32).collect()
    }
}
