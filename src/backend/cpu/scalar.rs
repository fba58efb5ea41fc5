//! [`Simd`] in portable code: the definition that every vector implementation must match bit by bit.

use half::f16;

use super::simd::Simd;

/// Portable code.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

#[inline(always)]
fn zip(a: [f32; 8], b: [f32; 8], f: impl Fn(f32, f32) -> f32) -> [f32; 8] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

#[inline(always)]
fn reduce(a: [f32; 8], f: impl Fn(f32, f32) -> f32) -> f32 {
    let b: [f32; 4] = std::array::from_fn(|i| f(a[i], a[i + 4]));
    f(f(b[0], b[2]), f(b[1], b[3]))
}

#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

impl Simd for Scalar {
    type F = [f32; 8];

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 8] {
        [x; 8]
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> [f32; 8] {
        *x
    }
    #[inline(always)]
    fn store(self, v: [f32; 8], out: &mut [f32; 8]) {
        *out = v;
    }
    #[inline(always)]
    fn store_f16(self, v: [f32; 8], out: &mut [f16; 8]) {
        *out = v.map(f16::from_f32);
    }
    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn div(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| a / b)
    }
    #[inline(always)]
    fn fma(self, a: [f32; 8], b: [f32; 8], c: [f32; 8]) -> [f32; 8] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, greater)
    }
    #[inline(always)]
    fn min(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn abs(self, a: [f32; 8]) -> [f32; 8] {
        a.map(f32::abs)
    }
    #[inline(always)]
    fn round(self, a: [f32; 8]) -> [f32; 8] {
        a.map(f32::round_ties_even)
    }
    #[inline(always)]
    fn pow2(self, n: [f32; 8]) -> [f32; 8] {
        n.map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32))
    }
    #[inline(always)]
    fn sum(self, a: [f32; 8]) -> f32 {
        reduce(a, |a, b| a + b)
    }
    #[inline(always)]
    fn max_lane(self, a: [f32; 8]) -> f32 {
        reduce(a, greater)
    }
    #[inline(always)]
    fn transpose(self, rows: [[f32; 8]; 8]) -> [[f32; 8]; 8] {
        std::array::from_fn(|i| std::array::from_fn(|j| rows[j][i]))
    }

    #[inline(always)]
    fn to_i8(self, v: [[f32; 8]; 4], out: &mut [i8; 32]) -> [[i16; 2]; 2] {
        for (out, x) in out.iter_mut().zip(v.as_flattened()) {
            *out = x.round_ties_even() as i8;
        }
        let mut sums = [[0; 2]; 2];
        for (k, q) in out.iter().enumerate() {
            sums[k / 16][k % 4 / 2] += i16::from(*q);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_ulp_of_e_to_the_x() {
        for i in -87_000..=88_000 {
            let x = i as f32 / 1000.0;
            let want = f64::from(x).exp();
            let ulp = f64::from((want as f32).next_up()) - f64::from(want as f32);
            let error = (f64::from(Scalar.exp_one(x)) - want).abs() / ulp;
            assert!(error <= 2.0, "e^{x}: {error} ulp");
        }
    }

    #[test]
    fn exp_flushes_to_zero_clamps_at_88_and_keeps_nan() {
        assert_eq!(Scalar.exp_one(0.0), 1.0);
        assert!(Scalar.exp_one(-87.6) > 0.0);
        for x in [-87.7, -88.5, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(Scalar.exp_one(x), 0.0, "e^{x}");
        }
        for x in [88.1, f32::MAX, f32::INFINITY] {
            assert_eq!(Scalar.exp_one(x), Scalar.exp_one(88.0), "e^{x}");
        }
        assert!(Scalar.exp_one(f32::NAN).is_nan());
    }
}
