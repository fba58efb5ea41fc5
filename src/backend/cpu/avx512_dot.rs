//! [`Dot`] in AVX-512 with VNNI: all sixteen outputs in one group, products of four bytes summed in int32.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::avx2::X86;
use super::dot::{Dot, Int8Block, PANEL};

type Avx512 = X86<true>;

/// Evaluates intrinsics in a method of [`Avx512`].
macro_rules! avx512 {
    ($($code:tt)*) => {{
        // SAFETY: an `X86<true>` exists only where the features do, and every load and store is of an array of the vector's
        // size or a slice cut to it, with unaligned instructions.
        unsafe { $($code)* }
    }};
}

/// Vector `g`.
#[inline(always)]
fn load<T>(_: Avx512, w: &[T], g: usize) -> __m512i {
    let bytes: &[T] = &w[64 * g..][..64];
    const { assert!(size_of::<T>() == 1) };
    avx512!(_mm512_loadu_si512(bytes.as_ptr().cast()))
}

/// `Σ (quant - OFFSET) · x` for each output.
#[inline(always)]
fn dot<const OFFSET: i32, const R: usize>(
    _: Avx512,
    w: [__m512i; 4],
    half: usize,
    x: [&Int8Block; R],
) -> [__m512; R] {
    avx512!({
        let mut out = [_mm512_setzero_ps(); R];
        for (out, x) in out.iter_mut().zip(x) {
            let mut sum = _mm512_set1_epi32(OFFSET * x.neg_sums[half]);
            for (w, four) in w.into_iter().zip(x.quants[16 * half..].as_chunks::<4>().0) {
                let [a, b, c, d] = *four;
                let x = i32::from_le_bytes([a as u8, b as u8, c as u8, d as u8]);
                sum = _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x));
            }
            *out = _mm512_cvtepi32_ps(sum);
        }
        out
    })
}

impl Dot for Avx512 {
    type Lanes = __m512;
    /// Unsigned bytes; signed quants are held with 128 added.
    type Quants = __m512i;
    const GROUPS: usize = 1;
    const ROWS: usize = 8;

    #[inline(always)]
    fn lanes(self, x: f32) -> __m512 {
        avx512!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    fn lanes_f32(self, x: &[f32; PANEL], _: usize) -> __m512 {
        avx512!(_mm512_loadu_ps(x.as_ptr()))
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[f16; PANEL], _: usize) -> __m512 {
        avx512!(_mm512_cvtph_ps(_mm256_loadu_si256(x.as_ptr().cast())))
    }
    #[inline(always)]
    fn lanes_bf16(self, x: &[bf16; PANEL], _: usize) -> __m512 {
        avx512!({
            let x = _mm512_cvtepu16_epi32(_mm256_loadu_si256(x.as_ptr().cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(x))
        })
    }
    #[inline(always)]
    fn lanes_e4m3(self, x: &[u8; PANEL], _: usize) -> __m512 {
        avx512!({
            let x = _mm256_cvtepi8_epi16(_mm_loadu_si128(x.as_ptr().cast()));
            // The sign stands in two bits.
            let x = _mm256_slli_epi16::<7>(x);
            _mm512_cvtph_ps(_mm256_and_si256(x, _mm256_set1_epi16(0xbfffu16 as i16)))
        })
    }
    #[inline(always)]
    fn lanes_i8(self, x: &[i8; PANEL], _: usize) -> __m512 {
        avx512!(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(
            x.as_ptr().cast()
        ))))
    }
    #[inline(always)]
    fn store_lanes(self, v: __m512, out: &mut [f32; PANEL], _: usize) {
        avx512!(_mm512_storeu_ps(out.as_mut_ptr(), v))
    }
    #[inline(always)]
    fn mul_lanes(self, a: __m512, b: __m512) -> __m512 {
        avx512!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma_lanes(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        avx512!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn nibbles(self, w: &[u8; 256], half: usize, _: usize) -> [__m512i; 4] {
        avx512!({
            let mask = _mm512_set1_epi8(15);
            let (a, b) = (load(self, w, 2 * half), load(self, w, 2 * half + 1));
            [
                _mm512_and_si512(a, mask),
                _mm512_and_si512(_mm512_srli_epi16::<4>(a), mask),
                _mm512_and_si512(b, mask),
                _mm512_and_si512(_mm512_srli_epi16::<4>(b), mask),
            ]
        })
    }
    #[inline(always)]
    fn with_bit(
        self,
        mut v: [__m512i; 4],
        plane: &[u8; 64],
        half: usize,
        _: usize,
        bit: usize,
    ) -> [__m512i; 4] {
        avx512!({
            let plane = load(self, plane, 0);
            let mask = _mm512_set1_epi8(1 << bit);
            for (j, v) in v.iter_mut().enumerate() {
                let from = 4 * half + j;
                // Bits that cross into the next byte are masked.
                let moved = if from > bit {
                    _mm512_srl_epi16(plane, _mm_cvtsi32_si128((from - bit) as i32))
                } else {
                    _mm512_sll_epi16(plane, _mm_cvtsi32_si128((bit - from) as i32))
                };
                *v = _mm512_or_si512(*v, _mm512_and_si512(moved, mask));
            }
        });
        v
    }
    #[inline(always)]
    fn bytes(self, w: &[i8; 512], half: usize, _: usize) -> [__m512i; 4] {
        avx512!({
            let mut v = [_mm512_set1_epi8(-128); 4];
            for (j, v) in v.iter_mut().enumerate() {
                *v = _mm512_xor_si512(*v, load(self, w, 4 * half + j));
            }
            v
        })
    }
    #[inline(always)]
    fn levels(self, mut v: [__m512i; 4], table: &[i8; 16]) -> [__m512i; 4] {
        avx512!({
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            let table = _mm512_xor_si512(table, _mm512_set1_epi8(-128));
            for v in &mut v {
                *v = _mm512_shuffle_epi8(table, *v);
            }
            v
        })
    }

    #[inline(always)]
    fn dot_unsigned<const OFFSET: i32, const R: usize>(
        self,
        w: [__m512i; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [__m512; R] {
        dot::<OFFSET, R>(self, w, half, x)
    }
    #[inline(always)]
    fn dot_i8<const R: usize>(
        self,
        w: [__m512i; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [__m512; R] {
        dot::<128, R>(self, w, half, x)
    }
}
