//! Root-mean-square normalisation.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

use super::tensor::CudaTensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use super::{Tensor, Vector, add_assign};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `out[t, i] = x[t, i] / sqrt(mean_j x[t, j]² + eps) · weight[i]`: out and x `[T, H]` f32 (on a card of 16 bits), weight `[H]`.
///
/// Squares are summed in f32: a row with |x| above about 1.8e19 overflows and comes out as zeros.
/// Source: Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019.
///
/// # Errors
/// If the shapes do not fit.
pub fn rms_norm(out: &Tensor, x: &Tensor, weight: &Vector, eps: f32, cpu: &Cpu) -> Result<()> {
    let (num_rows, _) = rows_and_columns("rms_norm: x", x)?;
    expect_dims("rms_norm: x", x, &[num_rows, weight.len()])?;
    expect_dims("rms_norm: out", out, &[num_rows, weight.len()])?;
    if let Tensor::Cuda(out) = out {
        let x = x.cuda("rms_norm: x", out)?;
        return cuda_rms_norm(out, x, weight, num_rows, eps);
    }
    out.inplace_op2(x, &RmsNorm { weight, eps, cpu })
}

/// Adds y, where there is one, to the residual stream x, and normalises what comes out: `x += y; out = rms_norm(x)`. All `[T, H]`;
/// f32, but on a card out and y are of 16 bits.
///
/// # Errors
/// If the shapes do not fit.
pub fn add_rms_norm(
    out: &Tensor,
    x: &Tensor,
    y: Option<&Tensor>,
    weight: &Vector,
    eps: f32,
    cpu: &Cpu,
) -> Result<()> {
    let (num_rows, width) = rows_and_columns("add_rms_norm: x", x)?;
    expect_dims("add_rms_norm: x", x, &[num_rows, weight.len()])?;
    expect_dims("add_rms_norm: out", out, &[num_rows, width])?;
    let Tensor::Cuda(out) = out else {
        if let Some(y) = y {
            add_assign(x, y, cpu)?;
        }
        return rms_norm(out, x, weight, eps, cpu);
    };
    let x = x.cuda("add_rms_norm: x", out)?;
    if let Some(y) = y {
        expect_dims("add_rms_norm: y", y, &[num_rows, width])?;
    }
    let y = y.map(|y| y.cuda("add_rms_norm: y", out)).transpose()?;
    cuda_add_rms_norm(out, x, y, weight, num_rows, eps)
}

/// Threads of a row, on a card: `kernels/rms_norm.cu`.
const CARD_THREADS: usize = 256;

fn cuda_rms_norm(
    out: &CudaTensor,
    y: &CudaTensor,
    weight: &Vector,
    num_rows: usize,
    eps: f32,
) -> Result<()> {
    let half = out.half_name("rms_norm: out")?;
    y.expect_same("rms_norm: x", out)?;
    let name = format!("rms_norm_{half}");
    let launch = (out.card()).kernel("rms_norm", name, [num_rows, 1, 1], CARD_THREADS);
    let launch = launch.slice(&out.slice).slice(&y.slice);
    let launch = launch.slice(weight.slice("rms_norm: weight")?);
    Ok(launch.int(card_width(weight)?).float(eps).run()?)
}

fn cuda_add_rms_norm(
    out: &CudaTensor,
    x: &CudaTensor,
    y: Option<&CudaTensor>,
    weight: &Vector,
    num_rows: usize,
    eps: f32,
) -> Result<()> {
    let half = out.half_name("add_rms_norm: out")?;
    x.expect_f32("add_rms_norm: x")?;
    if let Some(y) = y {
        y.expect_same("add_rms_norm: y", out)?;
    }
    let name = format!("add_rms_norm_{half}");
    let launch = (out.card()).kernel("rms_norm", name, [num_rows, 1, 1], CARD_THREADS);
    let launch = launch.slice(&out.slice).slice(&x.slice);
    let launch = launch
        .opt_slice(y.map(|y| &y.slice))
        .int(usize::from(y.is_some()));
    let launch = launch.slice(weight.slice("add_rms_norm: weight")?);
    Ok(launch.int(card_width(weight)?).float(eps).run()?)
}

fn card_width(weight: &Vector) -> Result<usize> {
    match weight.len().is_multiple_of(8) {
        true => Ok(weight.len()),
        false => bail!(
            "rms_norm: on a card rows must have a multiple of 8 columns, not {}",
            weight.len()
        ),
    }
}

struct RmsNorm<'a> {
    weight: &'a [f32],
    eps: f32,
    cpu: &'a Cpu,
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
        let out = slice_mut::<f32>("rms_norm: out", out, out_layout)?;
        let &Self { weight, eps, cpu } = self;
        let chunk_len = cpu.rows_per_task(out.len() / weight.len(), weight.len()) * weight.len();
        cpu.for_each_chunk(out, chunk_len, &|i, rows| {
            rows.copy_from_slice(&x[i * chunk_len..][..rows.len()]);
            cpu.dispatch(Normalise { rows, weight, eps });
        });
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
        for row in self.rows.chunks_exact_mut(self.weight.len()) {
            normalise(s, row, self.weight, self.eps);
        }
    }
}

/// [`rms_norm`] of one row, in place; `weight` is as long.
#[inline(always)]
pub(super) fn normalise<S: Simd>(s: S, row: &mut [f32], weight: &[f32], eps: f32) {
    let width = row.len();
    let (weight, weight_rest) = weight.as_chunks::<8>();
    let (row, rest) = row.as_chunks_mut::<8>();
    let mut squares = s.splat(0.0);
    for x in row.iter() {
        let x = s.load(x);
        squares = s.fma(x, x, squares);
    }
    let squares = rest.iter().fold(s.sum(squares), |sum, x| sum + x * x);
    let scale = 1.0 / (squares / width as f32 + eps).sqrt();
    for (x, w) in row.iter_mut().zip(weight) {
        s.store(s.mul(s.mul(s.load(x), s.splat(scale)), s.load(w)), x);
    }
    for (x, w) in rest.iter_mut().zip(weight_rest) {
        *x = *x * scale * w;
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
                rms_norm(
                    &out,
                    &tensor(&x, (60, width)),
                    &weight.clone().into(),
                    1e-5,
                    &cpu,
                )
                .unwrap();
                buffer.assert_margins_untouched();
                for (row, got) in out.to_rows().unwrap().iter().enumerate() {
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
    fn shapes_that_do_not_fit_are_errors_naming_the_argument() {
        let cpu = Cpu::new(1).unwrap();
        let row = |len: usize| tensor(&vec![1.0; len], (1, len));
        let error = |out: usize, x: usize| {
            let result = rms_norm(&row(out), &row(x), &vec![1.0; 4].into(), 1e-5, &cpu);
            result.unwrap_err().to_string()
        };
        assert!(error(4, 10).contains("rms_norm: x"));
        assert!(error(10, 4).contains("rms_norm: out"));
    }
}
