//! LoRA adapters as PEFT writes them: a folder with adapter_config.json and adapter_model.safetensors.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ::safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::Value;

use super::gguf::shown;
use super::rope::with_neighbouring_pairs;
use super::safetensors::{floats, part_of};
use super::{ModelConfig, ModelError, Weights};
use crate::backend::Device;
use crate::ops::{CardMatrices, LowRank, RopeStyle};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

/// What an adapter adds to each projection.
pub struct LoraWeights {
    /// By the projection's name in GGUF files, without `.weight`.
    parts: BTreeMap<String, LowRank>,
    /// Where the parts are on a card.
    on_card: Option<Arc<CardMatrices>>,
}

#[derive(Deserialize)]
struct Json {
    peft_type: Option<String>,
    lora_alpha: f32,
    #[serde(default)]
    use_rslora: bool,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// Keys that ask for more than low-rank additions, and the values that do not.
const OFF: [(&str, &[&str]); 14] = [
    ("bias", &["\"none\""]),
    // Others take something off the base, which stays as it is here.
    (
        "init_lora_weights",
        &["true", "false", "\"gaussian\"", "\"eva\"", "\"orthogonal\""],
    ),
    ("use_dora", &["false"]),
    ("lora_bias", &["false"]),
    ("fan_in_fan_out", &["false"]),
    ("modules_to_save", &["[]"]),
    ("alpha_pattern", &["{}"]),
    ("trainable_token_indices", &["[]", "{}"]),
    ("layer_replication", &["[]"]),
    ("target_parameters", &["[]"]),
    ("use_qalora", &["false"]),
    ("use_bdlora", &["false"]),
    ("alora_invocation_tokens", &["[]"]),
    ("arrow_config", &["{}"]),
];

impl LoraWeights {
    /// Reads the adapter in `folder` for a model of `config` and `weights`.
    ///
    /// # Errors
    /// Each names the file, and the key or tensor at fault: the adapter is for another model, or adds what is not computed here.
    pub fn load(
        folder: &Path,
        config: &ModelConfig,
        weights: &Weights,
    ) -> Result<Self, ModelError> {
        let json = Json::read(&folder.join(CONFIG))?;
        let path = folder.join(TENSORS);
        // Not mapped: a file that somebody still writes must not end a server that runs.
        let bytes = read(&path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| {
            let message = format!(
                "{error}: the file is truncated, damaged or no safetensors file (an unfinished download, a Git LFS pointer?)"
            );
            ModelError::file(&path, message)
        })?;
        let shapes: BTreeMap<&str, (usize, usize)> = weights.projections().collect();
        let mut parts = BTreeMap::new();
        for key in tensors.names() {
            let fault = |message: String| ModelError::tensor(shown(key), message);
            let Some((module, is_b)) = module(key) else {
                return Err(fault("is no lora_A or lora_B of a linear layer".into()));
            };
            if is_b {
                // Read with its partner; one without is named there.
                let partner = key.replace(".lora_B.", ".lora_A.");
                if !tensors.names().contains(&&*partner) {
                    return Err(fault(format!("is there, but {} is not", shown(&partner))));
                }
                continue;
            }
            let name = part_of(module)
                .filter(|name| shapes.contains_key(&**name))
                .ok_or_else(|| {
                    fault("is of no part of this model that adapters are added to".into())
                })?;
            let partner = key.replace(".lora_A.", ".lora_B.");
            let (a, a_shape) = values(&tensors, key)?;
            let (mut b, b_shape) = values(&tensors, &partner)?;
            let (outputs, inputs) = shapes[&*name];
            let rank = a_shape[0];
            if a_shape != [rank, inputs] || b_shape != [outputs, rank] || rank == 0 {
                return Err(fault(format!(
                    "is {a_shape:?} with {b_shape:?}, but the model's projection is [{outputs}, {inputs}]"
                )));
            }
            let has_neighbours = config.ropes[0].style == RopeStyle::Interleaved;
            if has_neighbours
                && [".attn_q", ".attn_k"]
                    .iter()
                    .any(|part| name.ends_with(part))
            {
                b = with_neighbouring_pairs(&b, outputs / config.head_dim, rank);
            }
            let scale = match json.use_rslora {
                true => json.lora_alpha / (rank as f32).sqrt(),
                false => json.lora_alpha / rank as f32,
            };
            let part =
                LowRank::new(a, &b, rank, scale).map_err(|error| fault(error.to_string()))?;
            if parts.insert(name, part).is_some() {
                return Err(fault("is of a part that another tensor is of, too".into()));
            }
        }
        if parts.is_empty() {
            return Err(ModelError::file(&path, "holds no adapter"));
        }
        let on_card = match &weights.device {
            Device::Cpu => None,
            Device::Cuda(cuda) => {
                let own = parts.iter_mut().map(|(name, part)| (&**name, part));
                let put = LowRank::put_on_card(own, weights.activation, cuda);
                Some(put.map_err(|error| ModelError::file(&path, error.to_string()))?)
            }
        };
        Ok(Self { parts, on_card })
    }

    /// Gives a card's memory back. Steps with the adapter fail until it is there again.
    pub fn leave_card(&self) {
        if let Some(matrices) = &self.on_card {
            matrices.leave_card();
        }
    }

    /// Puts an adapter that has left its card where `weights` are, which are those that it was read for.
    ///
    /// # Errors
    /// If there is no room.
    pub fn enter_card(&self, weights: &Weights) -> candle_core::Result<()> {
        match (&self.on_card, &weights.device) {
            (Some(matrices), Device::Cuda(cuda)) => matrices.enter_card(cuda),
            _ => Ok(()),
        }
    }

    /// What is added to the projection that GGUF files call `name`, without `.weight`.
    pub fn part(&self, name: &str) -> Option<&LowRank> {
        self.parts.get(name)
    }
}

impl Json {
    fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = read(path)?;
        let json: Self = serde_json::from_slice(&bytes)
            .map_err(|error| ModelError::file(path, error.to_string()))?;
        let refuse = |key: &str, message: String| {
            Err(ModelError::config(format!("{CONFIG}: {key}"), message))
        };
        if json.peft_type.as_deref().is_some_and(|ty| ty != "LORA") {
            let ty = json.peft_type.as_deref().unwrap_or_default();
            return refuse(
                "peft_type",
                format!("{} is not supported; LORA is", shown(ty)),
            );
        }
        if !json.lora_alpha.is_finite() {
            return refuse("lora_alpha", format!("{} is no number", json.lora_alpha));
        }
        for (key, known) in OFF {
            let value = json.rest.get(key).filter(|value| !value.is_null());
            if let Some(value) = value.filter(|value| !known.contains(&&*value.to_string())) {
                let value = shown(&value.to_string());
                return refuse(key, format!("{value} is not supported; {} is", known[0]));
            }
        }
        Ok(json)
    }
}

/// A whole file; anything but a file is an error, and not waited for.
fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    let is_file = std::fs::metadata(path)
        .map_err(ModelError::open(path))?
        .is_file();
    match is_file {
        true => std::fs::read(path).map_err(ModelError::open(path)),
        false => Err(ModelError::file(path, "is no file")),
    }
}

/// The module that a tensor is of, and whether it is the B of its pair.
fn module(key: &str) -> Option<(&str, bool)> {
    let key = key.strip_prefix("base_model.model.").unwrap_or(key);
    let stem = key.strip_suffix(".weight")?;
    let stem = stem.strip_suffix(".default").unwrap_or(stem);
    match (stem.strip_suffix(".lora_A"), stem.strip_suffix(".lora_B")) {
        (Some(module), _) => Some((module, false)),
        (_, Some(module)) => Some((module, true)),
        _ => None,
    }
}

/// The values and the shape of a matrix.
fn values(tensors: &SafeTensors<'_>, key: &str) -> Result<(Vec<f32>, Vec<usize>), ModelError> {
    let fault = |message: String| ModelError::tensor(shown(key), message);
    let view = tensors
        .tensor(key)
        .map_err(|_| fault("is missing".into()))?;
    let shape = view.shape().to_vec();
    if shape.len() != 2 {
        return Err(fault(format!("is {shape:?}, which is no matrix")));
    }
    let values = floats(view.dtype(), view.data())
        .ok_or_else(|| fault(format!("has the type {:?}; floats are known", view.dtype())))?;
    Ok((values, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_found_under_all_names_that_peft_has_written() {
        let q = "model.layers.0.self_attn.q_proj";
        for (key, is_b) in [
            (format!("base_model.model.{q}.lora_A.weight"), false),
            (format!("base_model.model.{q}.lora_B.default.weight"), true),
            (format!("{q}.lora_A.weight"), false),
        ] {
            assert_eq!(module(&key), Some((q, is_b)));
        }
        assert_eq!(module("base_model.model.lm_head.lora_embedding_A"), None);
        assert_eq!(part_of(q).as_deref(), Some("blk.0.attn_q"));
        assert_eq!(part_of("lm_head"), None);
    }
}
