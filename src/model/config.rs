//! The numbers that make the one decoder a particular model.

use super::ModelError;
use super::gguf::Metadata;
use crate::ops::RopeStyle;

/// Shape of a Llama-like decoder. Biases and q/k norms are not here: a layer has them if the file has their tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Decoder layers.
    pub num_layers: usize,
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
    /// Rotary embedding.
    pub rope: RopeConfig,
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub base: f64,
    /// Values of a head that turn.
    pub rotary_dim: usize,
    /// Positions are divided by this (linear scaling).
    pub linear_scale: f64,
    /// Which values form a pair.
    pub style: RopeStyle,
}

/// Architectures whose GGUF layout is known, and how their heads are paired. In `llama` files query and key rows are
/// permuted so that pairs are neighbours (llama.cpp's converter); Mistral and SmolLM2 come as `llama`.
const ARCHITECTURES: [(&str, RopeStyle); 3] = [
    ("llama", RopeStyle::Interleaved),
    ("qwen2", RopeStyle::Half),
    ("qwen3", RopeStyle::Half),
];

impl ModelConfig {
    /// Reads and checks the metadata of a GGUF file.
    pub fn from_gguf(metadata: Metadata<'_>) -> Result<Self, ModelError> {
        let arch = metadata.get_str("general.architecture")?;
        let Some(&(_, style)) = ARCHITECTURES.iter().find(|(name, _)| *name == arch) else {
            let known = ARCHITECTURES.map(|(name, _)| name).join(", ");
            return Err(ModelError::config(
                "general.architecture",
                format!("{arch:?} is not supported; this version serves {known}"),
            ));
        };
        let key = |name: &str| format!("{arch}.{name}");
        let size = |name: &str, max: usize| -> Result<usize, ModelError> {
            let value = metadata.get_u32(&key(name))? as usize;
            if value == 0 || value > max {
                return Err(ModelError::config(
                    key(name),
                    format!("{value} is not in 1..={max}"),
                ));
            }
            Ok(value)
        };
        if metadata
            .opt_u32(&key("expert_count"))?
            .is_some_and(|count| count > 0)
        {
            return Err(ModelError::config(
                key("expert_count"),
                "mixtures of experts are not supported yet",
            ));
        }
        let hidden_size = size("embedding_length", 1 << 20)?;
        let num_heads = size("attention.head_count", 1 << 12)?;
        let num_kv_heads = match metadata.opt_u32(&key("attention.head_count_kv"))? {
            Some(_) => size("attention.head_count_kv", num_heads)?,
            None => num_heads,
        };
        if !num_heads.is_multiple_of(num_kv_heads) {
            return Err(ModelError::config(
                key("attention.head_count_kv"),
                format!("{num_kv_heads} does not divide the {num_heads} query heads"),
            ));
        }
        let head_dim = match metadata.opt_u32(&key("attention.key_length"))? {
            Some(_) => size("attention.key_length", 256)?,
            None => hidden_size / num_heads,
        };
        if !head_dim.is_multiple_of(8) || !(8..=256).contains(&head_dim) {
            return Err(ModelError::config(
                key("attention.key_length"),
                format!(
                    "heads of {head_dim} values are not supported; multiples of 8 up to 256 are"
                ),
            ));
        }
        if metadata
            .opt_u32(&key("attention.value_length"))?
            .is_some_and(|length| length as usize != head_dim)
        {
            return Err(ModelError::config(
                key("attention.value_length"),
                "must equal the key length",
            ));
        }
        let rms_norm_eps = metadata.get_f32(&key("attention.layer_norm_rms_epsilon"))?;
        if !(rms_norm_eps.is_finite() && rms_norm_eps > 0.0) {
            return Err(ModelError::config(
                key("attention.layer_norm_rms_epsilon"),
                "must be a positive number",
            ));
        }
        Ok(Self {
            num_layers: size("block_count", 1 << 10)?,
            hidden_size,
            intermediate_size: size("feed_forward_length", 1 << 20)?,
            num_heads,
            num_kv_heads,
            head_dim,
            vocab_size: metadata
                .get_str_array("tokenizer.ggml.tokens")
                .map(|tokens| tokens.len())
                .or_else(
                    // A file without a tokenizer says how many tokens there are.
                    |_| {
                        metadata
                            .get_u32(&key("vocab_size"))
                            .map(|size| size as usize)
                    },
                )?,
            rms_norm_eps,
            context_length: size("context_length", 1 << 24)?,
            rope: RopeConfig {
                base: f64::from(
                    metadata
                        .opt_f32(&key("rope.freq_base"))?
                        .unwrap_or(10_000.0),
                ),
                rotary_dim: match metadata.opt_u32(&key("rope.dimension_count"))? {
                    Some(_) => size("rope.dimension_count", head_dim)?,
                    None => head_dim,
                },
                linear_scale: rope_scale(metadata, arch)?,
                style,
            },
        })
    }

    /// Bytes of keys and values that one token takes in the cache (float16).
    pub fn kv_bytes_per_token(&self) -> usize {
        self.num_layers * 2 * self.num_kv_heads * self.head_dim * 2
    }
}

/// Linear scaling is honoured; Llama 3's comes as a tensor (`rope_freqs`); any other kind is refused.
fn rope_scale(metadata: Metadata<'_>, arch: &str) -> Result<f64, ModelError> {
    let kind = format!("{arch}.rope.scaling.type");
    match metadata.opt_str(&kind)? {
        None | Some("none") => Ok(1.0),
        Some("linear") => Ok(f64::from(
            metadata.get_f32(&format!("{arch}.rope.scaling.factor"))?,
        )),
        Some(other) => Err(ModelError::config(
            kind,
            format!("{other:?} is not supported; none and linear are"),
        )),
    }
}
