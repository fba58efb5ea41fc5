//! Root-mean-square normalisation.

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `out[t, i] = x[t, i] / sqrt(mean_j x[t, j]² + eps) · weight[i]`: out and x `[T, H]` f32, weight `[H]`.
///
/// Squares are summed in f32: a row with |x| above about 1.8e19 overflows and comes out as zeros.
/// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
///
/// # Errors
/// If the shapes do not fit.
pub fn rms_norm(out: &Tensor, x: &Tensor, weight: &[f32], eps: f32, cpu: &Cpu) -> Result<()> {
    let (num_rows, _) = rows_and_columns("rms_norm: x", x)?;
    expect_dims("rms_norm: x", x, &[num_rows, weight.len()])?;
    expect_dims("rms_norm: out", out, &[num_rows, weight.len()])?;
    out.inplace_op2(x, &RmsNorm { weight, eps, cpu })
}

/// [`rms_norm`] in place over every group of D values, D = weight.len(): the norm of queries and keys by head, with x
/// `[T, heads · D]` f32 and weight `[D]`.
///
/// # Errors
/// If x's last dimension is no multiple of D.
pub fn rms_norm_inplace(x: &Tensor, weight: &[f32], eps: f32, cpu: &Cpu) -> Result<()> {
    let (_, width) = rows_and_columns("rms_norm: x", x)?;
    if weight.is_empty() || !width.is_multiple_of(weight.len()) {
        bail!(
            "rms_norm: x has rows of {width}, which is no multiple of the weight's {}",
            weight.len()
        );
    }
    x.inplace_op1(&RmsNorm { weight, eps, cpu })
}

struct RmsNorm<'a> {
    weight: &'a [f32],
    eps: f32,
    cpu: &'a Cpu,
}

impl RmsNorm<'_> {
    /// Normalises every row of `data`, which `fill(first_element, rows)` may write first.
    fn rows(&self, data: &mut [f32], fill: &(dyn Fn(usize, &mut [f32]) + Sync)) {
        let width = self.weight.len();
        let chunk_len = self.cpu.rows_per_task(data.len() / width, width) * width;
        self.cpu.for_each_chunk(data, chunk_len, &|i, rows| {
            fill(i * chunk_len, rows);
            self.cpu.dispatch(Normalise {
                rows,
                weight: self.weight,
                eps: self.eps,
            });
        });
    }
}

impl InplaceOp1 for RmsNorm<'_> {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        self.rows(slice_mut::<f32>("rms_norm: x", x, layout)?, &|_, _| ());
        Ok(())
    }
}

impl InplaceOp2 for RmsNorm<'_> {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let x = slice::<f32>("rms_norm: x", x, x_layout)?;
        if x.is_empty() {
            return Ok(());
        }
        self.rows(
            slice_mut::<f32>("rms_norm: out", out, out_layout)?,
            &|start, rows| {
                rows.copy_from_slice(&x[start..][..rows.len()]);
            },
        );
        Ok(())
    }
}

struct Normalise<'a> {
    rows: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.weight.len();
        let (weight, weight_rest) = self.weight.as_chunks::<8>();
        for row in self.rows.chunks_exact_mut(width) {
            let (row, rest) = row.as_chunks_mut::<8>();
            let mut squares = s.splat(0.0);
            for x in row.iter() {
                let x = s.load(x);
                squares = s.fma(x, x, squares);
            }
            let squares = rest.iter().fold(s.sum(squares), |sum, x| sum + x * x);
            let scale = 1.0 / (squares / width as f32 + self.eps).sqrt();
            for (x, w) in row.iter_mut().zip(weight) {
                s.store(s.mul(s.mul(s.load(x), s.splat(scale)), s.load(w)), x);
            }
            for (x, w) in rest.iter_mut().zip(weight_rest) {
                *x = *x * scale * w;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    fn naive(x: &[f32], weight: &[f32], eps: f64) -> Vec<f64> {
        let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / x.len() as f64;
        x.iter()
            .zip(weight)
            .map(|(&x, &w)| f64::from(x) / (mean + eps).sqrt() * f64::from(w))
            .collect()
    }

    #[test]
    fn rows_are_within_a_millionth_of_the_formula_and_the_same_everywhere() {
        for width in [64, 576, 13] {
            let mut random = Random::new(7);
            let (x, weight) = (random.floats(60 * width, 4.0), random.floats(width, 2.0));
            let mut all = Vec::new();
            for cpu in cpus() {
                let (buffer, out) = view(&vec![0.0; x.len()], (60, width));
                rms_norm(&out, &tensor(&x, (60, width)), &weight, 1e-5, &cpu).unwrap();
                buffer.assert_margins_untouched();
                let (buffer, inplace) = view(&x, (15, 4 * width));
                rms_norm_inplace(&inplace, &weight, 1e-5, &cpu).unwrap();
                buffer.assert_margins_untouched();
                assert_eq!(bits(&out), bits(&inplace));
                for (row, got) in out.to_vec2::<f32>().unwrap().iter().enumerate() {
                    for (got, want) in
                        got.iter()
                            .zip(naive(&x[row * width..][..width], &weight, 1e-5))
                    {
                        assert!(
                            (f64::from(*got) - want).abs() <= 1e-6 * want.abs().max(1.0),
                            "{got} {want}"
                        );
                    }
                }
                all.push(bits(&out));
            }
            assert!(
                all.iter().all(|one| one == &all[0]),
                "instructions and threads change no bit"
            );
        }
    }

    #[test]
    fn a_width_that_is_no_multiple_of_the_weight_is_an_error() {
        let cpu = Cpu::new(1).unwrap();
        let x = tensor(&[1.0; 10], (1, 10));
        assert!(
            rms_norm_inplace(&x, &[1.0; 4], 1e-5, &cpu)
                .unwrap_err()
                .to_string()
                .contains("no multiple")
        );
        assert!(rms_norm_inplace(&x, &[], 1e-5, &cpu).is_err());
        assert!(rms_norm(&tensor(&[1.0; 10], (1, 10)), &x, &[1.0; 4], 1e-5, &cpu).is_err());
    }
}
