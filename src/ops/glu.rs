//! The gated activations of feed-forwards.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

use super::Tensor;
use super::tensor::CudaTensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// How a gate meets its up value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Glu {
    /// `gate σ(gate) · up`: SwiGLU.
    Silu,
    /// `gate Φ(gate) · up`, with `Φ(x) ≈ σ(2 √(2/π) (x + 0.044715 x³))`: GeGLU in its approximation by tanh (Gemma).
    GeluTanh,
    /// `g σ(1.702 g) · (u + 1)`, where `g` is the gate or `limit` if that is less, and `u` is up within `±limit` (gpt-oss).
    Clamped {
        /// The largest gate, and the largest magnitude of up.
        limit: f32,
    },
}

/// The gated activation, element by element: out `[T, I]`, gate_up `[T, 2 I]` with a row's gate values before its up values,
/// both f32.
///
/// Sources: Shazeer, "GLU Variants Improve Transformer", 2020; Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
///
/// # Errors
/// If the shapes do not fit.
pub fn gated_activation(out: &Tensor, gate_up: &Tensor, glu: Glu, cpu: &Cpu) -> Result<()> {
    let (num_rows, width) = rows_and_columns("gated_activation: out", out)?;
    expect_dims("gated_activation: gate_up", gate_up, &[num_rows, 2 * width])?;
    if let Tensor::Cuda(out) = out {
        let gate_up = gate_up.cuda("gated_activation: gate_up", out)?;
        return cuda_fwd(out, gate_up, (num_rows, width), glu);
    }
    out.inplace_op2(gate_up, &GatedActivation { width, glu, cpu })
}

/// On a card, both of 16 bits: `kernels/glu.cu`.
fn cuda_fwd(
    out: &CudaTensor,
    gate_up: &CudaTensor,
    (num_rows, width): (usize, usize),
    glu: Glu,
) -> Result<()> {
    let half = out.half_name("gated_activation: out")?;
    gate_up.expect_same("gated_activation: gate_up", out)?;
    if !width.is_multiple_of(8) {
        bail!("gated_activation: on a card rows must have a multiple of 8 columns, not {width}");
    }
    let (which, limit) = match glu {
        Glu::Silu => (0, 0.0),
        Glu::GeluTanh => (1, 0.0),
        Glu::Clamped { limit } => (2, limit),
    };
    let grid = [num_rows, width.div_ceil(2048), 1];
    let launch = out
        .card()
        .kernel("glu", format!("gated_activation_{half}"), grid, 256);
    let launch = launch.slice(&out.slice).slice(&gate_up.slice);
    Ok(launch.int(width).int(which).float(limit).run()?)
}

struct GatedActivation<'a> {
    /// I.
    width: usize,
    glu: Glu,
    cpu: &'a Cpu,
}

impl InplaceOp2 for GatedActivation<'_> {
    fn name(&self) -> &'static str {
        "gated_activation"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        gate_up: &CpuStorage,
        gate_up_layout: &Layout,
    ) -> Result<()> {
        let &Self { width, glu, cpu } = self;
        let out = slice_mut::<f32>("gated_activation: out", out, out_layout)?;
        let gate_up = slice::<f32>("gated_activation: gate_up", gate_up, gate_up_layout)?;
        if out.is_empty() {
            return Ok(());
        }
        let chunk_len = cpu.rows_per_task(out.len() / width, width) * width;
        cpu.for_each_chunk(out, chunk_len, &|i, out| {
            let gate_up = &gate_up[2 * i * chunk_len..];
            cpu.dispatch(Rows {
                out,
                gate_up,
                width,
                glu,
            });
        });
        Ok(())
    }
}

struct Rows<'a> {
    out: &'a mut [f32],
    gate_up: &'a [f32],
    width: usize,
    glu: Glu,
}

#[inline(always)]
fn eight<S: Simd>(s: S, glu: Glu, gate: &[f32; 8], up: &[f32; 8], out: &mut [f32; 8]) {
    let (gate, up) = (s.load(gate), s.load(up));
    // The gate, what the sigmoid is of, and the factor.
    let (gate, x, up) = match glu {
        Glu::Silu => (gate, gate, up),
        Glu::GeluTanh => {
            let cube = s.mul(s.mul(gate, gate), gate);
            let sum = s.fma(cube, s.splat(0.044_715), gate);
            (gate, s.mul(sum, s.splat(1.595_769)), up)
        }
        Glu::Clamped { limit } => {
            // In this order `max` and `min` pass a NaN on.
            let gate = s.min(s.splat(limit), gate);
            let up = s.min(s.splat(limit), s.max(s.splat(-limit), up));
            (gate, s.mul(gate, s.splat(1.702)), s.add(up, s.splat(1.0)))
        }
    };
    let denominator = s.add(s.splat(1.0), s.exp(s.sub(s.splat(0.0), x)));
    s.store(s.mul(s.div(gate, denominator), up), out);
}

impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.out.chunks_exact_mut(self.width);
        for (out, gate_up) in rows.zip(self.gate_up.chunks_exact(2 * self.width)) {
            let (gate, up) = gate_up.split_at(self.width);
            let (out, out_rest) = out.as_chunks_mut::<8>();
            let (gate, gate_rest) = gate.as_chunks::<8>();
            let (up, up_rest) = up.as_chunks::<8>();
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                eight(s, self.glu, gate, up, out);
            }
            if !out_rest.is_empty() {
                // The last few go through the same instructions, in a padded vector.
                let (mut out, mut gate, mut up) = ([0.0; 8], [0.0; 8], [0.0; 8]);
                gate[..gate_rest.len()].copy_from_slice(gate_rest);
                up[..up_rest.len()].copy_from_slice(up_rest);
                eight(s, self.glu, &gate, &up, &mut out);
                out_rest.copy_from_slice(&out[..out_rest.len()]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    fn formula(glu: Glu, gate: f64, up: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match glu {
            Glu::Silu => gate * sigmoid(gate) * up,
            Glu::GeluTanh => {
                let x = (2.0 / std::f64::consts::PI).sqrt() * (gate + 0.044_715 * gate.powi(3));
                0.5 * gate * (1.0 + x.tanh()) * up
            }
            Glu::Clamped { limit } => {
                let limit = f64::from(limit);
                let gate = gate.min(limit);
                gate * sigmoid(1.702 * gate) * (up.clamp(-limit, limit) + 1.0)
            }
        }
    }

    #[test]
    fn elements_are_within_a_millionth_of_the_formula_and_the_same_everywhere() {
        let mut random = Random::new(11);
        let (rows, columns) = (30, 1001);
        let mut gate = random.floats(rows * columns, 20.0);
        gate[..4].copy_from_slice(&[-1e4, 1e4, 0.0, -90.0]);
        let up = random.floats(rows * columns, 3.0);
        let halves = gate.chunks(columns).zip(up.chunks(columns));
        let gate_up = halves.flat_map(|(gate, up)| [gate, up].concat());
        let gate_up: Vec<f32> = gate_up.collect();
        for glu in [Glu::Silu, Glu::GeluTanh, Glu::Clamped { limit: 2.0 }] {
            let mut all = Vec::new();
            for cpu in cpus() {
                let (buffer, out) = view(&vec![0.0; rows * columns], (rows, columns));
                let gate_up = tensor(&gate_up, (rows, 2 * columns));
                gated_activation(&out, &gate_up, glu, &cpu).unwrap();
                buffer.assert_margins_untouched();
                let got = out.to_vec().unwrap();
                for ((got, gate), up) in got.iter().zip(&gate).zip(&up) {
                    let want = formula(glu, f64::from(*gate), f64::from(*up));
                    assert!(
                        (f64::from(*got) - want).abs() <= 1e-6 * want.abs().max(0.3),
                        "{glu:?}: {got} {want}"
                    );
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
    fn a_nan_stays_one() {
        for glu in [Glu::Silu, Glu::GeluTanh, Glu::Clamped { limit: 2.0 }] {
            for gate_up in [[f32::NAN, 1.0], [1.0, f32::NAN]] {
                let (_, out) = view(&[0.0], (1, 1));
                gated_activation(&out, &tensor(&gate_up, (1, 2)), glu, &cpus()[0]).unwrap();
                assert!(out.to_rows().unwrap()[0][0].is_nan());
            }
        }
    }
}
