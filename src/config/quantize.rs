//! What weights are quantised to.

use clap::ValueEnum;

use super::ConfigError;

/// A quantisation of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Quantize {
    /// 4 bits, scales and minima with 6 bits, more bits for what is most sensitive (as llama.cpp's Q4_K_M)
    #[value(name = "q4_k")]
    Q4K,
    /// 4 bits
    #[value(name = "q4_0")]
    Q4_0,
    /// 8 bits
    #[value(name = "q8_0")]
    Q8_0,
}

impl Quantize {
    pub(super) fn named(name: &str) -> Result<Self, ConfigError> {
        Self::from_str(name, false).map_err(|_| {
            ConfigError::value(
                "quantize",
                format!("{name:?} is not known; use q4_k, q4_0 or q8_0"),
            )
        })
    }
}
