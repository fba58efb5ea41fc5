//! The start-up check that vector instructions give the scalar code's bits.

use half::f16;

use super::simd::{Kernel, Simd};

/// Whether AVX2 can be used, or why not.
pub(super) fn avx2() -> Result<(), &'static str> {
    #[cfg(target_arch = "x86_64")]
    {
        if !(is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c"))
        {
            return Err("this processor lacks AVX2, FMA or F16C");
        }
        // SAFETY: the three features have just been detected.
        let bits = unsafe { super::avx2::run(Probe) };
        if bits == Probe.run(super::scalar::Scalar) {
            Ok(())
        } else {
            Err("the AVX2 kernels failed the self-test against the scalar kernels")
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    Err("AVX2 exists only on x86-64")
}

/// The result bits of every [`Simd`] method: on varied input, at the edges of f32 and f16, of the exponential over its
/// whole range, and of the integer kernels up to the largest sums they may meet.
struct Probe;

impl Kernel for Probe {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<u32> {
        let mut bits = Vec::new();
        let mut random = Random(1);
        for _ in 0..32 {
            // Within ±127, the first row in halves: a tie now and then.
            let mut rows = [[0.0; 8]; 8];
            for x in rows.as_flattened_mut() {
                *x = (random.next() as f32 / 65536.0 - 128.0) * 0.99;
            }
            for x in &mut rows[0] {
                *x = (*x * 2.0).round() / 2.0;
            }
            floats(s, &rows, &mut bits);
            integers(s, &rows, &mut random, &mut bits);
        }
        // Over all starts and shifts, rows 0 and 1 hold every pair of edges.
        for start in (0..EDGES.len()).step_by(8) {
            for shift in 0..EDGES.len() {
                let mut rows = [[0.0; 8]; 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    for (lane, x) in row.iter_mut().enumerate() {
                        *x = EDGES[(start + lane + i * shift) % EDGES.len()];
                    }
                }
                floats(s, &rows, &mut bits);
            }
        }
        for i in 0..450 {
            let mut x = [0.0; 8];
            for (lane, x) in x.iter_mut().enumerate() {
                *x = (i * 8 + lane) as f32 * 0.0597 - 107.0;
            }
            push(s, s.exp(s.load(&x)), &mut bits);
        }
        bits
    }
}

/// Special values, ties and overflows of f16, and where the exponential flushes and clamps.
const EDGES: [f32; 24] = [
    0.0,
    -0.0,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    f32::MAX,
    f32::MIN,
    f32::MIN_POSITIVE,
    -1e-40,
    1.0,
    -2.5,
    0.5,
    // f16: the largest, the last value that rounds to it, the first that overflows.
    65504.0,
    65519.996,
    65520.0,
    -65520.0,
    // f16: ties between normal numbers, a subnormal one, the tie that underflows and the value above it.
    2049.0,
    2051.0,
    1e-6,
    2.980_232_2e-8,
    2.980_232_6e-8,
    // exp: the last values before the flush and the clamp, and behind them.
    -87.68,
    -87.69,
    88.01,
];

/// A linear congruential generator of 24 bits.
struct Random(u32);

impl Random {
    #[inline(always)]
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }
}

/// Appends the bits of `v`; every NaN counts as the same one.
#[inline(always)]
fn push<S: Simd>(s: S, v: S::F, bits: &mut Vec<u32>) {
    let mut out = [0.0; 8];
    s.store(v, &mut out);
    for x in out {
        bits.push(if x.is_nan() { f32::NAN } else { x }.to_bits());
    }
}

#[inline(always)]
fn floats<S: Simd>(s: S, rows: &[[f32; 8]; 8], bits: &mut Vec<u32>) {
    let mut row = [s.splat(0.0); 8];
    for (row, x) in row.iter_mut().zip(rows) {
        *row = s.load(x);
    }
    let [a, b, c, ..] = row;
    for v in [
        s.add(a, b),
        s.sub(a, b),
        s.mul(a, b),
        s.div(a, b),
        s.fma(a, b, c),
        s.max(a, b),
        s.min(a, b),
        s.abs(a),
        s.round(a),
        s.exp(a),
        s.splat(s.sum(a)),
        s.splat(s.max_lane(a)),
    ] {
        push(s, v, bits);
    }
    for v in s.transpose(row) {
        push(s, v, bits);
    }
    for v in [a, b] {
        let mut halves = [f16::ZERO; 8];
        s.store_f16(v, &mut halves);
        for half in halves {
            bits.push(if half.is_nan() { f16::NAN } else { half }.to_bits().into());
        }
        push(s, s.load_f16(&halves), bits);
    }
}

#[inline(always)]
fn integers<S: Simd>(s: S, rows: &[[f32; 8]; 8], random: &mut Random, bits: &mut Vec<u32>) {
    let mut quants = [[0i8; 32]; 2];
    for (quants, rows) in quants.iter_mut().zip(rows.as_chunks::<4>().0) {
        let mut v = [s.splat(0.0); 4];
        for (v, row) in v.iter_mut().zip(rows) {
            *v = s.load(row);
        }
        for sum in s.to_i8(v, quants) {
            bits.push(sum as u32);
        }
        for quant in quants {
            bits.push(*quant as u32);
        }
    }
    let x = [&quants[0], &quants[1], &[127; 32], &[-127; 32]];
    let mut w = [0u8; 256];
    for w in &mut w {
        *w = random.next() as u8;
    }
    // Nibbles of 15, and weights of -128.
    for w in [w, [255; 256]] {
        let mut nibbles = [0u8; 128];
        nibbles.copy_from_slice(&w[..128]);
        let mut signed = [0i8; 256];
        for (signed, w) in signed.iter_mut().zip(w) {
            *signed = if w == 255 { -128 } else { w as i8 };
        }
        for dots in [s.dot_u4(&nibbles, x), s.dot_i8(&signed, x)] {
            for dot in dots.as_flattened() {
                push(s, *dot, bits);
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    #[test]
    fn avx2_is_used_wherever_the_processor_has_it() {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        assert_eq!(super::avx2().is_ok(), has, "{:?}", super::avx2());
    }
}
