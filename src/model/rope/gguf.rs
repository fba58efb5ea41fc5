//! The `rope.…` keys of a GGUF file.

use super::scaling::Yarn;
use super::{Divisors, RopeConfig};
use crate::model::ModelError;
use crate::model::config::Keys;
use crate::model::gguf::shown;
use crate::ops::RopeStyle;

const TYPE: &str = "rope.scaling.type";
const FACTOR: &str = "rope.scaling.factor";
const ORIGINAL: &str = "rope.scaling.original_context_length";

/// Linear scaling is meant where a factor stands without a type, as in llama.cpp. Llama 3's and LongRoPE's come as tensors
/// (`rope_freqs`, `rope_factors_short` and `rope_factors_long`); any other kind is refused.
pub(in crate::model) fn read(
    keys: &Keys<'_>,
    head_dim: usize,
    style: RopeStyle,
) -> Result<RopeConfig, ModelError> {
    let number = |name: &str| Ok::<_, ModelError>(keys.opt_positive(name)?.map(f64::from));
    let mut config = RopeConfig {
        base: number("rope.freq_base")?.unwrap_or(10_000.0),
        rotary_dim: rotary_dim(keys, head_dim)?,
        linear_scale: 1.0,
        divisors: Divisors::None,
        original_length: keys.opt_size(ORIGINAL, 1 << 24)?,
        magnitude: number("rope.scaling.attn_factor")?.unwrap_or(1.0),
        style,
    };
    // The second name is that of older files.
    let factor = number(FACTOR)?.or(number("rope.scale_linear")?);
    match (keys.metadata.opt_str(&keys.key(TYPE))?, factor) {
        (Some("none"), _) | (None, None) => {}
        (Some("longrope"), _) => config.divisors = Divisors::InTensors,
        (Some("linear") | None, Some(factor)) => config.linear_scale = factor,
        (Some("yarn"), Some(factor)) => {
            let original = config
                .original_length
                .ok_or_else(|| keys.missing(ORIGINAL))?;
            let scaling = Yarn {
                factor,
                beta_fast: number("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                beta_slow: number("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                original: original as f64,
                // The model's own definition; llama.cpp has no key for it.
                truncate: keys.arch() != "gpt-oss",
            };
            config.divisors = Divisors::Yarn(scaling);
            config.magnitude *= Yarn::magnitude(factor, 1.0);
        }
        (Some("linear" | "yarn"), None) => return Err(keys.missing(FACTOR)),
        (Some(other), _) => {
            let message = format!(
                "{} is not supported; none, linear, yarn and longrope are",
                shown(other)
            );
            return Err(keys.error(TYPE, message));
        }
    }
    Ok(config)
}

fn rotary_dim(keys: &Keys<'_>, head_dim: usize) -> Result<usize, ModelError> {
    const NAME: &str = "rope.dimension_count";
    let rotary_dim = keys.opt_size(NAME, head_dim)?.unwrap_or(head_dim);
    if !rotary_dim.is_multiple_of(2) {
        return Err(keys.error(NAME, format!("{rotary_dim} is odd: values turn in pairs")));
    }
    Ok(rotary_dim)
}
