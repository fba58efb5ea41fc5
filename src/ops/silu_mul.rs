//! The gated activation of SwiGLU.

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor};

use super::view::{expect_dims, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `out = gate / (1 + e^-gate) · up`, element by element, for three f32 tensors of one shape, usually `[T, I]`.
///
/// Source: Shazeer, "GLU Variants Improve Transformer", 2020.
///
/// # Errors
/// If the shapes differ.
pub fn silu_mul(out: &Tensor, gate: &Tensor, up: &Tensor, cpu: &Cpu) -> Result<()> {
    expect_dims("silu_mul: gate", gate, out.dims())?;
    expect_dims("silu_mul: up", up, out.dims())?;
    out.inplace_op3(gate, up, &SiluMul { cpu })
}

struct SiluMul<'a> {
    cpu: &'a Cpu,
}

impl InplaceOp3 for SiluMul<'_> {
    fn name(&self) -> &'static str {
        "silu_mul"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<()> {
        let out = slice_mut::<f32>("silu_mul: out", out, out_layout)?;
        let gate = slice::<f32>("silu_mul: gate", gate, gate_layout)?;
        let up = slice::<f32>("silu_mul: up", up, up_layout)?;
        let chunk_len = self.cpu.rows_per_task(out.len(), 1);
        self.cpu.for_each_chunk(out, chunk_len, &|i, out| {
            let part = i * chunk_len..i * chunk_len + out.len();
            self.cpu.dispatch(Elements {
                out,
                gate: &gate[part.clone()],
                up: &up[part],
            });
        });
        Ok(())
    }
}

struct Elements<'a> {
    out: &'a mut [f32],
    gate: &'a [f32],
    up: &'a [f32],
}

#[inline(always)]
fn eight<S: Simd>(s: S, gate: &[f32; 8], up: &[f32; 8], out: &mut [f32; 8]) {
    let gate = s.load(gate);
    let denominator = s.add(s.splat(1.0), s.exp(s.sub(s.splat(0.0), gate)));
    s.store(s.mul(s.div(gate, denominator), s.load(up)), out);
}

impl Kernel for Elements<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (out, out_rest) = self.out.as_chunks_mut::<8>();
        let (gate, gate_rest) = self.gate.as_chunks::<8>();
        let (up, up_rest) = self.up.as_chunks::<8>();
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            eight(s, gate, up, out);
        }
        // The last few go through the same instructions, in a padded vector.
        let (mut out, mut gate, mut up) = ([0.0; 8], [0.0; 8], [0.0; 8]);
        gate[..gate_rest.len()].copy_from_slice(gate_rest);
        up[..up_rest.len()].copy_from_slice(up_rest);
        eight(s, &gate, &up, &mut out);
        out_rest.copy_from_slice(&out[..out_rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    #[test]
    fn elements_are_within_a_millionth_of_the_formula_and_the_same_everywhere() {
        let mut random = Random::new(11);
        let (rows, columns) = (30, 1001);
        let mut gate = random.floats(rows * columns, 20.0);
        gate[..4].copy_from_slice(&[-1e4, 1e4, 0.0, -90.0]);
        let up = random.floats(rows * columns, 3.0);
        let mut all = Vec::new();
        for cpu in cpus() {
            let (buffer, out) = view(&vec![0.0; rows * columns], (rows, columns));
            silu_mul(
                &out,
                &tensor(&gate, (rows, columns)),
                &tensor(&up, (rows, columns)),
                &cpu,
            )
            .unwrap();
            buffer.assert_margins_untouched();
            let got = out.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for ((got, gate), up) in got.iter().zip(&gate).zip(&up) {
                let gate = f64::from(*gate);
                let want = gate / (1.0 + (-gate).exp()) * f64::from(*up);
                assert!(
                    (f64::from(*got) - want).abs() <= 1e-6 * want.abs().max(0.1),
                    "{got} {want}"
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
