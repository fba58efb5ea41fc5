//! How large steps are.

use super::ConfigError;
use super::range::within;
use super::raw::RawConfig;

/// How large steps are: what was asked for, or what suits a device.
#[derive(Clone, Copy, Debug)]
pub struct StepLimits {
    /// Sequences that run at once.
    pub max_num_seqs: usize,
    /// Tokens a step.
    pub max_num_batched_tokens: usize,
}

impl RawConfig {
    /// With `num_seqs` and at least `num_tokens` where nothing else is asked for.
    pub(super) fn step_limits(
        &self,
        num_seqs: usize,
        num_tokens: usize,
    ) -> Result<StepLimits, ConfigError> {
        let asked = (self.max_num_seqs, self.max_num_batched_tokens);
        // Who asks for small steps, and not for how many sequences, gets as many as fit.
        let num_seqs = asked.1.map_or(num_seqs, |tokens| tokens.clamp(1, num_seqs));
        let max_num_seqs = within("max_num_seqs", asked.0.unwrap_or(num_seqs), 1, 65_536)?;
        let num_tokens = asked.1.unwrap_or_else(|| num_tokens.max(2 * max_num_seqs));
        let max_num_batched_tokens = within("max_num_batched_tokens", num_tokens, 1, 1 << 20)?;
        if max_num_batched_tokens < max_num_seqs {
            let message = format!(
                "{max_num_batched_tokens} is below max_num_seqs ({max_num_seqs}): every running sequence needs a token a step"
            );
            return Err(ConfigError::value("max_num_batched_tokens", message));
        }
        Ok(StepLimits {
            max_num_seqs,
            max_num_batched_tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_as_large_as_was_asked_whatever_the_device() {
        for (seqs, tokens, on_cpu, on_card) in [
            (None, None, (64, 256), (256, 2048)),
            (Some(8), Some(32), (8, 32), (8, 32)),
            (Some(200), None, (200, 400), (200, 2048)),
            (None, Some(100), (64, 100), (100, 100)),
        ] {
            let config = RawConfig {
                max_num_seqs: seqs,
                max_num_batched_tokens: tokens,
                ..RawConfig::default()
            };
            let config = config.resolve().unwrap().models.remove(0);
            let sizes = |limits: StepLimits| (limits.max_num_seqs, limits.max_num_batched_tokens);
            assert_eq!(
                (sizes(config.on_cpu), sizes(config.on_card)),
                (on_cpu, on_card)
            );
        }
    }
}
