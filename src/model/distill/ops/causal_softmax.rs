//! Softmax of scaled attention scores, `[…, S, S]`, each row over the keys up to its own position.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Floats, ROWS_A_TASK, dot, floats, tensor};

pub(in super::super) struct CausalSoftmax {
    /// What scores are multiplied by.
    pub scale: f32,
    /// `S`.
    pub sequence_length: usize,
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal_softmax"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (len, scores) = (self.sequence_length, floats(scores, layout)?);
        let mut weights = vec![0.0; scores.len()];
        let rows = weights.par_chunks_mut(len).zip(scores.par_chunks(len));
        let rows = rows.with_min_len(ROWS_A_TASK).enumerate();
        rows.for_each(|(row, (weights, scores))| {
            let seen = row % len + 1;
            let (weights, scores) = (&mut weights[..seen], &scores[..seen]);
            let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (weight, score) in weights.iter_mut().zip(scores) {
                *weight = ((score - largest) * self.scale).exp();
            }
            let sum: f32 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        });
        Ok((CpuStorage::F32(weights), layout.shape().clone()))
    }

    /// `ds = scale · p (dp - Σ p dp)`; what a row does not see has no weight, and so no gradient.
    fn bwd(&self, _: &Tensor, weights: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (len, shape) = (self.sequence_length, weights.shape());
        let (weights, dy) = (Floats::of(weights)?, Floats::of(dy)?);
        let mut dx = vec![0.0; dy.len()];
        let rows = dx.par_chunks_mut(len).zip(weights.par_chunks(len));
        let rows = rows.zip(dy.par_chunks(len)).with_min_len(ROWS_A_TASK);
        rows.for_each(|((dx, weights), dy)| {
            let mean = dot(weights, dy);
            for ((dx, weight), dy) in dx.iter_mut().zip(weights).zip(dy) {
                *dx = self.scale * weight * (dy - mean);
            }
        });
        tensor(dx, shape).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradients, values};
    use super::*;

    #[test]
    fn gradients_are_those_of_differences() {
        check_gradients(&[values(&[2, 6, 3], 0.0)], |args| {
            args[0].apply_op1(CausalSoftmax {
                scale: 0.7,
                sequence_length: 3,
            })
        });
    }

    #[test]
    fn rows_see_what_is_before_them_and_sum_to_one() {
        let softmax = CausalSoftmax {
            scale: 1.0,
            sequence_length: 3,
        };
        let weights = values(&[3, 3], 0.0).apply_op1(softmax).unwrap();
        for (i, row) in weights.to_vec2::<f32>().unwrap().iter().enumerate() {
            assert!(row[i + 1..].iter().all(|&weight| weight == 0.0));
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        }
    }
}
