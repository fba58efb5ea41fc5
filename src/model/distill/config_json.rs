//! The student's `config.json`.

use serde_json::{Map, Value, json};

use super::DistillError;
use super::params::Reader;
use super::student::fixed_divisors;
use crate::backend::cpu::Cpu;
use crate::model::rope::Divisors;
use crate::model::source::TensorSource;
use crate::model::{ModelConfig, RopeConfig};

/// That of a student with the layers `kept` of a teacher: by the teacher's own, if it is a folder, else by what is known of it.
///
/// # Errors
/// The tensor at fault.
pub fn student_config(
    own: Option<Map<String, Value>>,
    source: &dyn TensorSource,
    config: &ModelConfig,
    kept: &[usize],
    cpu: &Cpu,
) -> Result<Value, DistillError> {
    let mut json = match own {
        Some(own) => own,
        None => of_gguf(source, config, cpu)?,
    };
    json.insert("num_hidden_layers".into(), kept.len().into());
    // As they are written.
    for key in ["torch_dtype", "dtype"] {
        if json.contains_key(key) {
            json.insert(key.into(), "bfloat16".into());
        }
    }
    json.shift_remove("quantization_config");
    if let Some(types) = json.get_mut("layer_types").and_then(Value::as_array_mut) {
        *types = kept.iter().filter_map(|&i| types.get(i).cloned()).collect();
    }
    Ok(Value::Object(json))
}

fn of_gguf(
    source: &dyn TensorSource,
    config: &ModelConfig,
    cpu: &Cpu,
) -> Result<Map<String, Value>, DistillError> {
    let class = match config.architecture {
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        _ => "LlamaForCausalLM",
    };
    let mut json = json!({
        "architectures": [class],
        // These families have the names of their architectures.
        "model_type": config.architecture,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.context_length,
        "rms_norm_eps": shortest(f64::from(config.rms_norm_eps)),
        "hidden_act": "silu",
        "tie_word_embeddings": !source.has_tensor("output.weight"),
        "rope_theta": shortest(config.ropes[0].base),
        "torch_dtype": "bfloat16",
    });
    for (key, tensor) in [
        ("attention_bias", "blk.0.attn_q.bias"),
        ("mlp_bias", "blk.0.ffn_up.bias"),
    ] {
        if config.architecture == "llama" {
            json[key] = source.has_tensor(tensor).into();
        }
    }
    let reader = Reader {
        source,
        config,
        cpu,
    };
    let divisors = fixed_divisors(&reader)?;
    if let Some(scaling) = scaling(&config.ropes[0], divisors, config.context_length) {
        json["rope_scaling"] = scaling;
    }
    match json {
        Value::Object(json) => Ok(json),
        _ => unreachable!("it is written as an object: this is a bug"),
    }
}

/// Divisors that come as a tensor have no numbers that they follow from: LongRoPE's form has a place for them as they are.
fn scaling(rope: &RopeConfig, tensor: Option<Vec<f32>>, context_length: usize) -> Option<Value> {
    if let Some(divisors) = tensor {
        return Some(json!({
            "rope_type": "longrope",
            "short_factor": divisors,
            "long_factor": divisors,
            "attention_factor": rope.magnitude,
            "original_max_position_embeddings": context_length,
        }));
    }
    match &rope.divisors {
        Divisors::Yarn(yarn) => Some(json!({
            "rope_type": "yarn",
            "factor": yarn.factor,
            "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow,
            "truncate": yarn.truncate,
            "attention_factor": rope.magnitude,
            "original_max_position_embeddings": yarn.original,
        })),
        _ if rope.linear_scale != 1.0 => Some(json!({
            "rope_type": "linear",
            "factor": rope.linear_scale,
        })),
        _ => None,
    }
}

/// A number that a file had in float32, with the digits that people write.
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Yarn;
    use crate::model::rope::json::{RopeContext, RopeJson};
    use crate::ops::RopeStyle;

    fn rope() -> RopeConfig {
        RopeConfig {
            base: 10_000.0,
            rotary_dim: 8,
            linear_scale: 1.0,
            divisors: Divisors::None,
            original_length: None,
            magnitude: 1.0,
            style: RopeStyle::Half,
        }
    }

    fn read(scaling: Value) -> RopeConfig {
        let json: RopeJson = serde_json::from_value(scaling).unwrap();
        let context = RopeContext {
            key: "rope_scaling",
            base: 10_000.0,
            rotary_dim: 8,
            max_position_embeddings: 64,
            original_max_position_embeddings: None,
        };
        json.resolve(&context).unwrap().0
    }

    #[test]
    fn scalings_are_read_as_they_were_written() {
        assert!(scaling(&rope(), None, 64).is_none());
        let linear = RopeConfig {
            linear_scale: 4.0,
            ..rope()
        };
        let yarn = RopeConfig {
            divisors: Divisors::Yarn(Yarn {
                factor: 4.0,
                beta_fast: 32.0,
                beta_slow: 1.0,
                original: 16.0,
                truncate: true,
            }),
            magnitude: 1.1,
            ..rope()
        };
        for rope in [linear, yarn] {
            assert_eq!(read(scaling(&rope, None, 64).unwrap()), rope);
        }
        // Whatever the length.
        let divisors = vec![1.0, 2.0, 4.0, 8.0];
        let read = read(scaling(&rope(), Some(divisors.clone()), 64).unwrap());
        let want = Divisors::ByLength {
            original: 64,
            short: divisors.clone(),
            long: divisors,
        };
        assert_eq!((read.divisors, read.magnitude), (want, 1.0));
    }

    #[test]
    fn numbers_are_as_short_as_their_float32_allows() {
        assert_eq!(shortest(f64::from(1e-5f32)), 1e-5);
        assert_eq!(shortest(100_000.0), 100_000.0);
    }
}
