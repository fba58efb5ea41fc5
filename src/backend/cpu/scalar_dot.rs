//! [`Dot`] in portable code: the definition that every vector implementation must match bit by bit.

use half::{bf16, f16};

use super::dot::{Dot, Int8Block, PANEL, e4m3};
use super::scalar::Scalar;

/// `Σ (w - offset) · x` over a half.
#[inline(always)]
fn dot<const R: usize>(
    w: [[i16; 64]; 4],
    offset: i32,
    half: usize,
    x: [&Int8Block; R],
) -> [[f32; PANEL]; R] {
    x.map(|x| {
        let mut sums = [0i32; PANEL];
        for (w, x) in w.iter().zip(x.quants[16 * half..].as_chunks::<4>().0) {
            for (sum, w) in sums.iter_mut().zip(w.as_chunks::<4>().0) {
                for (w, x) in w.iter().zip(x) {
                    *sum += (i32::from(*w) - offset) * i32::from(*x);
                }
            }
        }
        sums.map(|sum| sum as f32)
    })
}

impl Dot for Scalar {
    type Lanes = [f32; PANEL];
    type Quants = [i16; 64];
    const GROUPS: usize = 1;
    const ROWS: usize = 4;

    #[inline(always)]
    fn lanes(self, x: f32) -> [f32; PANEL] {
        [x; PANEL]
    }
    #[inline(always)]
    fn lanes_f32(self, x: &[f32; PANEL], _: usize) -> [f32; PANEL] {
        *x
    }
    #[inline(always)]
    fn lanes_f16(self, x: &[f16; PANEL], _: usize) -> [f32; PANEL] {
        x.map(f16::to_f32)
    }
    #[inline(always)]
    fn lanes_bf16(self, x: &[bf16; PANEL], _: usize) -> [f32; PANEL] {
        x.map(|x| f32::from_bits(u32::from(x.to_bits()) << 16))
    }
    #[inline(always)]
    fn lanes_i8(self, x: &[i8; PANEL], _: usize) -> [f32; PANEL] {
        x.map(f32::from)
    }
    #[inline(always)]
    fn lanes_e4m3(self, x: &[u8; PANEL], _: usize) -> [f32; PANEL] {
        x.map(e4m3)
    }
    #[inline(always)]
    fn store_lanes(self, v: [f32; PANEL], out: &mut [f32; PANEL], _: usize) {
        *out = v;
    }
    #[inline(always)]
    fn mul_lanes(self, a: [f32; PANEL], b: [f32; PANEL]) -> [f32; PANEL] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn fma_lanes(self, a: [f32; PANEL], b: [f32; PANEL], c: [f32; PANEL]) -> [f32; PANEL] {
        std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
    }

    #[inline(always)]
    fn nibbles(self, w: &[u8; 256], half: usize, _: usize) -> [[i16; 64]; 4] {
        std::array::from_fn(|j| {
            let bytes = &w[64 * (2 * half + j / 2)..][..64];
            std::array::from_fn(|i| i16::from(bytes[i] >> (j % 2 * 4) & 15))
        })
    }
    #[inline(always)]
    fn with_bit(
        self,
        v: [[i16; 64]; 4],
        plane: &[u8; 64],
        half: usize,
        _: usize,
        bit: usize,
    ) -> [[i16; 64]; 4] {
        std::array::from_fn(|j| {
            std::array::from_fn(|i| v[j][i] | i16::from(plane[i] >> (4 * half + j) & 1) << bit)
        })
    }
    #[inline(always)]
    fn bytes(self, w: &[i8; 512], half: usize, _: usize) -> [[i16; 64]; 4] {
        std::array::from_fn(|j| {
            let bytes = &w[64 * (4 * half + j)..][..64];
            std::array::from_fn(|i| i16::from(bytes[i]))
        })
    }
    #[inline(always)]
    fn levels(self, v: [[i16; 64]; 4], table: &[i8; 16]) -> [[i16; 64]; 4] {
        v.map(|v| v.map(|q| i16::from(table[(q & 15) as usize])))
    }

    #[inline(always)]
    fn dot_unsigned<const OFFSET: i32, const R: usize>(
        self,
        w: [[i16; 64]; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [[f32; PANEL]; R] {
        dot(w, OFFSET, half, x)
    }
    #[inline(always)]
    fn dot_i8<const R: usize>(
        self,
        w: [[i16; 64]; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [[f32; PANEL]; R] {
        dot(w, 0, half, x)
    }
}
