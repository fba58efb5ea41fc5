//! How fast decoders are, one sequence at a time.

use std::time::Instant;

use candle_core::Result;

use crate::model::Decoder;
use crate::model::one_sequence::plan;

/// Tokens a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Speed {
    /// Of a prompt, all in one step.
    pub prefill: f64,
    /// Of an answer, one a step.
    pub decode: f64,
}

const ROUNDS: usize = 3;
/// Tokens of the sequence that are computed one by one.
const DECODED: usize = 32;

/// Measures each decoder in turns, so that what else the machine does slows all alike; the fastest of three rounds counts. `tokens` are
/// one sequence that each was made for, of more than 32 tokens.
///
/// # Errors
/// If a decoder fails.
pub fn speeds(decoders: &[Decoder], tokens: &[u32]) -> Result<Vec<Speed>> {
    let mut best = vec![Speed::default(); decoders.len()];
    let (prompt, answer) = tokens.split_at(tokens.len().saturating_sub(DECODED));
    for _ in 0..ROUNDS {
        for (best, decoder) in best.iter_mut().zip(decoders) {
            best.prefill = best.prefill.max(rate(decoder, 0, &[prompt])?);
            let one_by_one: Vec<&[u32]> = answer.chunks(1).collect();
            best.decode = best.decode.max(rate(decoder, prompt.len(), &one_by_one)?);
        }
    }
    Ok(best)
}

/// Of steps that follow each other from position `first` on.
fn rate(decoder: &Decoder, first: usize, steps: &[&[u32]]) -> Result<f64> {
    let (started, mut position) = (Instant::now(), first);
    for tokens in steps {
        let last = tokens.len() as u32 - 1..tokens.len() as u32;
        let plan = plan(tokens, position as u32, last, decoder.limits.block_size);
        decoder.forward(&plan, None)?;
        position += tokens.len();
    }
    Ok((position - first) as f64 / started.elapsed().as_secs_f64())
}
