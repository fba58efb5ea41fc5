//! How far a student's distribution of the next token is from its teacher's, and the gradient of that.
//!
//! Forward KL at temperature 1, `KL(t ‖ s) = Σ p_t (ln p_t - ln p_s)` over the whole vocabulary. Source: Hinton, Vinyals, Dean,
//! "Distilling the Knowledge in a Neural Network", 2015 (arXiv 1503.02531). Its gradient by the student's logits is `p_s - p_t`, so
//! nothing of a row of logits is kept for differentiating: it is computed where the student's logits were.

use std::iter::Sum;
use std::ops::Add;
use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use super::ops::{floats, floats_mut};

/// Of some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Divergence {
    /// The sum of their KL divergences, in nats.
    pub kl: f64,
    /// Those whose likeliest token is the teacher's, too; of equally likely ones it is the first.
    pub num_agreed: usize,
    pub num_rows: usize,
}

impl Add for Divergence {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            kl: self.kl + other.kl,
            num_agreed: self.num_agreed + other.num_agreed,
            num_rows: self.num_rows + other.num_rows,
        }
    }
}

impl Sum for Divergence {
    fn sum<I: Iterator<Item = Self>>(rows: I) -> Self {
        rows.fold(Self::default(), Add::add)
    }
}

/// Compares logits, `[T, V]` each, and puts the gradient of `scale · Σ KL` where the student's were.
pub(super) fn divergence(student: &Tensor, teacher: &Tensor, scale: f32) -> Result<Divergence> {
    let op = Kl {
        scale,
        told: Mutex::default(),
    };
    student.inplace_op2(teacher, &op)?;
    let told = op.told.into_inner();
    Ok(told.expect("nothing panics under this lock: this is a bug"))
}

struct Kl {
    scale: f32,
    told: Mutex<Divergence>,
}

impl InplaceOp2 for Kl {
    fn name(&self) -> &'static str {
        "kl"
    }

    fn cpu_fwd(
        &self,
        student: &mut CpuStorage,
        student_layout: &Layout,
        teacher: &CpuStorage,
        teacher_layout: &Layout,
    ) -> Result<()> {
        let (_, width) = student_layout.shape().dims2()?;
        if student_layout.shape() != teacher_layout.shape() {
            bail!("kl: student and teacher must have logits of as many rows and tokens");
        }
        let student = floats_mut(student, student_layout)?;
        let rows = student.par_chunks_mut(width);
        let rows = rows.zip(floats(teacher, teacher_layout)?.par_chunks(width));
        let row = |scratch: &mut Vec<f32>, (student, teacher): (&mut [f32], &[f32])| {
            row(student, teacher, self.scale, scratch)
        };
        // One by one in their order, whichever thread computed them.
        let told: Vec<Divergence> = rows.map_init(Vec::new, row).collect();
        *self
            .told
            .lock()
            .expect("nothing panics under this lock: this is a bug") = told.into_iter().sum();
        Ok(())
    }
}

/// Values that are summed in float32.
const CHUNK: usize = 128;

fn row(student: &mut [f32], teacher: &[f32], scale: f32, weights: &mut Vec<f32>) -> Divergence {
    let ((s_max, s_best), (t_max, t_best)) = (largest(student), largest(teacher));
    weights.clear();
    weights.resize(teacher.len(), 0.0);
    let (mut s_sum, mut t_sum, mut cross) = (0.0f64, 0.0f64, 0.0f64);
    let chunks = student.chunks_mut(CHUNK).zip(teacher.chunks(CHUNK));
    for ((student, teacher), weights) in chunks.zip(weights.chunks_mut(CHUNK)) {
        for ((s, t), weight) in student.iter_mut().zip(teacher).zip(&mut *weights) {
            let (below_s, below_t) = (*s - s_max, t - t_max);
            *s = exp(below_s);
            *weight = exp(below_t);
            // Not yet summed: the loop stays free of a chain.
            cross += f64::from(*weight * (below_t - below_s));
        }
        s_sum += f64::from(student.iter().sum::<f32>());
        t_sum += f64::from(weights.iter().sum::<f32>());
    }
    let (s_scale, t_scale) = (scale / s_sum as f32, scale / t_sum as f32);
    for (s, weight) in student.iter_mut().zip(weights) {
        *s = *s * s_scale - *weight * t_scale;
    }
    Divergence {
        kl: cross / t_sum - t_sum.ln() + s_sum.ln(),
        num_agreed: usize::from(s_best == t_best),
        num_rows: 1,
    }
}

fn exp(x: f32) -> f32 {
    x.exp()
}

fn largest(logits: &[f32]) -> (f32, usize) {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let best = logits.iter().position(|&x| x == largest);
    (largest, best.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn logits(seed: f64, len: usize) -> Vec<f32> {
        (0..len)
            .map(|i| (3.0 * ((i as f64 + seed) * 1.7).sin()) as f32)
            .collect()
    }

    fn naive(student: &[f32], teacher: &[f32]) -> f64 {
        let softmax = |logits: &[f32]| -> Vec<f64> {
            let exps: Vec<f64> = logits.iter().map(|&x| f64::from(x).exp()).collect();
            let sum: f64 = exps.iter().sum();
            exps.into_iter().map(|x| x / sum).collect()
        };
        let (s, t) = (softmax(student), softmax(teacher));
        t.iter().zip(s).map(|(t, s)| t * (t.ln() - s.ln())).sum()
    }

    #[test]
    fn it_is_the_sum_over_the_vocabulary_and_the_gradient_is_that_of_differences() {
        let len = 300;
        let (student, teacher) = (logits(0.0, len), logits(5.0, len));
        let tensor = |values: &[f32]| Tensor::from_slice(values, (1, len), &Device::Cpu).unwrap();
        let gradient = tensor(&student);
        let told = divergence(&gradient, &tensor(&teacher), 0.5).unwrap();
        let want = naive(&student, &teacher);
        assert!((told.kl - want).abs() < 1e-5 * want, "{} {want}", told.kl);
        assert_eq!((told.num_rows, told.num_agreed), (1, 0));
        let gradient = gradient.to_vec2::<f32>().unwrap().remove(0);
        for i in [0, 17, 299] {
            let at = |by: f32| {
                let mut moved = student.clone();
                moved[i] += by;
                naive(&moved, &teacher)
            };
            let want = 0.5 * (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((f64::from(gradient[i]) - want).abs() < 1e-5, "{i}");
        }
    }

    #[test]
    fn equal_logits_diverge_by_nothing_and_agree() {
        let tensor = Tensor::from_vec(logits(0.0, 10), (2, 5), &Device::Cpu).unwrap();
        let gradient = tensor.copy().unwrap();
        let told = divergence(&gradient, &tensor, 1.0).unwrap();
        assert!(told.kl.abs() < 1e-9);
        assert_eq!((told.num_rows, told.num_agreed), (2, 2));
        let gradient = gradient.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!(gradient.iter().all(|g| g.abs() < 1e-7));
    }
}
