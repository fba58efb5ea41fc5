//! `config.json`, as `transformers` writes it, to the numbers of the one decoder.
//!
//! Only families whose computation is known are read (`model_type`), and what would change it is refused by its key.

use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::architecture::{ARCHITECTURES, Architecture};
use super::packing::{Packing, PackingJson};
use super::{ExpertsConfig, MAX_HEAD_DIM, ModelConfig};
use crate::model::ModelError;
use crate::model::gguf::shown;
use crate::model::rope::json::{RopeJson, RopesJson};
use crate::ops::Glu;

/// Llamas with a sliding window, which GGUF files call Llamas.
pub(super) const MISTRAL: [&str; 2] = ["mistral", "mixtral"];
/// Turns a part of each head.
pub(super) const PHI3: &str = "phi3";
/// Does not turn heads in every layer.
pub(super) const SMOLLM3: &str = "smollm3";

/// The keys that are read; the optional ones are not in every family's files.
#[derive(Deserialize)]
pub(super) struct Json {
    pub(super) model_type: String,
    hidden_size: usize,
    #[serde(default)]
    intermediate_size: Option<usize>,
    pub(super) num_hidden_layers: usize,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: Option<usize>,
    rms_norm_eps: Option<f32>,
    max_position_embeddings: Option<usize>,
    pub(super) rope_theta: Option<f64>,
    pub(super) rope_local_base_freq: Option<f64>,
    pub(super) rope_scaling: Option<RopeJson>,
    /// The newer place of both.
    pub(super) rope_parameters: Option<RopesJson>,
    hidden_act: Option<String>,
    /// Gemma's name of it.
    hidden_activation: Option<String>,
    tie_word_embeddings: Option<bool>,
    /// Null says something else than silence.
    #[serde(default, deserialize_with = "told")]
    pub(super) sliding_window: Option<Option<usize>>,
    pub(super) use_sliding_window: Option<bool>,
    /// Those below it have no window (Qwen).
    pub(super) max_window_layers: Option<usize>,
    /// Every so-many-th layer has none (Gemma 3).
    pub(super) sliding_window_pattern: Option<usize>,
    pub(super) layer_types: Option<Vec<String>>,
    pub(super) partial_rotary_factor: Option<f64>,
    pub(super) original_max_position_embeddings: Option<f64>,
    pub(super) no_rope_layers: Option<Vec<u8>>,
    pub(super) no_rope_layer_interval: Option<usize>,
    query_pre_attn_scalar: Option<f64>,
    #[serde(default, deserialize_with = "told")]
    attn_logit_softcapping: Option<Option<f64>>,
    #[serde(default, deserialize_with = "told")]
    final_logit_softcapping: Option<Option<f64>>,
    use_bidirectional_attention: Option<bool>,
    #[serde(alias = "num_experts")]
    num_local_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
    moe_intermediate_size: Option<usize>,
    norm_topk_prob: Option<bool>,
    /// Every so-many-th layer has experts (Qwen).
    pub(super) decoder_sparse_step: Option<usize>,
    /// Layers without experts (Qwen).
    pub(super) mlp_only_layers: Option<Vec<usize>>,
    swiglu_alpha: Option<f64>,
    swiglu_limit: Option<f64>,
    quantization_config: Option<PackingJson>,
}

/// A value that is there, null or not.
fn told<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    d: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(d).map(Some)
}

/// What a folder's `config.json` says.
pub(in crate::model) struct HfConfig {
    /// The decoder's numbers.
    pub model: ModelConfig,
    /// Whether the LM head is the embedding.
    pub has_tied_head: bool,
    /// How packed tensors are packed.
    pub packing: Packing,
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
        let json: Json = serde_json::from_value(of_text(json, architecture)?).map_err(parse)?;
        json.resolve(architecture)
    }
}

/// What a model of texts and images says of texts stands in an object of its own (Gemma 3).
fn of_text(mut json: Value, architecture: &Architecture) -> Result<Value, ModelError> {
    const KEY: &str = "text_config";
    let text = json.get_mut(KEY).map(Value::take);
    match text.filter(|text| architecture.name == "gemma3" && !text.is_null()) {
        None => Ok(json),
        Some(Value::Object(mut text)) => {
            for key in ["model_type", "quantization_config", "tie_word_embeddings"] {
                if let Some(value) = json.get_mut(key) {
                    text.insert(key.to_owned(), value.take());
                }
            }
            Ok(Value::Object(text))
        }
        Some(_) => Err(error(KEY, "is no object")),
    }
}

fn architecture(json: &Value) -> Result<&'static Architecture, ModelError> {
    let model_type = json["model_type"].as_str().unwrap_or("(none)");
    if model_type == MISTRAL[0] && json.get("sliding_window").is_none() {
        return Err(error(
            "sliding_window",
            "is missing: write null if there is none",
        ));
    }
    Architecture::of_json(model_type).ok_or_else(|| {
        let known: Vec<&str> = (ARCHITECTURES.iter())
            .flat_map(|known| known.model_types)
            .copied()
            .collect();
        let message = format!(
            "{} is not supported; this version serves {}",
            shown(model_type),
            known.join(", ")
        );
        error("model_type", message)
    })
}

pub(in crate::model) fn error(key: &str, message: impl Into<String>) -> ModelError {
    ModelError::config(format!("config.json: {key}"), message)
}

pub(super) fn in_range(key: &str, value: usize, max: usize) -> Result<usize, ModelError> {
    match (1..=max).contains(&value) {
        true => Ok(value),
        false => Err(error(key, format!("{value} is not in 1..={max}"))),
    }
}

/// Positive and finite in the float32 that it is computed with.
pub(in crate::model) fn positive(key: &str, value: f64) -> Result<f64, ModelError> {
    match (value as f32).is_finite() && value as f32 > 0.0 {
        true => Ok(value),
        false => Err(error(key, format!("{value} is not a positive number"))),
    }
}

impl Json {
    fn resolve(self, architecture: &Architecture) -> Result<HfConfig, ModelError> {
        self.refuse_unsupported(architecture)?;
        let required = |key: &str, value: Option<usize>, gemma: usize| {
            // Gemma 3's files leave out what its class takes by default.
            let default = Some(gemma).filter(|_| architecture.name == "gemma3");
            value.or(default).ok_or_else(|| error(key, "is missing"))
        };
        let hidden_size = in_range("hidden_size", self.hidden_size, 1 << 20)?;
        let num_heads = required("num_attention_heads", self.num_attention_heads, 8)?;
        let num_heads = in_range("num_attention_heads", num_heads, 1 << 12)?;
        let default = if architecture.name == "gemma3" {
            4
        } else {
            num_heads
        };
        let num_kv_heads = self.num_key_value_heads.unwrap_or(default);
        let num_kv_heads = in_range("num_key_value_heads", num_kv_heads, num_heads)?;
        if !num_heads.is_multiple_of(num_kv_heads) {
            let message = format!("{num_kv_heads} does not divide the {num_heads} query heads");
            return Err(error("num_key_value_heads", message));
        }
        let head_dim = self.head_dim(architecture, hidden_size, num_heads)?;
        let max_position_embeddings = required(
            "max_position_embeddings",
            self.max_position_embeddings,
            1 << 17,
        )?;
        let (ropes, context_length) = self.ropes(head_dim, max_position_embeddings)?;
        let experts = self.experts()?;
        let intermediate_size = match (self.intermediate_size, experts) {
            (Some(size), _) => size,
            (None, Some(experts)) => experts.intermediate_size,
            (None, None) => return Err(error("intermediate_size", "is missing")),
        };
        let Some(rms_norm_eps) = self.rms_norm_eps.or(architecture.is_gemma.then_some(1e-6)) else {
            return Err(error("rms_norm_eps", "is missing"));
        };
        let vocab_size = required("vocab_size", self.vocab_size, 262_208)?;
        let opt_positive = |key: &str, value: Option<f64>| {
            let value = value.map(|value| positive(key, value)).transpose()?;
            Ok::<_, ModelError>(value.map(|value| value as f32))
        };
        // Other families' classes have no caps, and Gemma 2's takes these where a file names none.
        let softcap = |key: &str, value: Option<Option<f64>>, default: f64| {
            let default = (architecture.name == "gemma2").then_some(default);
            opt_positive(
                key,
                value.unwrap_or(default).filter(|_| architecture.is_gemma),
            )
        };
        let scalar = opt_positive("query_pre_attn_scalar", self.query_pre_attn_scalar)?;
        // Gemma's classes take 256 where their files name none.
        let default = if architecture.is_gemma {
            256.0
        } else {
            head_dim as f32
        };
        let scalar = scalar.filter(|_| architecture.is_gemma).unwrap_or(default);
        let model = ModelConfig {
            architecture: architecture.name,
            layers: self.layers(architecture, experts.is_some(), ropes.len())?,
            hidden_size,
            intermediate_size: in_range("intermediate_size", intermediate_size, 1 << 20)?,
            experts,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: in_range("vocab_size", vocab_size, 1 << 24)?,
            rms_norm_eps: positive("rms_norm_eps", f64::from(rms_norm_eps))? as f32,
            context_length,
            ropes,
            attention_scale: 1.0 / scalar.sqrt(),
            attention_softcap: softcap(
                "attn_logit_softcapping",
                self.attn_logit_softcapping,
                50.0,
            )?,
            logit_softcap: softcap(
                "final_logit_softcapping",
                self.final_logit_softcapping,
                30.0,
            )?,
            embedding_scale: architecture.embedding_scale(hidden_size),
            norm_offset: if architecture.is_gemma { 1.0 } else { 0.0 },
            glu: self.glu(architecture)?,
            has_qkv_bias: architecture.has_qkv_bias,
            has_qk_norm: architecture.has_qk_norm,
            has_post_norms: architecture.is_gemma,
            has_all_biases: architecture.has_all_biases,
            has_sinks: architecture.has_sinks,
        };
        // In these families the head is the embedding unless a file says otherwise.
        let is_tied = architecture.is_gemma || self.model_type == SMOLLM3;
        let has_tied_head = self.tie_word_embeddings.unwrap_or(is_tied);
        let packing = match &self.quantization_config {
            Some(config) => config.resolve()?,
            None => Packing::default(),
        };
        Ok(HfConfig {
            model,
            has_tied_head,
            packing,
        })
    }

    fn refuse_unsupported(&self, architecture: &Architecture) -> Result<(), ModelError> {
        if self.use_bidirectional_attention == Some(true) {
            let message = "only causal attention is supported: this is no generating model";
            return Err(error("use_bidirectional_attention", message));
        }
        let (key, act) = match architecture.is_gemma {
            // The older files say something else in hidden_act, which nobody reads.
            true => ("hidden_activation", &self.hidden_activation),
            false => ("hidden_act", &self.hidden_act),
        };
        let known = if architecture.is_gemma {
            "gelu_pytorch_tanh"
        } else {
            "silu"
        };
        match act.as_deref() {
            Some(other) if other != known => {
                let message = format!("{} is not supported; {known} is", shown(other));
                Err(error(key, message))
            }
            _ => Ok(()),
        }
    }

    fn glu(&self, architecture: &Architecture) -> Result<Glu, ModelError> {
        let Glu::Clamped { limit } = architecture.glu else {
            return Ok(architecture.glu);
        };
        match self.swiglu_alpha {
            Some(alpha) if alpha as f32 != 1.702 => Err(error(
                "swiglu_alpha",
                format!("{alpha} is not supported; 1.702 is"),
            )),
            _ => {
                let limit = self.swiglu_limit.unwrap_or(f64::from(limit));
                let limit = positive("swiglu_limit", limit)? as f32;
                Ok(Glu::Clamped { limit })
            }
        }
    }

    fn experts(&self) -> Result<Option<ExpertsConfig>, ModelError> {
        const TOP_K: &str = "num_experts_per_tok";
        let Some(num_experts) = self.num_local_experts.filter(|&num| num > 0) else {
            return Ok(None);
        };
        let size = self.moe_intermediate_size.or(self.intermediate_size);
        let Some((size, top_k)) = size.zip(self.num_experts_per_tok) else {
            return Err(error(TOP_K, "or the experts' intermediate size is missing"));
        };
        let num_experts = in_range("num_local_experts", num_experts, 1 << 12)?;
        Ok(Some(ExpertsConfig {
            num_experts,
            top_k: in_range(TOP_K, top_k, num_experts)?,
            intermediate_size: in_range("moe_intermediate_size", size, 1 << 20)?,
            // Qwen's files say it; others' classes always do it.
            is_normalised: self.norm_topk_prob.unwrap_or(false)
                || !self.model_type.starts_with("qwen"),
        }))
    }

    fn head_dim(
        &self,
        architecture: &Architecture,
        hidden_size: usize,
        num_heads: usize,
    ) -> Result<usize, ModelError> {
        let head_dim = match self.head_dim {
            Some(head_dim) => head_dim,
            None if architecture.is_gemma => 256,
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
}
