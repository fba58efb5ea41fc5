//! A smooth bound on logits.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, bail};

use super::Tensor;
use super::tensor::CudaTensor;
use super::view::{rows_and_columns, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `x = cap · tanh(x / cap)`, element by element, for an f32 tensor `[B, V]` (Gemma 2).
///
/// # Errors
/// If x has not two dimensions or the cap is not positive.
pub fn softcap(x: &Tensor, cap: f32, cpu: &Cpu) -> Result<()> {
    let (num_rows, width) = rows_and_columns("softcap: x", x)?;
    if cap.is_nan() || cap <= 0.0 {
        bail!("softcap: cap must be positive, is {cap}");
    }
    if let Tensor::Cuda(x) = x {
        return cuda_fwd(x, num_rows * width, cap);
    }
    x.inplace_op1(&Softcap { width, cap, cpu })
}

/// On a card: `kernels/softcap.cu`.
fn cuda_fwd(x: &CudaTensor, len: usize, cap: f32) -> Result<()> {
    x.expect_f32("softcap: x")?;
    if !len.is_multiple_of(4) {
        bail!("softcap: on a card x must have a multiple of 4 values, not {len}");
    }
    let launch = (x.card()).kernel("softcap", "softcap", [len.div_ceil(1024), 1, 1], 256);
    Ok(launch.slice(&x.slice).long(len).float(cap).run()?)
}

struct Softcap<'a> {
    width: usize,
    cap: f32,
    cpu: &'a Cpu,
}

impl InplaceOp1 for Softcap<'_> {
    fn name(&self) -> &'static str {
        "softcap"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let &Self { width, cap, cpu } = self;
        let x = slice_mut::<f32>("softcap: x", x, layout)?;
        if x.is_empty() {
            return Ok(());
        }
        let chunk_len = cpu.rows_per_task(x.len() / width, width) * width;
        cpu.for_each_chunk(x, chunk_len, &|_, values| {
            cpu.dispatch(Values { values, cap });
        });
        Ok(())
    }
}

struct Values<'a> {
    values: &'a mut [f32],
    cap: f32,
}

impl Kernel for Values<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (eights, rest) = self.values.as_chunks_mut::<8>();
        for x in eights {
            s.store(s.soft_cap(s.load(x), self.cap), x);
        }
        let mut padded = [0.0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        s.store(s.soft_cap(s.load(&padded), self.cap), &mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, view};
    use super::*;

    #[test]
    fn elements_are_the_formula_and_the_same_everywhere() {
        let mut x = Random::new(4).floats(30 * 1001, 60.0);
        x[..4].copy_from_slice(&[0.0, -1e9, f32::INFINITY, f32::NAN]);
        let mut all = Vec::new();
        for cpu in cpus() {
            let (buffer, got) = view(&x, (30, 1001));
            softcap(&got, 30.0, &cpu).unwrap();
            buffer.assert_margins_untouched();
            for (x, got) in x.iter().zip(got.to_vec().unwrap()) {
                let want = 30.0 * (f64::from(*x) / 30.0).tanh();
                assert!(
                    (f64::from(got) - want).abs() <= 1e-5 || x.is_nan() && got.is_nan(),
                    "{x}: {got} {want}"
                );
            }
            all.push(bits(&got));
        }
        assert!(all.iter().all(|one| one == &all[0]));
        let (_, x) = view(&[1.0], (1, 1));
        let error = softcap(&x, 0.0, &cpus()[0]).unwrap_err().to_string();
        assert!(error.contains("cap must be positive"), "{error}");
    }
}
