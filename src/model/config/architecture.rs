//! What the name of an architecture says beyond a model's numbers.

use crate::ops::{Glu, RopeStyle};

/// A family of models.
pub(super) struct Architecture {
    /// `general.architecture` of GGUF files.
    pub(super) name: &'static str,
    /// `model_type` in config.json.
    pub(super) model_types: &'static [&'static str],
    /// In GGUF files.
    pub(super) rope: RopeStyle,
    pub(super) has_qkv_bias: bool,
    pub(super) has_qk_norm: bool,
    /// Norms of outputs, embeddings scaled by the root of their width, GeGLU, a tied head.
    pub(super) is_gemma: bool,
    /// The router, the experts and the attention's output have biases, too.
    pub(super) has_all_biases: bool,
    pub(super) has_sinks: bool,
    pub(super) glu: Glu,
    pub(super) windows: Windows,
}

/// Which layers have a sliding window, where a file does not say it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Windows {
    /// All, where the model has one.
    All,
    /// All but every n-th.
    AllButEvery(usize),
}

/// Attention with rotary embeddings and a feed-forward with SwiGLU. In GGUF files query and key rows are permuted so that
/// rotary pairs are neighbours (llama.cpp's converter); Mistral, Mixtral and SmolLM2 come as `llama` there.
const LLAMA: Architecture = Architecture {
    name: "llama",
    model_types: &["llama", "mistral", "mixtral"],
    rope: RopeStyle::Interleaved,
    has_qkv_bias: false,
    has_qk_norm: false,
    is_gemma: false,
    has_all_biases: false,
    has_sinks: false,
    glu: Glu::Silu,
    windows: Windows::All,
};

/// All that are known.
pub(super) const ARCHITECTURES: [Architecture; 9] = [
    LLAMA,
    Architecture {
        name: "qwen2",
        model_types: &["qwen2"],
        rope: RopeStyle::Half,
        has_qkv_bias: true,
        ..LLAMA
    },
    Architecture {
        name: "qwen3",
        model_types: &["qwen3"],
        rope: RopeStyle::Half,
        has_qk_norm: true,
        ..LLAMA
    },
    Architecture {
        name: "qwen3moe",
        model_types: &["qwen3_moe"],
        rope: RopeStyle::Half,
        has_qk_norm: true,
        ..LLAMA
    },
    Architecture {
        name: "phi3",
        model_types: &["phi3"],
        rope: RopeStyle::Half,
        ..LLAMA
    },
    Architecture {
        name: "smollm3",
        model_types: &["smollm3"],
        ..LLAMA
    },
    Architecture {
        name: "gemma2",
        model_types: &["gemma2"],
        rope: RopeStyle::Half,
        is_gemma: true,
        glu: Glu::GeluTanh,
        windows: Windows::AllButEvery(2),
        ..LLAMA
    },
    Architecture {
        name: "gemma3",
        model_types: &["gemma3_text", "gemma3"],
        rope: RopeStyle::Half,
        has_qk_norm: true,
        is_gemma: true,
        glu: Glu::GeluTanh,
        windows: Windows::AllButEvery(6),
        ..LLAMA
    },
    Architecture {
        name: "gpt-oss",
        model_types: &["gpt_oss"],
        rope: RopeStyle::Half,
        has_qkv_bias: true,
        has_all_biases: true,
        has_sinks: true,
        glu: Glu::Clamped { limit: 7.0 },
        windows: Windows::AllButEvery(2),
        ..LLAMA
    },
];

impl Architecture {
    /// The one that GGUF files call `name`.
    pub(super) fn of_gguf(name: &str) -> Option<&'static Self> {
        ARCHITECTURES.iter().find(|known| known.name == name)
    }

    /// The one that config.json calls `model_type`.
    pub(super) fn of_json(model_type: &str) -> Option<&'static Self> {
        let is_named = |known: &&Self| known.model_types.contains(&model_type);
        ARCHITECTURES.iter().find(is_named)
    }

    /// What embeddings of `hidden_size` values are multiplied by.
    pub(super) fn embedding_scale(&self, hidden_size: usize) -> f32 {
        match self.is_gemma {
            true => (hidden_size as f32).sqrt(),
            false => 1.0,
        }
    }
}

impl Windows {
    /// Whether layer `i` has the model's window.
    pub(super) fn has_window(self, i: usize) -> bool {
        match self {
            Self::All => true,
            Self::AllButEvery(n) => !(i + 1).is_multiple_of(n),
        }
    }
}
