//! AdamW, the pace of learning, and the bound of gradients.

use std::f64::consts::PI;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};
use rayon::prelude::*;

use super::ops::{Floats, floats, floats_mut};
use super::params::Params;

const BETAS: (f64, f64) = (0.9, 0.95);
const EPSILON: f32 = 1e-8;
/// Of matrices.
const WEIGHT_DECAY: f64 = 0.01;
/// Gradients of a larger norm, all of them together, are scaled to it.
const MAX_NORM: f64 = 1.0;
const VALUES_A_TASK: usize = 1 << 14;

/// How fast each step learns.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// At its highest.
    pub learning_rate: f64,
    /// Steps in all.
    pub num_steps: usize,
}

impl Schedule {
    /// Of step `i`, from 0: it rises in a line over the first tenth of the steps, and then falls as a cosine to a tenth.
    pub fn rate(&self, i: usize) -> f64 {
        let warm_up = self.num_steps.div_ceil(10);
        if i < warm_up {
            return self.learning_rate * (i + 1) as f64 / warm_up as f64;
        }
        let done = (i + 1 - warm_up) as f64 / (self.num_steps - warm_up).max(1) as f64;
        let cosine = 0.5 * (1.0 + (PI * done.min(1.0)).cos());
        self.learning_rate * (0.1 + 0.9 * cosine)
    }
}

/// Adam with decoupled weight decay. Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019.
pub(super) struct AdamW {
    /// Of each parameter: the mean of its gradients, and that of their squares.
    pub moments: Vec<(Vec<f32>, Vec<f32>)>,
}

impl AdamW {
    pub fn new(params: &Params) -> Self {
        let moments = params.iter().map(|(_, param)| {
            let zeros = || vec![0.0; param.elem_count()];
            (zeros(), zeros())
        });
        Self {
            moments: moments.collect(),
        }
    }

    /// Moves the parameters against their gradients at `rate`, as the step `i`, from 0.
    pub fn update(
        &mut self,
        params: &Params,
        gradients: &[Tensor],
        rate: f64,
        i: usize,
    ) -> Result<()> {
        let norm = norm(gradients)?;
        if !norm.is_finite() {
            candle_core::bail!(
                "the gradient of step {} is {norm}: take a lower --learning-rate",
                i + 1
            );
        }
        let count = i as i32 + 1;
        let params = params.iter().zip(gradients).zip(&mut self.moments);
        for (((_, param), gradient), moments) in params {
            let decays = param.rank() > 1;
            let step = Step {
                gradient_scale: (MAX_NORM / norm.max(MAX_NORM)) as f32,
                kept: (1.0 - rate * if decays { WEIGHT_DECAY } else { 0.0 }) as f32,
                rate: (rate / (1.0 - BETAS.0.powi(count))) as f32,
                square_scale: (1.0 / (1.0 - BETAS.1.powi(count))) as f32,
                moments: Mutex::new(moments),
            };
            param.inplace_op2(gradient, &step)?;
        }
        Ok(())
    }
}

/// Of one parameter.
struct Step<'a> {
    gradient_scale: f32,
    kept: f32,
    rate: f32,
    square_scale: f32,
    moments: Mutex<&'a mut (Vec<f32>, Vec<f32>)>,
}

impl InplaceOp2 for Step<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<()> {
        let (param, gradient) = (
            floats_mut(param, param_layout)?,
            floats(gradient, gradient_layout)?,
        );
        let mut moments = self.moments.lock().expect("taken once: this is a bug");
        let (first, second) = &mut **moments;
        let (beta1, beta2) = (BETAS.0 as f32, BETAS.1 as f32);
        let values = param
            .par_chunks_mut(VALUES_A_TASK)
            .zip(gradient.par_chunks(VALUES_A_TASK));
        let moments = first
            .par_chunks_mut(VALUES_A_TASK)
            .zip(second.par_chunks_mut(VALUES_A_TASK));
        values.zip(moments).for_each(|((w, g), (m, v))| {
            for (((w, g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = g * self.gradient_scale;
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                let size = (*v * self.square_scale).sqrt() + EPSILON;
                *w = *w * self.kept - self.rate * *m / size;
            }
        });
        Ok(())
    }
}

/// The root of the sum of all squares.
fn norm(gradients: &[Tensor]) -> Result<f64> {
    let mut sum = 0.0;
    for gradient in gradients {
        let values = Floats::of(gradient)?;
        let squares =
            |values: &[f32]| -> f64 { values.iter().map(|&x| f64::from(x) * f64::from(x)).sum() };
        let parts: Vec<f64> = values.par_chunks(VALUES_A_TASK).map(squares).collect();
        sum += parts.iter().sum::<f64>();
    }
    Ok(sum.sqrt())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn the_rate_rises_to_the_highest_and_falls_to_a_tenth_of_it() {
        let schedule = Schedule {
            learning_rate: 2.0,
            num_steps: 100,
        };
        assert!((schedule.rate(0) - 0.2).abs() < 1e-9);
        assert!((schedule.rate(9) - 2.0).abs() < 1e-9);
        assert!((schedule.rate(99) - 0.2).abs() < 1e-9);
        let falling = |i: usize| schedule.rate(i) > schedule.rate(i + 1);
        assert!((10..99).all(falling));
        let once = Schedule {
            learning_rate: 2.0,
            num_steps: 1,
        };
        assert!((once.rate(0) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_first_step_moves_by_the_rate_against_the_sign_whatever_the_size() {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        let mut params = Params::default();
        let param = params.add("a".into(), tensor(&[1.0, -1.0, 0.5])).unwrap();
        let mut optimiser = AdamW::new(&params);
        let gradient = tensor(&[300.0, -400.0, 1e-3]);
        optimiser.update(&params, &[gradient], 0.1, 0).unwrap();
        let moved = param.to_vec1::<f32>().unwrap();
        for (got, want) in moved.iter().zip([0.9, -0.9, 0.4]) {
            assert!((got - want).abs() < 2e-3, "{moved:?}");
        }
        // The norm is bounded before the moments learn of it.
        let first = &optimiser.moments[0].0;
        assert!((first[0] - 0.06).abs() < 1e-5 && (first[1] + 0.08).abs() < 1e-5);
    }
}
