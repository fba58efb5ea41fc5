//! The numbers that make the one decoder a particular model.

use super::ModelError;
use super::gguf::{GgufError, Metadata, shown};
use super::rope::RopeConfig;
use crate::ops::{KvDtype, RopeStyle};

/// Shape of a Llama-like decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The decoder's layers, in order.
    pub layers: Vec<LayerConfig>,
    /// Width of the residual stream, `H`.
    pub hidden_size: usize,
    /// Width of the gated feed-forward, `I`.
    pub intermediate_size: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of a head, `D`.
    pub head_dim: usize,
    /// Tokens in the vocabulary, `V`.
    pub vocab_size: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f32,
    /// Tokens the model was made for.
    pub context_length: usize,
    /// Whether q, k and v must have biases (Qwen2). Without this, too, a layer adds the biases that its file has.
    pub qkv_bias: bool,
    /// Whether each head of q and k is normalised (Qwen3).
    pub qk_norm: bool,
    /// Rotary embedding.
    pub rope: RopeConfig,
}

/// What may differ between the layers of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerConfig {
    /// Whether queries and keys turn (not in every layer of SmolLM3).
    pub has_rope: bool,
    /// Tokens that a row attends to, itself included, where those are not all before it.
    pub window: Option<usize>,
}

/// What the name of an architecture says beyond its numbers.
pub(super) struct Architecture {
    pub(super) name: &'static str,
    /// In GGUF files.
    rope: RopeStyle,
    pub(super) qkv_bias: bool,
    pub(super) qk_norm: bool,
}

/// Architectures whose GGUF layout is known. In `llama` files query and key rows are permuted so that rotary pairs are
/// neighbours (llama.cpp's converter); Mistral and SmolLM2 come as `llama`.
pub(super) const ARCHITECTURES: [Architecture; 5] = [
    Architecture {
        name: "llama",
        rope: RopeStyle::Interleaved,
        qkv_bias: false,
        qk_norm: false,
    },
    Architecture {
        name: "qwen2",
        rope: RopeStyle::Half,
        qkv_bias: true,
        qk_norm: false,
    },
    Architecture {
        name: "qwen3",
        rope: RopeStyle::Half,
        qkv_bias: false,
        qk_norm: true,
    },
    Architecture {
        name: "phi3",
        rope: RopeStyle::Half,
        qkv_bias: false,
        qk_norm: false,
    },
    Architecture {
        name: "smollm3",
        rope: RopeStyle::Interleaved,
        qkv_bias: false,
        qk_norm: false,
    },
];

pub(super) const MAX_HEAD_DIM: usize = 256;

impl Architecture {
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|known| known.name == name)
    }
}

impl ModelConfig {
    /// Reads and checks the metadata of a GGUF file.
    ///
    /// # Errors
    /// Each names the key: it is missing, of another type, out of range, or asks for what this decoder does not compute.
    pub fn from_gguf(metadata: Metadata<'_>) -> Result<Self, ModelError> {
        let arch = metadata.get_str("general.architecture")?;
        let Some(architecture) = Architecture::find(arch) else {
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
        refuse_unsupported(&keys)?;
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
        Ok(Self {
            layers: layers(&keys, num_layers)?,
            hidden_size,
            intermediate_size: keys.size("feed_forward_length", 1 << 20)?,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: vocab_size(&keys)?,
            rms_norm_eps: keys.positive("attention.layer_norm_rms_epsilon")?,
            context_length: keys.size("context_length", 1 << 24)?,
            qkv_bias: architecture.qkv_bias,
            qk_norm: architecture.qk_norm,
            rope: super::rope::gguf::read(&keys, head_dim, architecture.rope)?,
        })
    }

    /// Bytes of keys and values that one token takes in a cache of `dtype`.
    pub fn kv_bytes_per_token(&self, dtype: KvDtype) -> usize {
        self.layers.len() * 2 * self.num_kv_heads * dtype.bytes_per_head(self.head_dim)
    }
}

/// The keys of one architecture.
pub(super) struct Keys<'a> {
    pub(super) metadata: Metadata<'a>,
    arch: &'a str,
}

impl Keys<'_> {
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.arch)
    }

    pub(super) fn error(&self, name: &str, message: impl Into<String>) -> ModelError {
        ModelError::config(self.key(name), message)
    }

    pub(super) fn missing(&self, name: &str) -> ModelError {
        GgufError::MissingKey(shown(&self.key(name))).into()
    }

    pub(super) fn opt_size(&self, name: &str, max: usize) -> Result<Option<usize>, ModelError> {
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

    pub(super) fn opt_positive(&self, name: &str) -> Result<Option<f32>, ModelError> {
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

/// Keys under which another computation hides behind the same tensors, or the tensors are others altogether.
fn refuse_unsupported(keys: &Keys<'_>) -> Result<(), ModelError> {
    let metadata = keys.metadata;
    if metadata.opt_u32(&keys.key("expert_count"))?.unwrap_or(0) > 0 {
        return Err(keys.error("expert_count", "mixtures of experts are not supported yet"));
    }
    if metadata.opt_bool(&keys.key("attention.causal"))? == Some(false) {
        let message = "only causal attention is supported: this is no generating model";
        return Err(keys.error("attention.causal", message));
    }
    Ok(())
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

fn layers(keys: &Keys<'_>, num_layers: usize) -> Result<Vec<LayerConfig>, ModelError> {
    const WINDOW: &str = "attention.sliding_window";
    // Zero turns the window off.
    let window = keys.metadata.opt_u32(&keys.key(WINDOW))?;
    let window = window.filter(|&window| window > 0);
    let layer = |i: usize| LayerConfig {
        // As in llama.cpp: in every fourth nothing turns, for which there is no key.
        has_rope: keys.arch != "smollm3" || i % 4 != 3,
        window: window.map(|window| window as usize),
    };
    Ok((0..num_layers).map(layer).collect())
}
