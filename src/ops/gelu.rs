//! The Gaussian error linear unit of encoders.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result};

use super::Tensor;
use super::view::{rows_and_columns, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// `x = x Φ(x)`, element by element, for an f32 tensor `[T, I]`, where Φ is the normal distribution's cumulative function;
/// within 2e-7 |x| of it.
///
/// Sources: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; for the error function Abramowitz and Stegun,
/// "Handbook of Mathematical Functions", 7.1.26.
///
/// # Errors
/// If x has not two dimensions or is not contiguous f32.
pub fn gelu(x: &Tensor, cpu: &Cpu) -> Result<()> {
    let (_, width) = rows_and_columns("gelu: x", x)?;
    x.inplace_op1(&Gelu { width, cpu })
}

struct Gelu<'a> {
    width: usize,
    cpu: &'a Cpu,
}

impl InplaceOp1 for Gelu<'_> {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, x: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let &Self { width, cpu } = self;
        let x = slice_mut::<f32>("gelu: x", x, layout)?;
        if x.is_empty() {
            return Ok(());
        }
        let chunk_len = cpu.rows_per_task(x.len() / width, width) * width;
        cpu.for_each_chunk(x, chunk_len, &|_, values| cpu.dispatch(Values(values)));
        Ok(())
    }
}

struct Values<'a>(&'a mut [f32]);

impl Kernel for Values<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (eights, rest) = self.0.as_chunks_mut::<8>();
        for x in eights {
            eight(s, x);
        }
        // The last few go through the same instructions, in a padded vector.
        let mut padded = [0.0; 8];
        padded[..rest.len()].copy_from_slice(rest);
        eight(s, &mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
    }
}

/// `x Φ(x) = max(x, 0) - |x| erfc(|x| / √2) / 2`, which loses no digits on either side of zero.
#[inline(always)]
fn eight<S: Simd>(s: S, x: &mut [f32; 8]) {
    let value = s.load(x);
    let magnitude = s.abs(value);
    let z = s.mul(magnitude, s.splat(std::f32::consts::FRAC_1_SQRT_2));
    let t = s.div(s.splat(1.0), s.fma(z, s.splat(0.327_591_1), s.splat(1.0)));
    let mut p = s.splat(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        p = s.fma(p, t, s.splat(c));
    }
    let gauss = s.exp(s.sub(s.splat(0.0), s.mul(z, z)));
    let erfc = s.mul(s.mul(p, t), gauss);
    // In this order `max` passes a NaN on.
    let positive = s.max(s.splat(0.0), value);
    let half = s.mul(magnitude, s.splat(0.5));
    s.store(s.sub(positive, s.mul(half, erfc)), x);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, view};
    use super::*;

    /// By the series of the error function, which converges everywhere that matters here.
    fn formula(x: f64) -> f64 {
        let z = x / std::f64::consts::SQRT_2;
        if z.abs() > 5.0 {
            return x.max(0.0);
        }
        let (mut term, mut sum) = (z, z);
        for n in 1..200 {
            let n = f64::from(n);
            term *= -z * z / n;
            sum += term / (2.0 * n + 1.0);
        }
        0.5 * x * (1.0 + sum * std::f64::consts::FRAC_2_SQRT_PI)
    }

    #[test]
    fn elements_are_the_formula_and_the_same_everywhere() {
        let mut x = Random::new(3).floats(30 * 1001, 7.0);
        x[..5].copy_from_slice(&[0.0, 1e4, -1e4, 30.0, -30.0]);
        let mut all = Vec::new();
        for cpu in cpus() {
            let (buffer, out) = view(&x, (30, 1001));
            gelu(&out, &cpu).unwrap();
            buffer.assert_margins_untouched();
            let got = out.to_vec().unwrap();
            for (got, &x) in got.iter().zip(&x) {
                let want = formula(f64::from(x));
                let bound = 3e-7 * f64::from(x).abs().max(1.0);
                assert!((f64::from(*got) - want).abs() <= bound, "{x}: {got} {want}");
            }
            all.push(bits(&out));
        }
        assert!(
            all.iter().all(|one| one == &all[0]),
            "instructions and threads change no bit"
        );
    }

    #[test]
    fn a_nan_stays_one() {
        let (_, x) = view(&[f32::NAN], (1, 1));
        gelu(&x, &cpus()[0]).unwrap();
        assert!(x.to_rows().unwrap()[0][0].is_nan());
    }
}
