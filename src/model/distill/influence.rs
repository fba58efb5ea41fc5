//! Which layers of a model do the most.

use std::sync::Arc;

use super::DistillError;
use super::layer::Layer;
use super::ops::Floats;
use super::params::{Params, Reader};
use super::student::{embedded, rope_table};
use crate::backend::cpu::Cpu;
use crate::model::ModelConfig;
use crate::model::source::TensorSource;

/// Each layer's influence, `1 - mean cos(x, y)` over the rows of its input x and its output y, where `tokens` are sequences of
/// `sequence_length` one after the other. Layers are read one at a time. Source: Men et al., "ShortGPT: Layers in Large Language Models
/// are More Redundant Than You Expect", 2024 (arXiv 2403.03853), block influence.
///
/// # Errors
/// The tensor at fault.
pub fn block_influence(
    source: &dyn TensorSource,
    config: &ModelConfig,
    tokens: &[u32],
    sequence_length: usize,
    cpu: &Cpu,
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<f64>, DistillError> {
    let reader = Reader {
        source,
        config,
        cpu,
    };
    let rope = rope_table(&reader, sequence_length)?;
    let table = reader.tensor(
        "token_embd.weight",
        &[config.vocab_size, config.hidden_size],
    )?;
    let mut hidden = embedded(&table, tokens)?;
    drop(table);
    let mut influence = Vec::with_capacity(config.layers.len());
    for i in 0..config.layers.len() {
        let layer = Layer::read(&reader, &mut Params::default(), i, i)?;
        let next = layer.forward(&hidden, config, &Arc::clone(&rope), sequence_length)?;
        let next = next.detach();
        let (x, y) = (Floats::of(&hidden)?, Floats::of(&next)?);
        let rows = x
            .chunks(config.hidden_size)
            .zip(y.chunks(config.hidden_size));
        let cosines: f64 = rows.map(|(x, y)| cosine(x, y)).sum();
        influence.push(1.0 - cosines / tokens.len() as f64);
        drop((x, y));
        hidden = next;
        progress(i + 1, config.layers.len());
    }
    Ok(influence)
}

fn cosine(x: &[f32], y: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b);
        products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    dot(x, y) / (dot(x, x) * dot(y, y)).sqrt().max(f64::MIN_POSITIVE)
}

/// The first and the last layer, and the most influential of those between, `count` in all and in order; of equal ones the first.
pub fn most_influential(influence: &[f64], count: usize) -> Vec<usize> {
    let last = influence.len().saturating_sub(1);
    let mut between: Vec<usize> = (1..last).collect();
    between.sort_by(|&a, &b| influence[b].total_cmp(&influence[a]));
    between.truncate(count.saturating_sub(2));
    let mut kept = between;
    kept.extend([0, last]);
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_stay_and_of_the_others_those_that_do_the_most() {
        let influence = [0.0, 0.3, 0.1, 0.3, 0.2, 0.0];
        assert_eq!(most_influential(&influence, 2), [0, 5]);
        assert_eq!(most_influential(&influence, 3), [0, 1, 5]);
        assert_eq!(most_influential(&influence, 5), [0, 1, 3, 4, 5]);
    }
}
