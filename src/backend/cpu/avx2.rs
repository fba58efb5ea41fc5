//! [`Simd`] in AVX2, FMA and F16C.
//!
//! Invariant: an [`X86`] is made only by [`run_avx2`] and [`run_avx512`], whose callers have detected the features.

use std::arch::x86_64::*;

use half::f16;

use super::dot::Dot;
use super::simd::{Kernel, Simd};

/// Proof that AVX2, FMA and F16C are there, and with `AVX512` also AVX-512 F, BW, VL and VNNI.
#[derive(Clone, Copy)]
pub(super) struct X86<const AVX512: bool>(());

/// Runs `kernel` in AVX2.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(X86::<false>(()))
}

/// Runs `kernel` in AVX-512.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C, and AVX-512 F, BW, VL and VNNI.
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(X86::<true>(()))
}

/// Evaluates intrinsics in a method of [`X86`].
macro_rules! avx2 {
    ($($code:tt)*) => {{
        // SAFETY: an `X86` exists only where the features do, and every load and store is of an array of the vector's size
        // or a slice cut to it, with unaligned instructions.
        unsafe { $($code)* }
    }};
}
pub(super) use avx2;

impl<const AVX512: bool> Simd for X86<AVX512>
where
    Self: Dot,
{
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
    fn prefetch<T>(self, x: *const T) {
        avx2!(_mm_prefetch::<_MM_HINT_T0>(x.cast()))
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
    fn to_i8(self, v: [__m256; 4], out: &mut [i8; 32]) -> [[i16; 2]; 2] {
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
            // Pairs, then the four groups of a half.
            let pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), in_order);
            let pairs = _mm256_add_epi16(pairs, _mm256_shuffle_epi32::<0x4e>(pairs));
            let pairs = _mm256_add_epi16(pairs, _mm256_shuffle_epi32::<0xb1>(pairs));
            [
                _mm256_extract_epi32::<0>(pairs),
                _mm256_extract_epi32::<4>(pairs),
            ]
            .map(|both| [both as i16, (both >> 16) as i16])
        })
    }
}
