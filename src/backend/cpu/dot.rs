//! The integer dot products of quantised weights, and the f32 lanes they end in.
//!
//! A panel is 16 neighbouring outputs. An instruction set takes them in one or two groups, an output a lane. Quants of a
//! panel lie in vectors of 64 bytes: byte `4 o + i` of vector `g` is value `4 g + i` of output `o`, for 32 values in eight
//! vectors; a half is 16 values, four vectors.
//!
//! Invariant: as for [`Simd`](super::Simd), every method gives the same bits in every implementation. Dot products
//! are exact integers below 2^24, so their f32 is exact too.

use half::{bf16, f16};

/// Outputs side by side in a panel.
pub(crate) const PANEL: usize = 16;

/// 32 activations in int8, `x ≈ scales[half] · quants`, with what the kernels need beside them.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Int8Block {
    /// In -127..=127.
    pub quants: [i8; 32],
    pub scales: [f32; 2],
    /// `Σ scale · quant`, what a weight's constant part multiplies.
    pub sum: f32,
    /// `-Σ quant` by half.
    pub neg_sums: [i32; 2],
    /// The same apart for the values `4 j, 4 j + 1` and the values `4 j + 2, 4 j + 3`.
    pub neg_pair_sums: [[i16; 2]; 2],
}

impl Int8Block {
    pub(crate) const ZERO: Self = Self {
        quants: [0; 32],
        scales: [0.0; 2],
        sum: 0.0,
        neg_sums: [0; 2],
        neg_pair_sums: [[0; 2]; 2],
    };

    /// `Σ scale · quant` of one half.
    #[inline(always)]
    pub(crate) fn half_sum(&self, half: usize) -> f32 {
        self.scales[half] * (-self.neg_sums[half]) as f32
    }
}

/// A float of 8 bits with 4 of exponent and 3 of mantissa (E4M3), divided by 256: an f16 with the same bits.
pub(crate) fn e4m3(x: u8) -> f32 {
    let x = u16::from(x);
    f16::from_bits((x & 0x80) << 8 | (x & 0x7f) << 7).to_f32()
}

/// Operations on groups of a panel's outputs. `group` is below [`Dot::GROUPS`], `half` is 0 or 1.
pub(crate) trait Dot: Copy {
    /// One f32 for each output of a group.
    type Lanes: Copy;
    /// Four quants for each output of a group.
    type Quants: Copy;
    /// Groups that make a panel.
    const GROUPS: usize;
    /// Rows that share a load of weights; what the registers hold.
    const ROWS: usize;

    fn lanes(self, x: f32) -> Self::Lanes;
    fn lanes_f32(self, x: &[f32; PANEL], group: usize) -> Self::Lanes;
    fn lanes_f16(self, x: &[f16; PANEL], group: usize) -> Self::Lanes;
    fn lanes_bf16(self, x: &[bf16; PANEL], group: usize) -> Self::Lanes;
    fn lanes_i8(self, x: &[i8; PANEL], group: usize) -> Self::Lanes;
    /// [`e4m3`] of each. What codes a NaN is 1.875.
    fn lanes_e4m3(self, x: &[u8; PANEL], group: usize) -> Self::Lanes;
    /// Gives back `v`, which is computed before anything that is loaded later: without this the compiler overlaps the two
    /// halves of a block, whose weights together exceed the registers.
    #[inline(always)]
    fn settle<const R: usize>(self, v: [Self::Lanes; R]) -> [Self::Lanes; R] {
        v
    }
    fn store_lanes(self, v: Self::Lanes, out: &mut [f32; PANEL], group: usize);
    fn mul_lanes(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a * b + c` with one rounding.
    fn fma_lanes(self, a: Self::Lanes, b: Self::Lanes, c: Self::Lanes) -> Self::Lanes;

    /// Quants in 4 bits: bytes `64 p..` of `w` hold vector `2 p` in their low and vector `2 p + 1` in their high nibbles.
    fn nibbles(self, w: &[u8; 256], half: usize, group: usize) -> [Self::Quants; 4];
    /// Puts bit `g` of `plane` into bit `bit` (4 or 5) of vector `g`.
    fn with_bit(
        self,
        v: [Self::Quants; 4],
        plane: &[u8; 64],
        half: usize,
        group: usize,
        bit: usize,
    ) -> [Self::Quants; 4];
    /// Signed quants in 8 bits, for [`Dot::dot_i8`].
    fn bytes(self, w: &[i8; 512], half: usize, group: usize) -> [Self::Quants; 4];
    /// The table's signed entry for each quant of 4 bits, for [`Dot::dot_i8`].
    fn levels(self, v: [Self::Quants; 4], table: &[i8; 16]) -> [Self::Quants; 4];

    /// `Σ (quant - OFFSET) · x` over a half, for quants of at most 5 bits, or of 6 bits with an OFFSET of 32. OFFSET is 0
    /// or a power of two.
    fn dot_unsigned<const OFFSET: i32, const R: usize>(
        self,
        w: [Self::Quants; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [Self::Lanes; R];
    /// `Σ quant · x` over a half, for the signed quants of [`Dot::bytes`] and [`Dot::levels`].
    fn dot_i8<const R: usize>(
        self,
        w: [Self::Quants; 4],
        half: usize,
        x: [&Int8Block; R],
    ) -> [Self::Lanes; R];
}
