//! [`Dot`] in AVX2: eight outputs a group. Unsigned quants are summed in int16 as far as that is exact.

use std::arch::asm;
use std::arch::x86_64::*;

use half::{bf16, f16};

use super::avx2::{X86, avx2};
use super::dot::{Dot, Int8Block, PANEL};

type Avx2 = X86<false>;

/// The group's eight of a panel's values.
#[inline(always)]
fn eight<T>(x: &[T; PANEL], group: usize) -> *const T {
    x[8 * group..][..8].as_ptr()
}

/// The group's 32 bytes of vector `g`.
#[inline(always)]
fn load<T>(_: Avx2, w: &[T], g: usize, group: usize) -> __m256i {
    let bytes: &[T] = &w[64 * g + 32 * group..][..32];
    const { assert!(size_of::<T>() == 1) };
    avx2!(_mm256_loadu_si256(bytes.as_ptr().cast()))
}

/// The four activations that meet vector `j` of a half, for every output.
#[inline(always)]
fn four(_: Avx2, x: &Int8Block, half: usize, j: usize) -> __m256i {
    let [a, b, c, d] = x.quants[16 * half..].as_chunks::<4>().0[j];
    let four = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
    avx2!(_mm256_set1_epi32(four))
}

/// No instruction, but to the compiler one that changes `v` and memory.
///
/// # Safety
/// The processor must have AVX2, FMA and F16C.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn settle(mut v: __m256) -> __m256 {
    // SAFETY: it does nothing.
    unsafe { asm!("/* {0} */", inout(ymm_reg) v, options(nostack, preserves_flags)) };
    v
}

impl Dot for Avx2 {
    type Lanes = __m256;
    type Quants = __m256i;
    const GROUPS: usize = 2;
    const ROWS: usize = 4;

    #[inline(always)]
    fn lanes(self, x: f32) -> __m256 {
        avx2!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    fn lanes_f32(self, x: &[f32; PANEL], group: usize) -> __m256 {
        avx2!(_mm256_loadu_ps(eight(x, group)))
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[f16; PANEL], group: usize) -> __m256 {
        avx2!(_mm256_cvtph_ps(_mm_loadu_si128(eight(x, group).cast())))
    }
    #[inline(always)]
    fn lanes_bf16(self, x: &[bf16; PANEL], group: usize) -> __m256 {
        avx2!({
            let x = _mm256_cvtepu16_epi32(_mm_loadu_si128(eight(x, group).cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(x))
        })
    }
    #[inline(always)]
    fn lanes_e4m3(self, x: &[u8; PANEL], group: usize) -> __m256 {
        avx2!({
            let x = _mm_cvtepi8_epi16(_mm_loadl_epi64(eight(x, group).cast()));
            // The sign stands in two bits.
            let x = _mm_and_si128(_mm_slli_epi16::<7>(x), _mm_set1_epi16(0xbfffu16 as i16));
            _mm256_cvtph_ps(x)
        })
    }
    #[inline(always)]
    fn lanes_i8(self, x: &[i8; PANEL], group: usize) -> __m256 {
        avx2!(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(
            eight(x, group).cast()
        ))))
    }
    #[inline(always)]
    fn settle<const R: usize>(self, mut v: [__m256; R]) -> [__m256; R] {
        for v in &mut v {
            // SAFETY: an `X86` exists only where the features do.
            *v = unsafe { settle(*v) };
        }
        v
    }
    #[inline(always)]
    fn store_lanes(self, v: __m256, out: &mut [f32; PANEL], group: usize) {
        let out = &mut out[8 * group..][..8];
        avx2!(_mm256_storeu_ps(out.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn mul_lanes(self, a: __m256, b: __m256) -> __m256 {
        avx2!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma_lanes(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        avx2!(_mm256_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn nibbles(self, w: &[u8; 256], half: usize, group: usize) -> [__m256i; 4] {
        avx2!({
            let mask = _mm256_set1_epi8(15);
            let (a, b) = (
                load(self, w, 2 * half, group),
                load(self, w, 2 * half + 1, group),
            );
            [
                _mm256_and_si256(a, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(a), mask),
                _mm256_and_si256(b, mask),
                _mm256_and_si256(_mm256_srli_epi16::<4>(b), mask),
            ]
        })
    }
    #[inline(always)]
    fn with_bit(
        self,
        mut v: [__m256i; 4],
        plane: &[u8; 64],
        half: usize,
        group: usize,
        bit: usize,
    ) -> [__m256i; 4] {
        avx2!({
            let plane = load(self, plane, 0, group);
            let mask = _mm256_set1_epi8(1 << bit);
            for (j, v) in v.iter_mut().enumerate() {
                let from = 4 * half + j;
                // Bits that cross into the next byte are masked.
                let moved = if from > bit {
                    _mm256_srl_epi16(plane, _mm_cvtsi32_si128((from - bit) as i32))
                } else {
                    _mm256_sll_epi16(plane, _mm_cvtsi32_si128((bit - from) as i32))
                };
                *v = _mm256_or_si256(*v, _mm256_and_si256(moved, mask));
            }
        });
        v
    }
    #[inline(always)]
    fn bytes(self, w: &[i8; 512], half: usize, group: usize) -> [__m256i; 4] {
        [
            load(self, w, 4 * half, group),
            load(self, w, 4 * half + 1, group),
            load(self, w, 4 * half + 2, group),
            load(self, w, 4 * half + 3, group),
        ]
    }
    #[inline(always)]
    fn levels(self, mut v: [__m256i; 4], table: &[i8; 16]) -> [__m256i; 4] {
        avx2!({
            let table = _mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast()));
            for v in &mut v {
                *v = _mm256_shuffle_epi8(table, *v);
            }
            v
        })
    }

    #[inline(always)]
    fn dot_unsigned<const OFFSET: i32, const R: usize>(
        self,
        w: [__m256i; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [__m256; R] {
        // Exact for activations in -127..=127, which `Int8Block` promises. Each int16 sums eight products. Without an offset they are at most 8 * 31 * 127 = 31496. With one the sums may
        // wrap on the way, but end within 8 * 32 * 127 = 32512. Products of two pairs, at most 2 * 63 * 127, do not saturate.
        avx2!({
            let mut out = [_mm256_setzero_ps(); R];
            for (out, x) in out.iter_mut().zip(x) {
                let mut sum = match OFFSET {
                    0 => _mm256_setzero_si256(),
                    _ => {
                        let [a, b] = x.neg_pair_sums[half];
                        let both = u32::from(a as u16) | u32::from(b as u16) << 16;
                        let shift = _mm_cvtsi32_si128(OFFSET.trailing_zeros() as i32);
                        _mm256_sll_epi16(_mm256_set1_epi32(both as i32), shift)
                    }
                };
                for (j, w) in w.into_iter().enumerate() {
                    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, four(self, x, half, j)));
                }
                *out = _mm256_cvtepi32_ps(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)));
            }
            out
        })
    }
    #[inline(always)]
    fn dot_i8<const R: usize>(
        self,
        w: [__m256i; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [__m256; R] {
        avx2!({
            let ones = _mm256_set1_epi16(1);
            let mut sums = [_mm256_setzero_si256(); R];
            for (j, w) in w.into_iter().enumerate() {
                let magnitude = _mm256_abs_epi8(w);
                for r in 0..R {
                    // Exact in i16: 2 * 128 * 127 = 32512. The sign of the weight moves to the activation.
                    let x = _mm256_sign_epi8(four(self, x[r], half, j), w);
                    let pairs = _mm256_maddubs_epi16(magnitude, x);
                    sums[r] = _mm256_add_epi32(sums[r], _mm256_madd_epi16(pairs, ones));
                }
            }
            let mut out = [_mm256_setzero_ps(); R];
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = _mm256_cvtepi32_ps(sum);
            }
            out
        })
    }
}
