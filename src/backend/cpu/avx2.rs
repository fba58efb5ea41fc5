//! [`Simd`] in AVX2, FMA and F16C.
//!
//! Invariant: an [`Avx2`] is made only by [`run`], whose caller has detected the three features.

use std::arch::x86_64::*;

use half::f16;

use super::simd::{Kernel, Simd};

/// Proof that AVX2, FMA and F16C are there.
#[derive(Clone, Copy)]
pub(super) struct Avx2(());

/// Runs `kernel` in AVX2.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

/// Evaluates intrinsics in a method of [`Avx2`].
macro_rules! avx2 {
    ($($code:tt)*) => {{
        // SAFETY: an `Avx2` exists only where the features do, and every load and store is of a reference to an array of
        // the vector's size (or of four bytes inside one), with unaligned instructions.
        unsafe { $($code)* }
    }};
}

/// Four bytes from `x[at..]` in every 32-bit lane.
#[inline(always)]
fn four(_: Avx2, x: &[i8; 32], at: usize) -> __m256i {
    let four = [x[at], x[at + 1], x[at + 2], x[at + 3]].map(|q| q as u8);
    avx2!(_mm256_set1_epi32(i32::from_le_bytes(four)))
}

impl Simd for Avx2 {
    type F = __m256;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        avx2!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn load(self, x: &[f32; 8]) -> __m256 {
        avx2!(_mm256_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn store(self, v: __m256, out: &mut [f32; 8]) {
        avx2!(_mm256_storeu_ps(out.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn load_f16(self, x: &[f16; 8]) -> __m256 {
        avx2!(_mm256_cvtph_ps(_mm_loadu_si128(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn store_f16(self, v: __m256, out: &mut [f16; 8]) {
        avx2!(_mm_storeu_si128(
            out.as_mut_ptr().cast(),
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v)
        ))
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        avx2!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        avx2!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        avx2!(_mm256_round_ps::<
            { _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC },
        >(a))
    }
    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        avx2!({
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        })
    }
    #[inline(always)]
    fn sum(self, a: __m256) -> f32 {
        avx2!({
            let a = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_add_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_add_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn max_lane(self, a: __m256) -> f32 {
        avx2!({
            let a = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let a = _mm_max_ps(a, _mm_movehl_ps(a, a));
            _mm_cvtss_f32(_mm_max_ss(a, _mm_movehdup_ps(a)))
        })
    }
    #[inline(always)]
    fn transpose(self, r: [__m256; 8]) -> [__m256; 8] {
        avx2!({
            // Pairs of rows, then quadruples, then the two 128-bit halves.
            let p = [
                _mm256_unpacklo_ps(r[0], r[1]),
                _mm256_unpackhi_ps(r[0], r[1]),
                _mm256_unpacklo_ps(r[2], r[3]),
                _mm256_unpackhi_ps(r[2], r[3]),
                _mm256_unpacklo_ps(r[4], r[5]),
                _mm256_unpackhi_ps(r[4], r[5]),
                _mm256_unpacklo_ps(r[6], r[7]),
                _mm256_unpackhi_ps(r[6], r[7]),
            ];
            let q = [
                _mm256_shuffle_ps::<0x44>(p[0], p[2]),
                _mm256_shuffle_ps::<0xee>(p[0], p[2]),
                _mm256_shuffle_ps::<0x44>(p[1], p[3]),
                _mm256_shuffle_ps::<0xee>(p[1], p[3]),
                _mm256_shuffle_ps::<0x44>(p[4], p[6]),
                _mm256_shuffle_ps::<0xee>(p[4], p[6]),
                _mm256_shuffle_ps::<0x44>(p[5], p[7]),
                _mm256_shuffle_ps::<0xee>(p[5], p[7]),
            ];
            [
                _mm256_permute2f128_ps::<0x20>(q[0], q[4]),
                _mm256_permute2f128_ps::<0x20>(q[1], q[5]),
                _mm256_permute2f128_ps::<0x20>(q[2], q[6]),
                _mm256_permute2f128_ps::<0x20>(q[3], q[7]),
                _mm256_permute2f128_ps::<0x31>(q[0], q[4]),
                _mm256_permute2f128_ps::<0x31>(q[1], q[5]),
                _mm256_permute2f128_ps::<0x31>(q[2], q[6]),
                _mm256_permute2f128_ps::<0x31>(q[3], q[7]),
            ]
        })
    }

    #[inline(always)]
    fn to_i8(self, v: [__m256; 4], out: &mut [i8; 32]) -> [i32; 2] {
        avx2!({
            let q = [
                _mm256_cvtps_epi32(v[0]),
                _mm256_cvtps_epi32(v[1]),
                _mm256_cvtps_epi32(v[2]),
                _mm256_cvtps_epi32(v[3]),
            ];
            // Packing works in 128-bit halves and leaves groups of four in the order 0 2 4 6 1 3 5 7.
            let packed = _mm256_packs_epi16(
                _mm256_packs_epi32(q[0], q[1]),
                _mm256_packs_epi32(q[2], q[3]),
            );
            let in_order =
                _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), in_order);
            // The sums of the two halves end in lanes 0 and 1.
            let (a, b) = (_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
            let pairs = _mm256_hadd_epi32(a, b);
            let fours = _mm256_hadd_epi32(pairs, pairs);
            let sums = _mm_add_epi32(
                _mm256_castsi256_si128(fours),
                _mm256_extracti128_si256::<1>(fours),
            );
            [_mm_extract_epi32::<0>(sums), _mm_extract_epi32::<1>(sums)]
        })
    }
    #[inline(always)]
    fn dot_u4<const R: usize>(self, w: &[u8; 128], x: [&[i8; 32]; R]) -> [[__m256; 2]; R] {
        avx2!({
            let mask = _mm256_set1_epi8(15);
            // Exact in i16: four sums of two products are at most 4 * 2 * 15 * 127 = 15240.
            let mut sums = [[_mm256_setzero_si256(); 2]; R];
            for (j, bytes) in w.as_chunks::<32>().0.iter().enumerate() {
                let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
                let low = _mm256_and_si256(bytes, mask);
                let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
                for r in 0..R {
                    sums[r][0] = _mm256_add_epi16(
                        sums[r][0],
                        _mm256_maddubs_epi16(low, four(self, x[r], 4 * j)),
                    );
                    sums[r][1] = _mm256_add_epi16(
                        sums[r][1],
                        _mm256_maddubs_epi16(high, four(self, x[r], 16 + 4 * j)),
                    );
                }
            }
            let mut out = [[_mm256_setzero_ps(); 2]; R];
            for r in 0..R {
                for half in 0..2 {
                    let sum = _mm256_madd_epi16(sums[r][half], _mm256_set1_epi16(1));
                    out[r][half] = _mm256_cvtepi32_ps(sum);
                }
            }
            out
        })
    }
    #[inline(always)]
    fn dot_i8<const R: usize>(self, w: &[i8; 256], x: [&[i8; 32]; R]) -> [[__m256; 2]; R] {
        avx2!({
            let ones = _mm256_set1_epi16(1);
            let mut out = [[_mm256_setzero_ps(); 2]; R];
            for (half, w) in w.as_chunks::<128>().0.iter().enumerate() {
                let mut sums = [_mm256_setzero_si256(); R];
                for (j, bytes) in w.as_chunks::<32>().0.iter().enumerate() {
                    let w = _mm256_loadu_si256(bytes.as_ptr().cast());
                    let magnitude = _mm256_abs_epi8(w);
                    for r in 0..R {
                        // Exact in i16: 2 * 128 * 127 = 32512. The sign of the weight moves to the activation.
                        let x = _mm256_sign_epi8(four(self, x[r], 16 * half + 4 * j), w);
                        let pairs = _mm256_maddubs_epi16(magnitude, x);
                        sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
                    }
                }
                for r in 0..R {
                    out[r][half] = _mm256_cvtepi32_ps(sums[r]);
                }
            }
            out
        })
    }
}
