//! The gated activation of SwiGLU.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor};

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `out = gate / (1 + e^-gate) · up`, element by element: out `[T, I]`, gate_up `[T, 2 I]` with a row's gate values before
/// its up values, both f32.
///
/// Source: Shazeer, "GLU Variants Improve Transformer", 2020.
///
/// # Errors
/// If the shapes do not fit.
pub fn silu_mul(out: &Tensor, gate_up: &Tensor, cpu: &Cpu) -> Result<()> {
    let (num_rows, width) = rows_and_columns("silu_mul: out", out)?;
    expect_dims("silu_mul: gate_up", gate_up, &[num_rows, 2 * width])?;
    out.inplace_op2(gate_up, &SiluMul { width, cpu })
}

struct SiluMul<'a> {
    /// I.
    width: usize,
    cpu: &'a Cpu,
}

impl InplaceOp2 for SiluMul<'_> {
    fn name(&self) -> &'static str {
        "silu_mul"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        gate_up: &CpuStorage,
        gate_up_layout: &Layout,
    ) -> Result<()> {
        let &Self { width, cpu } = self;
        let out = slice_mut::<f32>("silu_mul: out", out, out_layout)?;
        let gate_up = slice::<f32>("silu_mul: gate_up", gate_up, gate_up_layout)?;
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
            });
        });
        Ok(())
    }
}

struct Rows<'a> {
    out: &'a mut [f32],
    gate_up: &'a [f32],
    width: usize,
}

#[inline(always)]
fn eight<S: Simd>(s: S, gate: &[f32; 8], up: &[f32; 8], out: &mut [f32; 8]) {
    let gate = s.load(gate);
    let denominator = s.add(s.splat(1.0), s.exp(s.sub(s.splat(0.0), gate)));
    s.store(s.mul(s.div(gate, denominator), s.load(up)), out);
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
                eight(s, gate, up, out);
            }
            if !out_rest.is_empty() {
                // The last few go through the same instructions, in a padded vector.
                let (mut out, mut gate, mut up) = ([0.0; 8], [0.0; 8], [0.0; 8]);
                gate[..gate_rest.len()].copy_from_slice(gate_rest);
                up[..up_rest.len()].copy_from_slice(up_rest);
                eight(s, &gate, &up, &mut out);
                out_rest.copy_from_slice(&out[..out_rest.len()]);
            }
        }
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
        let halves = gate.chunks(columns).zip(up.chunks(columns));
        let gate_up = halves.flat_map(|(gate, up)| [gate, up].concat());
        let gate_up: Vec<f32> = gate_up.collect();
        let mut all = Vec::new();
        for cpu in cpus() {
            let (buffer, out) = view(&vec![0.0; rows * columns], (rows, columns));
            silu_mul(&out, &tensor(&gate_up, (rows, 2 * columns)), &cpu).unwrap();
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
