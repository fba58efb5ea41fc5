//! Where to compute.

use super::ConfigError;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first card that computes the model; without one, the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// That card.
    Cuda(usize),
}

impl DeviceChoice {
    /// `auto`, `cpu`, `cuda` (the first card) or `cuda:N`.
    pub(super) fn named(name: &str) -> Result<Self, ConfigError> {
        let ordinal = || name.strip_prefix("cuda:")?.parse().ok();
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            _ => ordinal().map(Self::Cuda).ok_or_else(|| {
                let message = format!("{name:?} is none of auto, cpu and cuda:N, as cuda:0");
                ConfigError::value("device", message)
            }),
        }
    }
}
