//! Which models can be teachers.

use crate::model::rope::Divisors;
use crate::model::{ModelConfig, ModelError};
use crate::ops::RopeStyle;

const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Refuses a model of which the student would compute something else than the decoder does, or whose folder could not say what the
/// student is.
///
/// # Errors
/// What the model has that students cannot have.
pub fn check_supported(config: &ModelConfig) -> Result<(), ModelError> {
    let refuse = |what: String| {
        let message = format!("{what}; no student of such a model can be trained yet");
        Err(ModelError::config("teacher", message))
    };
    if !ARCHITECTURES.contains(&config.architecture) {
        return refuse(format!(
            "is of the architecture {} and not of {}",
            config.architecture,
            ARCHITECTURES.join(", ")
        ));
    }
    if config.experts.is_some() {
        return refuse("has routed experts".into());
    }
    if let Some(i) = config
        .layers
        .iter()
        .position(|layer| layer.window.is_some())
    {
        return refuse(format!("has a sliding window in layer {i}"));
    }
    let rope = &config.ropes[0];
    if rope.style == RopeStyle::Interleaved && rope.rotary_dim != config.head_dim {
        return refuse(format!(
            "turns {} of a head's {} values",
            rope.rotary_dim, config.head_dim
        ));
    }
    if rope.divisors == Divisors::InTensors {
        return refuse("has LongRoPE's divisors as tensors".into());
    }
    let usual = 1.0 / (config.head_dim as f32).sqrt();
    if (config.attention_scale / usual - 1.0).abs() > 1e-5 {
        return refuse(format!(
            "scales attention by {} and not by {usual}",
            config.attention_scale
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::distill::student::tests::tiny_config;

    #[test]
    fn what_a_student_cannot_have_is_named() {
        check_supported(&tiny_config()).unwrap();
        let error = |change: fn(&mut ModelConfig)| {
            let mut config = tiny_config();
            change(&mut config);
            check_supported(&config).unwrap_err().to_string()
        };
        assert!(error(|c| c.architecture = "gemma3").contains("gemma3"));
        assert!(error(|c| c.layers[1].window = Some(8)).contains("layer 1"));
        assert!(error(|c| c.attention_scale = 1.0).contains("attention"));
        assert!(error(|c| c.ropes[0].divisors = Divisors::InTensors).contains("LongRoPE"));
    }
}
