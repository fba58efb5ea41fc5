//! How contexts longer than those of training are made: what the frequencies are divided by, pair by pair.

use std::f64::consts::PI;

/// Llama 3.1's scaling: long waves are stretched by `factor`, short ones stay, those between are blended. Source: "The Llama
/// 3 Herd of Models", 2024, as released with the weights.
pub(in crate::model) struct Llama3 {
    pub factor: f64,
    pub low: f64,
    pub high: f64,
    /// Positions of the training before.
    pub original: f64,
}

impl Llama3 {
    /// `[rotary_dim / 2]`.
    pub fn divisors(&self, base: f64, rotary_dim: usize) -> Vec<f32> {
        let divisor = |i: usize| {
            let wave_length = 2.0 * PI * base.powf(2.0 * i as f64 / rotary_dim as f64);
            let turns = self.original / wave_length;
            let kept = ((turns - self.low) / (self.high - self.low)).clamp(0.0, 1.0);
            blended(kept, self.factor)
        };
        (0..rotary_dim / 2).map(divisor).collect()
    }
}

/// YaRN: pairs that turn more than `beta_fast` times in `original` positions stay, those that turn less than `beta_slow` times
/// are stretched by `factor`, those between are blended by their index. Source: Peng et al., "YaRN: Efficient Context Window
/// Extension of Large Language Models", 2023.
#[derive(Clone, Debug, PartialEq)]
pub struct Yarn {
    /// How many times as many positions there are.
    pub factor: f64,
    /// Turns above which a pair stays as it is.
    pub beta_fast: f64,
    /// Turns below which a pair is stretched by the whole factor.
    pub beta_slow: f64,
    /// Positions of the training before.
    pub original: f64,
    /// Whether the first and last of those between are whole numbers.
    pub truncate: bool,
}

impl Yarn {
    /// `[rotary_dim / 2]`.
    pub fn divisors(&self, base: f64, rotary_dim: usize) -> Vec<f32> {
        // The pair that turns so many times.
        let pair = |turns: f64| {
            rotary_dim as f64 * (self.original / (turns * 2.0 * PI)).ln() / (2.0 * base.ln())
        };
        let (mut low, mut high) = (pair(self.beta_fast), pair(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        let (low, high) = (low.max(0.0), high.min(rotary_dim as f64 - 1.0));
        // So that equal ones do not divide by zero.
        let width = if low == high { 1e-3 } else { high - low };
        let divisor = |i: usize| {
            let stretched = ((i as f64 - low) / width).clamp(0.0, 1.0);
            blended(1.0 - stretched, self.factor)
        };
        (0..rotary_dim / 2).map(divisor).collect()
    }

    /// What queries and keys are multiplied by for a weight (1 if the model names none).
    pub fn magnitude(factor: f64, weight: f64) -> f64 {
        match factor <= 1.0 {
            true => 1.0,
            false => 0.1 * weight * factor.ln() + 1.0,
        }
    }
}

/// LongRoPE's magnitude where the model names none: `sqrt(1 + ln(factor) / ln(original))`. Source: Ding et al., "LongRoPE:
/// Extending LLM Context Window Beyond 2 Million Tokens", 2024, as released with Phi-3.
pub(in crate::model) fn longrope_magnitude(factor: f64, original: f64) -> f64 {
    match factor <= 1.0 {
        true => 1.0,
        false => (1.0 + factor.ln() / original.ln()).sqrt(),
    }
}

/// Divides a frequency so that it is `kept` of what it was, and the rest of it is stretched by `factor`.
fn blended(kept: f64, factor: f64) -> f32 {
    (1.0 / ((1.0 - kept) / factor + kept)) as f32
}
