//! The two matrix products of attention in register tiles.

use super::{SPAN, TILE};
use crate::backend::cpu::{RowTiles, Simd};

/// One f32 a token of a span.
pub(super) type Weights = [[f32; 8]; SPAN / 8];

/// `weights[v][at + t] = q[v] · key[t]` for the tokens t of a tile; `at` counts eights.
pub(super) struct Scores<'a, S> {
    pub(super) s: S,
    /// `[n, c]`.
    pub(super) q: &'a [[f32; 8]],
    /// `[D]`.
    pub(super) keys: &'a [[[f32; 8]; TILE / 8]],
    pub(super) weights: &'a mut [Weights],
    pub(super) at: usize,
}

impl<S: Simd> RowTiles for Scores<'_, S> {
    #[inline(always)]
    fn tile<const R: usize>(&mut self, first: usize) {
        let s = self.s;
        let keys = self.keys.as_chunks::<8>().0;
        let q: [&[[f32; 8]]; R] =
            std::array::from_fn(|r| &self.q[(first + r) * keys.len()..][..keys.len()]);
        let mut sums = [[s.splat(0.0); TILE / 8]; R];
        for (c, keys) in keys.iter().enumerate() {
            let q: [&[f32; 8]; R] = std::array::from_fn(|r| &q[r][c]);
            for (d, key) in keys.iter().enumerate() {
                let key = [s.load(&key[0]), s.load(&key[1])];
                for r in 0..R {
                    let q = s.splat(q[r][d]);
                    sums[r][0] = s.fma(q, key[0], sums[r][0]);
                    sums[r][1] = s.fma(q, key[1], sums[r][1]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let weights = &mut self.weights[first + r][self.at..][..TILE / 8];
            for (weights, sum) in weights.iter_mut().zip(sums) {
                s.store(sum, weights);
            }
        }
    }
}

/// `out[v] += Σ weights[v][at + t] · value[t]` over all tokens t of `values`; `at` counts eights.
pub(super) struct Outputs<'a, S> {
    pub(super) s: S,
    pub(super) weights: &'a [Weights],
    /// `[tokens, lanes]`.
    pub(super) values: &'a [[f32; 8]],
    pub(super) lanes: usize,
    /// `[n, lanes]`.
    pub(super) out: &'a mut [[f32; 8]],
    pub(super) at: usize,
}

impl<S: Simd> Outputs<'_, S> {
    /// C vectors of eight d from lane `lane` on.
    #[inline(always)]
    fn columns<const R: usize, const C: usize>(&mut self, first: usize, lane: usize) {
        let (s, lanes) = (self.s, self.lanes);
        let mut sums = [[s.splat(0.0); C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let out = &self.out[(first + r) * lanes + lane..][..C];
            for (sum, out) in sums.iter_mut().zip(out) {
                *sum = s.load(out);
            }
        }
        let num_eights = self.values.len().div_ceil(8 * lanes);
        let weights: [&[[f32; 8]]; R] =
            std::array::from_fn(|r| &self.weights[first + r][self.at..][..num_eights]);
        for (eight, values) in self.values.chunks(8 * lanes).enumerate() {
            let weights: [&[f32; 8]; R] = std::array::from_fn(|r| &weights[r][eight]);
            for (t, values) in values.chunks_exact(lanes).take(8).enumerate() {
                let values = &values[lane..][..C];
                for r in 0..R {
                    let weight = s.splat(weights[r][t]);
                    for c in 0..C {
                        sums[r][c] = s.fma(weight, s.load(&values[c]), sums[r][c]);
                    }
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let out = &mut self.out[(first + r) * lanes + lane..][..C];
            for (sum, out) in sums.into_iter().zip(out) {
                s.store(sum, out);
            }
        }
    }
}

impl<S: Simd> RowTiles for Outputs<'_, S> {
    #[inline(always)]
    fn tile<const R: usize>(&mut self, first: usize) {
        for lane in (0..self.lanes / 2 * 2).step_by(2) {
            self.columns::<R, 2>(first, lane);
        }
        if !self.lanes.is_multiple_of(2) {
            self.columns::<R, 1>(first, self.lanes - 1);
        }
    }
}
