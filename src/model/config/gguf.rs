//! The metadata of a GGUF file, to the numbers of the one decoder.

use super::architecture::{ARCHITECTURES, Architecture, Windows};
use super::{ExpertsConfig, LayerConfig, MAX_HEAD_DIM, ModelConfig};
use crate::model::ModelError;
use crate::model::gguf::{GgufError, Metadata, shown};
use crate::model::rope::{self, Divisors, RopeConfig};

impl ModelConfig {
    /// Reads and checks the metadata of a GGUF file.
    ///
    /// # Errors
    /// Each names the key: it is missing, of another type, out of range, or asks for what this decoder does not compute.
    pub fn from_gguf(metadata: Metadata<'_>) -> Result<Self, ModelError> {
        let arch = metadata.get_str("general.architecture")?;
        let Some(architecture) = Architecture::of_gguf(arch) else {
            let known = ARCHITECTURES.map(|known| known.name).join(", ");
            return Err(ModelError::config(
                "general.architecture",
                format!(
                    "{} is not supported; this version serves {known}",
                    shown(arch)
                ),
            ));
        };
        let keys = Keys { metadata, arch };
        if metadata.opt_bool(&keys.key("attention.causal"))? == Some(false) {
            let message = "only causal attention is supported: this is no generating model";
            return Err(keys.error("attention.causal", message));
        }
        let hidden_size = keys.size("embedding_length", 1 << 20)?;
        let num_heads = keys.size("attention.head_count", 1 << 12)?;
        let num_kv_heads = keys
            .opt_size("attention.head_count_kv", num_heads)?
            .unwrap_or(num_heads);
        if !num_heads.is_multiple_of(num_kv_heads) {
            let message = format!("{num_kv_heads} does not divide the {num_heads} query heads");
            return Err(keys.error("attention.head_count_kv", message));
        }
        let head_dim = head_dim(&keys, hidden_size, num_heads)?;
        let num_layers = keys.size("block_count", 1 << 10)?;
        let experts = experts(&keys)?;
        let ropes = ropes(&keys, head_dim, architecture)?;
        // Files have none where every layer has experts.
        let intermediate_size = match (keys.opt_size("feed_forward_length", 1 << 20)?, experts) {
            (Some(size), _) => size,
            (None, Some(experts)) => experts.intermediate_size,
            (None, None) => return Err(keys.missing("feed_forward_length")),
        };
        Ok(Self {
            architecture: architecture.name,
            layers: layers(
                &keys,
                num_layers,
                architecture,
                experts.is_some(),
                ropes.len(),
            )?,
            hidden_size,
            intermediate_size,
            experts,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: vocab_size(&keys)?,
            rms_norm_eps: keys.positive("attention.layer_norm_rms_epsilon")?,
            context_length: keys.size("context_length", 1 << 24)?,
            ropes,
            attention_scale: keys
                .opt_positive("attention.scale")?
                .unwrap_or(attention_scale(
                    arch,
                    num_layers,
                    hidden_size,
                    num_heads,
                    head_dim,
                )),
            attention_softcap: softcap(&keys, "attn_logit_softcapping", 50.0)?,
            logit_softcap: softcap(&keys, "final_logit_softcapping", 30.0)?,
            embedding_scale: architecture.embedding_scale(hidden_size),
            // Converters add Gemma's.
            norm_offset: 0.0,
            glu: architecture.glu,
            has_qkv_bias: architecture.has_qkv_bias,
            has_qk_norm: architecture.has_qk_norm,
            has_post_norms: architecture.is_gemma,
            has_all_biases: architecture.has_all_biases,
            has_sinks: architecture.has_sinks,
        })
    }
}

/// The keys of one architecture.
pub(in crate::model) struct Keys<'a> {
    pub(in crate::model) metadata: Metadata<'a>,
    arch: &'a str,
}

impl Keys<'_> {
    pub(in crate::model) fn arch(&self) -> &str {
        self.arch
    }

    pub(in crate::model) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    pub(in crate::model) fn error(&self, name: &str, message: impl Into<String>) -> ModelError {
        ModelError::config(self.key(name), message)
    }

    pub(in crate::model) fn missing(&self, name: &str) -> ModelError {
        GgufError::MissingKey(shown(&self.key(name))).into()
    }

    pub(in crate::model) fn opt_size(
        &self,
        name: &str,
        max: usize,
    ) -> Result<Option<usize>, ModelError> {
        let value = self.metadata.opt_u32(&self.key(name))?;
        match value.map(|value| value as usize) {
            Some(value) if value == 0 || value > max => {
                Err(self.error(name, format!("{value} is not in 1..={max}")))
            }
            value => Ok(value),
        }
    }

    fn size(&self, name: &str, max: usize) -> Result<usize, ModelError> {
        self.opt_size(name, max)?.ok_or_else(|| self.missing(name))
    }

    pub(in crate::model) fn opt_positive(&self, name: &str) -> Result<Option<f32>, ModelError> {
        match self.metadata.opt_f32(&self.key(name))? {
            Some(value) if !(value.is_finite() && value > 0.0) => {
                Err(self.error(name, format!("{value} is not a positive number")))
            }
            value => Ok(value),
        }
    }

    fn positive(&self, name: &str) -> Result<f32, ModelError> {
        self.opt_positive(name)?.ok_or_else(|| self.missing(name))
    }
}

fn head_dim(keys: &Keys<'_>, hidden_size: usize, num_heads: usize) -> Result<usize, ModelError> {
    let (name, head_dim) = match keys.opt_size("attention.key_length", MAX_HEAD_DIM)? {
        Some(head_dim) => ("attention.key_length", head_dim),
        None if hidden_size.is_multiple_of(num_heads) => {
            ("attention.head_count", hidden_size / num_heads)
        }
        None => {
            let message = format!("{num_heads} heads do not divide a width of {hidden_size}");
            return Err(keys.error("attention.head_count", message));
        }
    };
    if !head_dim.is_multiple_of(8) || head_dim > MAX_HEAD_DIM {
        let message = format!(
            "makes heads of {head_dim} values, but they must be a multiple of 8 up to {MAX_HEAD_DIM}"
        );
        return Err(keys.error(name, message));
    }
    match keys.opt_size("attention.value_length", MAX_HEAD_DIM)? {
        Some(length) if length != head_dim => Err(keys.error(
            "attention.value_length",
            format!("{length} is not the key length, {head_dim}"),
        )),
        _ => Ok(head_dim),
    }
}

/// A file without a tokenizer says how many tokens there are.
fn vocab_size(keys: &Keys<'_>) -> Result<usize, ModelError> {
    const TOKENS: &str = "tokenizer.ggml.tokens";
    match keys.metadata.opt_str_array(TOKENS)? {
        Some(tokens) if tokens.is_empty() => Err(ModelError::config(TOKENS, "is empty")),
        Some(tokens) => Ok(tokens.len()),
        None => keys.size("vocab_size", 1 << 24),
    }
}

fn layers(
    keys: &Keys<'_>,
    num_layers: usize,
    architecture: &Architecture,
    has_experts: bool,
    num_ropes: usize,
) -> Result<Vec<LayerConfig>, ModelError> {
    const PATTERN: &str = "attention.sliding_window_pattern";
    let window = keys
        .metadata
        .opt_u32(&keys.key("attention.sliding_window"))?;
    // Older files of Gemma 2 say nothing. Zero turns the window off.
    let window = window.or((keys.arch == "gemma2").then_some(4096));
    let window = window.filter(|&window| window > 0);
    let windows = match keys.metadata.opt_u32(&keys.key(PATTERN))? {
        None => architecture.windows,
        Some(0) => Windows::All,
        Some(n) => Windows::AllButEvery(n as usize),
    };
    let layer = |i: usize| {
        let window = window.filter(|_| windows.has_window(i));
        LayerConfig {
            // As in llama.cpp: in every fourth nothing turns, for which there is no key.
            rope_idx: match (keys.arch == "smollm3" && i % 4 == 3, window) {
                (true, _) => None,
                (false, Some(_)) => Some(num_ropes - 1),
                (false, None) => Some(0),
            },
            window: window.map(|window| window as usize),
            has_experts,
        }
    };
    Ok((0..num_layers).map(layer).collect())
}

fn experts(keys: &Keys<'_>) -> Result<Option<ExpertsConfig>, ModelError> {
    const TOP_K: &str = "expert_used_count";
    if keys
        .metadata
        .opt_u32(&keys.key("expert_count"))?
        .unwrap_or(0)
        == 0
    {
        return Ok(None);
    }
    let num_experts = keys.size("expert_count", 1 << 12)?;
    let intermediate_size = match keys.opt_size("expert_feed_forward_length", 1 << 20)? {
        Some(size) => size,
        None => keys.size("feed_forward_length", 1 << 20)?,
    };
    Ok(Some(ExpertsConfig {
        num_experts,
        top_k: keys.size(TOP_K, num_experts)?,
        intermediate_size,
        is_normalised: true,
    }))
}

/// Gemma 3's layers with a window turn by frequencies of their own, which most files do not name and nothing scales.
fn ropes(
    keys: &Keys<'_>,
    head_dim: usize,
    architecture: &Architecture,
) -> Result<Vec<RopeConfig>, ModelError> {
    let rope = rope::gguf::read(keys, head_dim, architecture.rope)?;
    const LOCAL: &str = "rope.freq_base_swa";
    let base = keys.opt_positive(LOCAL)?;
    if keys.arch != "gemma3" {
        return match base {
            Some(base) if base != rope.base as f32 => {
                let message = format!("{base} is not rope.freq_base, which is not supported here");
                Err(keys.error(LOCAL, message))
            }
            _ => Ok(vec![rope]),
        };
    }
    let local = RopeConfig {
        base: base.map_or(10_000.0, f64::from),
        linear_scale: 1.0,
        divisors: Divisors::None,
        magnitude: 1.0,
        ..rope.clone()
    };
    Ok(vec![rope, local])
}

/// A cap of Gemma's, whose older files do not name those of Gemma 2.
fn softcap(keys: &Keys<'_>, name: &str, default: f32) -> Result<Option<f32>, ModelError> {
    let default = (keys.arch == "gemma2").then_some(default);
    Ok(keys.opt_positive(name)?.or(default))
}

/// The largest Gemma models, which only their numbers of layers tell, scale by the width of a head as it would be if heads shared
/// the model's width (`query_pre_attn_scalar`).
fn attention_scale(
    arch: &str,
    num_layers: usize,
    hidden_size: usize,
    num_heads: usize,
    head_dim: usize,
) -> f32 {
    let width = match (arch, num_layers) {
        ("gemma2", 46) | ("gemma3", 62) => hidden_size as f32 / num_heads as f32,
        _ => head_dim as f32,
    };
    1.0 / width.sqrt()
}
