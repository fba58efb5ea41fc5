//! How well a model foresees a text.

use candle_core::{Result, bail};

use super::Decoder;
use super::one_sequence::plan;

/// Negative log-likelihoods of a text's tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Their sum, in nats.
    pub nll: f64,
    /// The sum of their squares.
    pub nll_squared: f64,
    /// How many there are.
    pub num_tokens: usize,
}

impl Score {
    /// `e` to the mean.
    pub fn perplexity(&self) -> f64 {
        (self.nll / self.num_tokens as f64).exp()
    }

    /// The standard error of the perplexity, were tokens independent.
    pub fn standard_error(&self) -> f64 {
        let num = self.num_tokens as f64;
        let mean = self.nll / num;
        let variance = (self.nll_squared / num - mean * mean).max(0.0);
        self.perplexity() * (variance / (num - 1.0).max(1.0)).sqrt()
    }
}

/// Computes windows of `window` tokens, each on its own and in one step, and scores the second half of each, which has enough
/// before it; a rest of less than a window is left out. With `bos`, that stands in the place of each window's first token. As
/// llama.cpp's `perplexity` tool does it, so that the figures compare.
///
/// The decoder must have been made for steps and samples of a window. `progress` is told how many windows are done, of how many.
///
/// # Errors
/// If there is no whole window, or the decoder fails.
pub fn perplexity(
    decoder: &Decoder,
    tokens: &[u32],
    window: usize,
    bos: Option<u32>,
    mut progress: impl FnMut(usize, usize),
) -> Result<Score> {
    let windows = tokens.chunks_exact(window);
    let num_windows = windows.len();
    if num_windows == 0 {
        bail!(
            "the text has {} tokens; a window takes {window}",
            tokens.len()
        );
    }
    let mut score = Score::default();
    for (i, tokens) in windows.enumerate() {
        let mut tokens = tokens.to_vec();
        if let Some(bos) = bos {
            tokens[0] = bos;
        }
        let first = window / 2;
        let scored = first as u32..window as u32 - 1;
        let plan = plan(&tokens, 0, scored, decoder.limits.block_size);
        let Some(logits) = decoder.forward(&plan, None)? else {
            bail!("a step with samples gives logits: this is a bug");
        };
        for (row, next) in logits.to_rows()?.iter().zip(&tokens[first + 1..]) {
            let nll = negative_log_likelihood(row, *next);
            score.nll += nll;
            score.nll_squared += nll * nll;
            score.num_tokens += 1;
        }
        progress(i + 1, num_windows);
    }
    Ok(score)
}

fn negative_log_likelihood(logits: &[f32], token: u32) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |&x: &f32| f64::from(x - largest).exp();
    let sum: f64 = logits.iter().map(exp).sum();
    sum.ln() + f64::from(largest) - f64::from(logits[token as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_are_those_of_the_softmax() {
        let logits = [1.0f32, 2.0, 3.0];
        let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        for (i, &x) in logits.iter().enumerate() {
            let want = -(f64::from(x).exp() / total).ln();
            assert!((negative_log_likelihood(&logits, i as u32) - want).abs() < 1e-9);
        }
        let score = Score {
            nll: 4.0,
            nll_squared: 8.0,
            num_tokens: 2,
        };
        assert!((score.perplexity() - 2f64.exp()).abs() < 1e-9);
        assert_eq!(score.standard_error(), 0.0);
    }
}
