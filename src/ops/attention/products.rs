//! The two matrix products of attention in register tiles of rows by 16 lanes.

use std::ops::Range;

use super::{SPAN, TILE};
use crate::backend::cpu::{PANEL, RowTiles, Simd};

/// Sixteen f32, a lane each.
pub(super) type Lanes = [f32; PANEL];
/// One f32 a token of a span.
pub(super) type Weights = [Lanes; SPAN / PANEL];

const _: () = assert!(TILE == PANEL, "a tile of keys is one vector of lanes");

/// `weights[v][at][t] = q[v] · key[t]` for the tokens t of a tile.
pub(super) struct Scores<'a, S> {
    pub(super) s: S,
    /// `[n, c]`.
    pub(super) q: &'a [[f32; 8]],
    /// `[D]`.
    pub(super) keys: &'a [Lanes],
    pub(super) weights: &'a mut [Weights],
    pub(super) at: usize,
}

impl<S: Simd> RowTiles for Scores<'_, S> {
    const MOST: usize = S::ROWS;

    #[inline(always)]
    fn tile<const R: usize>(&mut self, first: usize) {
        let s = self.s;
        let keys = self.keys.as_chunks::<8>().0;
        let q: [&[[f32; 8]]; R] =
            std::array::from_fn(|r| &self.q[(first + r) * keys.len()..][..keys.len()]);
        let mut sums = [[s.lanes(0.0); 2]; R];
        for (c, keys) in keys.iter().enumerate() {
            let q: [&[f32; 8]; R] = std::array::from_fn(|r| &q[r][c]);
            for (d, key) in keys.iter().enumerate() {
                add(s, &mut sums, |r| q[r][d], key);
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let weights = &mut self.weights[first + r][self.at];
            store(s, sums, weights);
        }
    }
}

/// `out[v] += Σ weights[v][at + t / 16][t % 16] · value[t]` over the tokens `tokens` of `values`.
pub(super) struct Outputs<'a, S> {
    pub(super) s: S,
    pub(super) weights: &'a [Weights],
    /// `[p, tokens]`: of each token 16 neighbouring values, D of them padded to 16 p.
    pub(super) values: &'a [Lanes],
    pub(super) tokens: Range<usize>,
    /// `[n, p]`.
    pub(super) out: &'a mut [Lanes],
    pub(super) num_parts: usize,
    pub(super) at: usize,
}

impl<S: Simd> RowTiles for Outputs<'_, S> {
    const MOST: usize = S::ROWS;

    #[inline(always)]
    fn tile<const R: usize>(&mut self, first: usize) {
        let (s, num_parts) = (self.s, self.num_parts);
        let weights: [&[Lanes]; R] = std::array::from_fn(|r| {
            &self.weights[first + r][self.at..][..self.tokens.end.div_ceil(PANEL)]
        });
        let each_part = self.values.chunks_exact(self.values.len() / num_parts);
        for (part, values) in each_part.enumerate() {
            let out = &mut self.out[first * num_parts + part..];
            let mut sums = [[s.lanes(0.0); 2]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (group, sum) in sums.iter_mut().enumerate().take(S::GROUPS) {
                    *sum = s.lanes_f32(&out[r * num_parts], group);
                }
            }
            // Up to the first whole tile, whole tiles, what is left.
            let Range { start, end } = self.tokens;
            let whole = start.next_multiple_of(PANEL).min(end);
            for (t, value) in values[start..whole].iter().enumerate() {
                let t = start + t;
                add(s, &mut sums, |r| weights[r][t / PANEL][t % PANEL], value);
            }
            let values = values[whole..end].as_chunks::<PANEL>();
            for (tile, values) in values.0.iter().enumerate() {
                let tile = whole / PANEL + tile;
                let weights: [&Lanes; R] = std::array::from_fn(|r| &weights[r][tile]);
                for (t, value) in values.iter().enumerate() {
                    add(s, &mut sums, |r| weights[r][t], value);
                }
            }
            for (t, value) in values.1.iter().enumerate() {
                add(s, &mut sums, |r| weights[r][end / PANEL][t], value);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                store(s, sums, &mut out[r * num_parts]);
            }
        }
    }
}

/// `sums[r] += weight(r) · value`.
#[inline(always)]
fn add<S: Simd, const R: usize>(
    s: S,
    sums: &mut [[S::Lanes; 2]; R],
    weight: impl Fn(usize) -> f32,
    value: &Lanes,
) {
    for group in 0..S::GROUPS {
        let value = s.lanes_f32(value, group);
        for (r, sums) in sums.iter_mut().enumerate() {
            sums[group] = s.fma_lanes(s.lanes(weight(r)), value, sums[group]);
        }
    }
}

#[inline(always)]
fn store<S: Simd>(s: S, sums: [S::Lanes; 2], to: &mut Lanes) {
    for (group, sum) in sums.into_iter().enumerate().take(S::GROUPS) {
        s.store_lanes(sum, to, group);
    }
}
