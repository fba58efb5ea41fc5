//! What `config.json` says of each layer.

use super::LayerConfig;
use super::architecture::Architecture;
use super::json::{Json, MISTRAL, SMOLLM3, error, in_range};
use crate::model::ModelError;
use crate::model::gguf::shown;

impl Json {
    pub(super) fn layers(
        &self,
        architecture: &Architecture,
        has_experts: bool,
        num_ropes: usize,
    ) -> Result<Vec<LayerConfig>, ModelError> {
        let num_layers = in_range("num_hidden_layers", self.num_hidden_layers, 1 << 10)?;
        for (key, len) in [
            ("no_rope_layers", self.no_rope_layers.as_ref().map(Vec::len)),
            ("layer_types", self.layer_types.as_ref().map(Vec::len)),
        ] {
            if len.is_some_and(|len| len != num_layers) {
                let message = format!("does not say something of each of the {num_layers} layers");
                return Err(error(key, message));
            }
        }
        for (key, step) in [
            ("no_rope_layer_interval", self.no_rope_layer_interval),
            ("sliding_window_pattern", self.sliding_window_pattern),
            ("decoder_sparse_step", self.decoder_sparse_step),
        ] {
            if let Some(step) = step {
                in_range(key, step, 1 << 10)?;
            }
        }
        let window = self.window(architecture)?;
        let layer = |i: usize| {
            let slides = self.slides(architecture, i)?;
            Ok(LayerConfig {
                rope_idx: match (self.turns(i), slides) {
                    (false, _) => None,
                    (true, true) => Some(num_ropes - 1),
                    (true, false) => Some(0),
                },
                window: window.filter(|_| slides),
                has_experts: has_experts && self.is_sparse(i),
            })
        };
        (0..num_layers).map(layer).collect()
    }

    /// Whether queries and keys of layer `i` turn.
    fn turns(&self, i: usize) -> bool {
        let interval = self.no_rope_layer_interval.unwrap_or(4);
        match &self.no_rope_layers {
            _ if self.model_type != SMOLLM3 => true,
            Some(turns) => turns[i] != 0,
            None => !(i + 1).is_multiple_of(interval),
        }
    }

    /// As in `transformers`: a Llama has no window, and Qwen's and SmolLM's files name one that is off.
    fn window(&self, architecture: &Architecture) -> Result<Option<usize>, ModelError> {
        let is_on = match self.has_switch() {
            true => self.use_sliding_window.unwrap_or(false),
            false => architecture.name != "llama" || MISTRAL.contains(&self.model_type.as_str()),
        };
        // What the classes take where a file names none.
        let default = match architecture.name {
            "gemma2" | "gemma3" => Some(4096),
            "gpt-oss" => Some(128),
            _ => None,
        };
        let window = self.sliding_window.unwrap_or(default).filter(|_| is_on);
        window
            .map(|window| in_range("sliding_window", window, 1 << 32))
            .transpose()
    }

    fn has_switch(&self) -> bool {
        self.model_type.starts_with("qwen") || self.model_type == SMOLLM3
    }

    /// Whether layer `i` has the model's window.
    fn slides(&self, architecture: &Architecture, i: usize) -> Result<bool, ModelError> {
        match (&self.layer_types, self.sliding_window_pattern) {
            (Some(types), _) => match types[i].as_str() {
                "full_attention" => Ok(false),
                "sliding_attention" => Ok(true),
                other => Err(error(
                    "layer_types",
                    format!("{} is not supported", shown(other)),
                )),
            },
            (None, Some(pattern)) => Ok(!(i + 1).is_multiple_of(pattern)),
            (None, None) if self.model_type == SMOLLM3 => Ok(!self.turns(i)),
            // One mask for all.
            (None, None) if self.model_type == "qwen3_moe" => Ok(true),
            (None, None) if self.has_switch() => Ok(i >= self.max_window_layers.unwrap_or(28)),
            (None, None) => Ok(architecture.windows.has_window(i)),
        }
    }

    /// Whether layer `i` has experts, in a model that has some.
    fn is_sparse(&self, i: usize) -> bool {
        let step = self.decoder_sparse_step.unwrap_or(1);
        let is_dense = |layers: &Vec<usize>| layers.contains(&i);
        (i + 1).is_multiple_of(step) && !self.mlp_only_layers.as_ref().is_some_and(is_dense)
    }
}
