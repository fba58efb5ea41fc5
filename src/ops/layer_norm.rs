//! Layer normalisation.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

use super::Tensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `out[t, i] = (x[t, i] - mean_t) / sqrt(mean_j (x[t, j] - mean_t)² + eps) · weight[i] + bias[i]`, with `mean_t` the mean of
/// row t: out and x `[T, H]` f32, weight and bias `[H]`.
///
/// Source: Ba, Kiros and Hinton, "Layer Normalization", 2016.
///
/// # Errors
/// If the shapes do not fit.
pub fn layer_norm(
    out: &Tensor,
    x: &Tensor,
    (weight, bias): (&[f32], &[f32]),
    eps: f32,
    cpu: &Cpu,
) -> Result<()> {
    let (num_rows, _) = rows_and_columns("layer_norm: x", x)?;
    expect_dims("layer_norm: x", x, &[num_rows, weight.len()])?;
    expect_dims("layer_norm: out", out, &[num_rows, weight.len()])?;
    if bias.len() != weight.len() {
        bail!(
            "layer_norm: bias must have {} values, as weight has, has {}",
            weight.len(),
            bias.len()
        );
    }
    let op = LayerNorm {
        weight,
        bias,
        eps,
        cpu,
    };
    out.inplace_op2(x, &op)
}

struct LayerNorm<'a> {
    weight: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    cpu: &'a Cpu,
}

impl InplaceOp2 for LayerNorm<'_> {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let x = slice::<f32>("layer_norm: x", x, x_layout)?;
        if x.is_empty() {
            return Ok(());
        }
        let out = slice_mut::<f32>("layer_norm: out", out, out_layout)?;
        let width = self.weight.len();
        let chunk_len = self.cpu.rows_per_task(out.len() / width, width) * width;
        self.cpu.for_each_chunk(out, chunk_len, &|i, rows| {
            rows.copy_from_slice(&x[i * chunk_len..][..rows.len()]);
            self.cpu.dispatch(Rows { rows, op: self });
        });
        Ok(())
    }
}

struct Rows<'a> {
    rows: &'a mut [f32],
    op: &'a LayerNorm<'a>,
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.rows.chunks_exact_mut(self.op.weight.len()) {
            normalise(s, row, self.op);
        }
    }
}

#[inline(always)]
fn normalise<S: Simd>(s: S, row: &mut [f32], op: &LayerNorm<'_>) {
    let width = row.len() as f32;
    let (eights, rest) = row.as_chunks_mut::<8>();
    let mut sum = s.splat(0.0);
    for x in eights.iter() {
        sum = s.add(sum, s.load(x));
    }
    let mean = rest.iter().fold(s.sum(sum), |sum, x| sum + x) / width;
    let mut squares = s.splat(0.0);
    for x in eights.iter_mut() {
        let centred = s.sub(s.load(x), s.splat(mean));
        squares = s.fma(centred, centred, squares);
        s.store(centred, x);
    }
    rest.iter_mut().for_each(|x| *x -= mean);
    let squares = rest.iter().fold(s.sum(squares), |sum, x| sum + x * x);
    let scale = 1.0 / (squares / width + op.eps).sqrt();
    let (weights, weight_rest) = op.weight.as_chunks::<8>();
    let (biases, bias_rest) = op.bias.as_chunks::<8>();
    for ((x, weight), bias) in eights.iter_mut().zip(weights).zip(biases) {
        let scaled = s.mul(s.load(x), s.splat(scale));
        s.store(s.fma(scaled, s.load(weight), s.load(bias)), x);
    }
    for ((x, weight), bias) in rest.iter_mut().zip(weight_rest).zip(bias_rest) {
        *x = (*x * scale).mul_add(*weight, *bias);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    fn naive(x: &[f32], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f64> {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / x.len() as f64;
        let centre = mean(&mut x.iter().map(|&x| f64::from(x)));
        let variance = mean(&mut x.iter().map(|&x| (f64::from(x) - centre).powi(2)));
        let scale = (variance + eps).sqrt();
        let affine = weight.iter().zip(bias);
        x.iter()
            .zip(affine)
            .map(|(&x, (&w, &b))| (f64::from(x) - centre) / scale * f64::from(w) + f64::from(b))
            .collect()
    }

    #[test]
    fn rows_are_within_a_few_millionths_of_the_formula_and_the_same_everywhere() {
        for width in [64, 384, 13] {
            let mut random = Random::new(5);
            let mut x = random.floats(60 * width, 4.0);
            // A row far from zero, whose variance must not drown in its mean.
            x[..width].iter_mut().for_each(|x| *x += 100.0);
            let (weight, bias) = (random.floats(width, 2.0), random.floats(width, 1.0));
            let mut all = Vec::new();
            for cpu in cpus() {
                let (buffer, out) = view(&vec![0.0; x.len()], (60, width));
                let x_tensor = tensor(&x, (60, width));
                layer_norm(&out, &x_tensor, (&weight, &bias), 1e-12, &cpu).unwrap();
                buffer.assert_margins_untouched();
                for (row, got) in out.to_rows().unwrap().iter().enumerate() {
                    let want = naive(&x[row * width..][..width], &weight, &bias, 1e-12);
                    let bound = if row == 0 { 5e-5 } else { 3e-6 };
                    for (got, want) in got.iter().zip(want) {
                        assert!((f64::from(*got) - want).abs() <= bound, "{got} {want}");
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
        let error = |out: usize, x: usize, bias: usize| {
            let affine: (&[f32], &[f32]) = (&[1.0; 4], &[0.0; 5][..bias]);
            let result = layer_norm(&row(out), &row(x), affine, 1e-5, &cpu);
            result.unwrap_err().to_string()
        };
        assert!(error(4, 10, 4).contains("layer_norm: x"));
        assert!(error(10, 4, 4).contains("layer_norm: out"));
        assert!(error(4, 4, 5).contains("layer_norm: bias"));
    }
}
