//! Kernels are written once over [`Simd`], eight f32 lanes, and compiled for each instruction set.
//!
//! Invariant: every method gives the same bits in every implementation (NaN payloads aside). So the methods are single
//! IEEE operations, exact integer sums, or reductions in a stated order, and `exp` is one polynomial in terms of them.

use half::f16;

use super::dot::Dot;

/// Operations on eight f32 lanes. A value of the type proves that the processor has the instructions.
pub(crate) trait Simd: Dot {
    /// Eight f32.
    type F: Copy;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32; 8]) -> Self::F;
    fn store(self, v: Self::F, out: &mut [f32; 8]);
    /// Asks for the cache line of what will be read soon; changes nothing, and the address may be anything.
    #[inline(always)]
    fn prefetch<T>(self, _: *const T) {}
    /// Rounds to nearest, ties to even.
    fn store_f16(self, v: Self::F, out: &mut [f16; 8]);

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c` with one rounding.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `if a > b { a } else { b }`: of an unordered pair, `b`.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `if a < b { a } else { b }`: of an unordered pair, `b`.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// `2^n` for integral `-127 <= n <= 127`, where `n = -127` gives zero.
    fn pow2(self, n: Self::F) -> Self::F;
    /// `((l0 + l4) + (l2 + l6)) + ((l1 + l5) + (l3 + l7))`.
    fn sum(self, a: Self::F) -> f32;
    /// The largest lane, by [`Simd::max`] in the order of [`Simd::sum`].
    fn max_lane(self, a: Self::F) -> f32;
    /// Lane `i` of row `j` becomes lane `j` of row `i`.
    fn transpose(self, rows: [Self::F; 8]) -> [Self::F; 8];

    /// Rounds 32 values in `-127.5..127.5` to nearest, ties to even. Gives for both halves of 16 the sum of the values
    /// `4 j, 4 j + 1` and that of the values `4 j + 2, 4 j + 3`.
    fn to_i8(self, v: [Self::F; 4], out: &mut [i8; 32]) -> [[i16; 2]; 2];

    /// `e^x`, within 2 ulp for `-87 <= x <= 88`; zero below -87.7, `e^88` above 88, NaN for NaN.
    ///
    /// `x = n ln 2 + r` with `|r| <= ln 2 / 2` (Cody and Waite's two-part ln 2), then Taylor's polynomial of degree 7.
    #[inline(always)]
    fn exp(self, x: Self::F) -> Self::F {
        // In this order `max` and `min` pass a NaN on.
        let x = self.min(self.splat(88.0), self.max(self.splat(-88.0), x));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        let r = self.fma(n, self.splat(-355.0 / 512.0), x);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut p = self.splat(1.0 / 5040.0);
        for c in [
            1.0 / 720.0,
            1.0 / 120.0,
            1.0 / 24.0,
            1.0 / 6.0,
            0.5,
            1.0,
            1.0,
        ] {
            p = self.fma(p, r, self.splat(c));
        }
        self.mul(p, self.pow2(n))
    }

    /// `cap · tanh(x / cap)`, as `tanh y = 1 - 2 / (1 + e^2y)`: within a ten-millionth of the cap.
    #[inline(always)]
    fn soft_cap(self, x: Self::F, cap: f32) -> Self::F {
        let one = self.splat(1.0);
        let exp = self.exp(self.mul(x, self.splat(2.0 / cap)));
        let part = self.div(self.splat(2.0), self.add(one, exp));
        self.mul(self.splat(cap), self.sub(one, part))
    }

    /// One [`Simd::exp`].
    #[inline(always)]
    fn exp_one(self, x: f32) -> f32 {
        let mut out = [0.0; 8];
        self.store(self.exp(self.splat(x)), &mut out);
        out[0]
    }
}

/// A computation over any [`Simd`]. Its `run`, and all that it calls with a `Simd`, must be `#[inline(always)]`: only so
/// are they compiled with the instructions of their caller.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// A computation over rows that shares work (a load, an unpacking) between the R rows of a tile. What it computes for
/// a row must not depend on R.
pub(crate) trait RowTiles {
    /// The largest R: 4 or 8.
    const MOST: usize = 4;
    fn tile<const R: usize>(&mut self, first_row: usize);
}

/// Covers `rows` with tiles of the most rows, of four rows, and one smaller one.
#[inline(always)]
pub(crate) fn for_row_tiles<T: RowTiles>(rows: std::ops::Range<usize>, body: &mut T) {
    let mut row = rows.start;
    if T::MOST == 8 {
        while row + 8 <= rows.end {
            body.tile::<8>(row);
            row += 8;
        }
    }
    while row + 4 <= rows.end {
        body.tile::<4>(row);
        row += 4;
    }
    match rows.end.saturating_sub(row) {
        3 => body.tile::<3>(row),
        2 => body.tile::<2>(row),
        1 => body.tile::<1>(row),
        _ => {}
    }
}
