//! `config.json`, as `transformers` writes it, to the numbers of the one decoder.
//!
//! Only families whose computation is known are read (`model_type`), and what would change it is refused by its key.

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::config::{ARCHITECTURES, Architecture, MAX_HEAD_DIM};
use super::gguf::shown;
use super::rope::RopeConfig;
use super::rope::json::{RopeContext, RopeJson};
use super::{LayerConfig, ModelConfig, ModelError};

/// A Llama with a sliding window, which GGUF files call one.
const MISTRAL: &str = "mistral";
/// Turns a part of each head.
const PHI3: &str = "phi3";
/// Does not turn heads in every layer.
const SMOLLM3: &str = "smollm3";

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
    rope_scaling: Option<RopeJson>,
    /// The newer place of both.
    rope_parameters: Option<RopeJson>,
    hidden_act: Option<String>,
    #[serde(default)]
    tie_word_embeddings: bool,
    sliding_window: Option<usize>,
    use_sliding_window: Option<bool>,
    /// Those below it have no window (Qwen).
    max_window_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
    partial_rotary_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
    no_rope_layers: Option<Vec<u8>>,
    no_rope_layer_interval: Option<usize>,
    quantization_config: Option<Value>,
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

pub(super) fn error(key: &str, message: impl Into<String>) -> ModelError {
    ModelError::config(format!("config.json: {key}"), message)
}

fn in_range(key: &str, value: usize, max: usize) -> Result<usize, ModelError> {
    match (1..=max).contains(&value) {
        true => Ok(value),
        false => Err(error(key, format!("{value} is not in 1..={max}"))),
    }
}

/// Positive and finite in the float32 that it is computed with.
pub(super) fn positive(key: &str, value: f64) -> Result<f64, ModelError> {
    match (value as f32).is_finite() && value as f32 > 0.0 {
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
        let (rope, length) = self.rope(head_dim)?;
        let model = ModelConfig {
            layers: self.layers()?,
            hidden_size,
            intermediate_size: in_range("intermediate_size", self.intermediate_size, 1 << 20)?,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: in_range("vocab_size", self.vocab_size, 1 << 24)?,
            rms_norm_eps: positive("rms_norm_eps", f64::from(self.rms_norm_eps))? as f32,
            context_length: length,
            qkv_bias: architecture.qkv_bias,
            qk_norm: architecture.qk_norm,
            rope,
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

    fn rope(&self, head_dim: usize) -> Result<(RopeConfig, usize), ModelError> {
        let (key, rope) = match (&self.rope_parameters, &self.rope_scaling) {
            // As in `transformers`, where who adds the older one by hand is heeded.
            (_, Some(rope)) => ("rope_scaling", rope.clone()),
            (rope, None) => ("rope_parameters", rope.clone().unwrap_or_default()),
        };
        let newer = self.rope_parameters.as_ref();
        let theta =
            (rope.rope_theta.or(self.rope_theta)).or(newer.and_then(|newer| newer.rope_theta));
        // What `transformers` takes where a file names none.
        let default = if self.model_type == SMOLLM3 { 2e6 } else { 1e4 };
        let base = positive("rope_theta", theta.unwrap_or(default))?;
        let max_position_embeddings = in_range(
            "max_position_embeddings",
            self.max_position_embeddings,
            1 << 24,
        )?;
        let context = RopeContext {
            key,
            base,
            rotary_dim: self.rotary_dim(&rope, head_dim)?,
            max_position_embeddings,
            original_max_position_embeddings: self.original_max_position_embeddings,
        };
        rope.resolve(&context)
    }

    fn rotary_dim(&self, rope: &RopeJson, head_dim: usize) -> Result<usize, ModelError> {
        const KEY: &str = "partial_rotary_factor";
        let part = rope.partial_rotary_factor.or(self.partial_rotary_factor);
        let part = part.unwrap_or(1.0);
        if part != 1.0 && self.model_type != PHI3 {
            let message = format!(
                "{part} is not supported for {}: all values of a head must turn",
                self.model_type
            );
            return Err(error(KEY, message));
        }
        let rotary_dim = (head_dim as f64 * part) as usize;
        match (2..=head_dim).contains(&rotary_dim) && rotary_dim.is_multiple_of(2) {
            true => Ok(rotary_dim),
            false => {
                let message = format!(
                    "{part} makes {rotary_dim} of a head's {head_dim} values turn, which must be an even number of them"
                );
                Err(error(KEY, message))
            }
        }
    }

    fn layers(&self) -> Result<Vec<LayerConfig>, ModelError> {
        let num_layers = in_range("num_hidden_layers", self.num_hidden_layers, 1 << 10)?;
        let interval = self.no_rope_layer_interval.unwrap_or(4).max(1);
        let turns = |i: usize| match &self.no_rope_layers {
            _ if self.model_type != SMOLLM3 => true,
            Some(turns) => turns[i] != 0,
            None => !(i + 1).is_multiple_of(interval),
        };
        // As in `transformers`: a Llama has no window, and Qwen's and SmolLM's files name one that is off.
        let has_switch = self.model_type.starts_with("qwen") || self.model_type == SMOLLM3;
        let is_on = match has_switch {
            true => self.use_sliding_window.unwrap_or(false),
            false => [MISTRAL, PHI3].contains(&self.model_type.as_str()),
        };
        let window = self.sliding_window.filter(|_| is_on);
        let window = window.map(|window| in_range("sliding_window", window, 1 << 32));
        let window = window.transpose()?;
        let slides = |i: usize| match &self.layer_types {
            Some(types) => match types[i].as_str() {
                "full_attention" => Ok(false),
                "sliding_attention" => Ok(true),
                other => Err(error(
                    "layer_types",
                    format!("{} is not supported", shown(other)),
                )),
            },
            None if self.model_type == SMOLLM3 => Ok(!turns(i)),
            None => Ok(!has_switch || i >= self.max_window_layers.unwrap_or(28)),
        };
        for (key, len) in [
            ("no_rope_layers", self.no_rope_layers.as_ref().map(Vec::len)),
            ("layer_types", self.layer_types.as_ref().map(Vec::len)),
        ] {
            if len.is_some_and(|len| len != num_layers) {
                let message = format!("does not say something of each of the {num_layers} layers");
                return Err(error(key, message));
            }
        }
        let layer = |i: usize| {
            let slides = slides(i)?;
            Ok(LayerConfig {
                has_rope: turns(i),
                window: window.filter(|_| slides),
            })
        };
        (0..num_layers).map(layer).collect()
    }
}
