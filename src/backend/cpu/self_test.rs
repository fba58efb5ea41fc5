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

/// The result bits of every [`Simd`] method on fixed, varied input.
struct Probe;

impl Kernel for Probe {
    type Output = Vec<u32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<u32> {
        let mut bits = Vec::new();
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 8
        };
        for _ in 0..32 {
            // About ±32, with ties at .5 now and then.
            let mut rows = [[0.0f32; 8]; 8];
            rows.as_flattened_mut()
                .iter_mut()
                .for_each(|x| *x = (next() as f32 / 65536.0 - 128.0) * 0.25);
            rows[0][0] = rows[0][0].round() + 0.5;
            let (a, b, c) = (s.load(&rows[0]), s.load(&rows[1]), s.load(&rows[2]));
            let mut row = [s.splat(0.0); 8];
            for i in 0..8 {
                row[i] = s.load(&rows[i]);
            }
            let turned = s.transpose(row);
            let results = [
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
                turned[0],
                turned[3],
                turned[7],
            ];
            let mut out = [0.0; 8];
            for result in results {
                s.store(result, &mut out);
                bits.extend(out.map(f32::to_bits));
            }
            let mut halves = [f16::ZERO; 8];
            s.store_f16(a, &mut halves);
            bits.extend(halves.map(|h| u32::from(h.to_bits())));
            s.store(s.load_f16(&halves), &mut out);
            bits.extend(out.map(f32::to_bits));

            let mut x = [[0i8; 32]; 3];
            let sums = s.to_i8([row[0], row[1], row[2], row[3]], &mut x[0]);
            bits.extend(sums.map(|sum| sum as u32));
            bits.extend(x[0].map(|q| q as u32));
            x[1] = [127; 32];
            x[2] = std::array::from_fn(|_| (next() % 255) as i32 as i8).map(|q: i8| q.max(-127));
            let mut w = [0u8; 256];
            w.iter_mut().for_each(|w| *w = next() as u8);
            // The largest sums that the integer kernels may meet.
            w[..32].fill(255);
            let nibbles: &[u8; 128] = w
                .first_chunk()
                .expect("256 is more than 128: this is a bug");
            let signed = w.map(|w| if w == 255 { -128 } else { w as i8 });
            let x = [&x[0], &x[1], &x[2]];
            for dot in [s.dot_u4(nibbles, x), s.dot_i8(&signed, x)]
                .as_flattened()
                .as_flattened()
            {
                s.store(*dot, &mut out);
                bits.extend(out.map(f32::to_bits));
            }
        }
        bits
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
