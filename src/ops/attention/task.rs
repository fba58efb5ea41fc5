//! One task of attention: a few query rows of one sequence against one key-value head.
//!
//! The rows' heads of the group make n query vectors (row-major, so rows that see a tile are a suffix). Each tile of the
//! cache is converted to f32 once for all of them: keys transposed, so that a lane is a token and a score is one chain of
//! FMAs in ascending d; values as they are, so that a lane is a d and an output one chain in ascending tokens. Tokens of
//! the tile that a row does not see may hold anything: their scores stay in their own lanes and are masked, their values
//! enter no chain, for a weight of zero times an infinity would be NaN.
#![allow(unsafe_code)]

use std::cell::RefCell;

use half::f16;

use super::batch::Chunk;
use super::{Attention, SPAN, TILE};
use crate::backend::cpu::{DisjointMut, Kernel, RowTiles, Simd, for_row_tiles};

/// Sixteen f32, one a token of a tile.
type Tile = [[f32; 8]; TILE / 8];

/// Online softmax over a part of the context: the largest score and the sum of `e^(score - max)`.
#[derive(Clone, Copy)]
struct State {
    max: f32,
    sum: f32,
}

const EMPTY: State = State {
    max: f32::NEG_INFINITY,
    sum: 0.0,
};

/// A thread's buffers, kept between tasks; n vectors of D = 8 c values.
#[derive(Default)]
struct Scratch {
    /// `[n, D]`, scaled.
    q: Vec<f32>,
    /// `[D]`.
    keys: Vec<Tile>,
    /// `[TILE, c]`.
    values: Vec<[f32; 8]>,
    /// `[n]`: scores, then weights.
    weights: Vec<Tile>,
    /// `[n]`: what the tile's new maximum multiplies the sums so far by.
    rescale: Vec<f32>,
    /// `[n]` and `[n, c]`: the span in progress.
    span: Vec<State>,
    span_out: Vec<[f32; 8]>,
    /// `[n]` and `[n, c]`: the spans before it.
    total: Vec<State>,
    total_out: Vec<[f32; 8]>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes the chunk's rows for the query heads of `kv_head`.
pub(super) fn run(
    op: &Attention<'_>,
    chunk: &Chunk<'_>,
    kv_head: usize,
    q: &[f32],
    cache: &[f16],
    out: &DisjointMut<'_, f32>,
) {
    SCRATCH.with_borrow_mut(|scratch| {
        op.cpu.dispatch(Task {
            op,
            chunk,
            kv_head,
            q,
            cache,
            out,
            scratch,
        })
    });
}

struct Task<'a> {
    op: &'a Attention<'a>,
    chunk: &'a Chunk<'a>,
    kv_head: usize,
    q: &'a [f32],
    cache: &'a [f16],
    out: &'a DisjointMut<'a, f32>,
    scratch: &'a mut Scratch,
}

impl Task<'_> {
    /// Where vector `v` lies in q and out.
    #[inline(always)]
    fn offset(&self, v: usize) -> usize {
        let group = self.op.heads_per_kv;
        let row = self.chunk.rows.start + v / group;
        let head = self.kv_head * group + v % group;
        (row * self.op.num_kv_heads * group + head) * self.op.head_dim
    }

    /// How many tokens vector `v` sees.
    #[inline(always)]
    fn visible(&self, v: usize) -> usize {
        self.chunk.visible + v / self.op.heads_per_kv
    }

    #[inline(always)]
    fn prepare<S: Simd>(&mut self, s: S, num: usize) {
        let head_dim = self.op.head_dim;
        self.scratch.q.resize(num * head_dim, 0.0);
        for v in 0..num {
            let from = self.q[self.offset(v)..][..head_dim].as_chunks::<8>().0;
            let to = self.scratch.q[v * head_dim..][..head_dim]
                .as_chunks_mut::<8>()
                .0;
            for (to, from) in to.iter_mut().zip(from) {
                s.store(s.mul(s.load(from), s.splat(self.op.scale)), to);
            }
        }
        let lanes = head_dim / 8;
        let scratch = &mut *self.scratch;
        scratch.keys.resize(head_dim, Tile::default());
        scratch.values.resize(TILE * lanes, [0.0; 8]);
        scratch.weights.resize(num, Tile::default());
        scratch.rescale.resize(num, 0.0);
        for state in [&mut scratch.span, &mut scratch.total] {
            state.clear();
            state.resize(num, EMPTY);
        }
        for out in [&mut scratch.span_out, &mut scratch.total_out] {
            out.clear();
            out.resize(num * lanes, [0.0; 8]);
        }
    }

    /// Converts the tile at `token`.
    #[inline(always)]
    fn load<S: Simd>(&mut self, s: S, token: usize) {
        let &Attention {
            num_kv_heads,
            head_dim,
            ..
        } = self.op;
        let (block_size, lanes) = (self.op.batch.block_size, head_dim / 8);
        let block = self.chunk.blocks[token / block_size] as usize;
        let tile = |which: usize| {
            let head = (block * 2 + which) * num_kv_heads + self.kv_head;
            let start = (head * block_size + token % block_size) * head_dim;
            self.cache[start..][..TILE * head_dim].as_chunks::<8>().0
        };
        let (keys, values) = (tile(0), tile(1));
        for c in 0..lanes {
            for half in 0..TILE / 8 {
                let mut rows = [s.splat(0.0); 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = s.load_f16(&keys[(half * 8 + i) * lanes + c]);
                }
                let columns = s.transpose(rows);
                for (key, column) in self.scratch.keys[c * 8..][..8].iter_mut().zip(columns) {
                    s.store(column, &mut key[half]);
                }
            }
        }
        for (to, from) in self.scratch.values.iter_mut().zip(values) {
            s.store(s.load_f16(from), to);
        }
    }

    /// Turns the scores of the tile at `token` into weights and updates the span's states, for the vectors from `first`.
    #[inline(always)]
    fn soften<S: Simd>(&mut self, s: S, token: usize, first: usize) {
        for v in first..self.scratch.weights.len() {
            let num = self.visible(v) - token;
            let weights = &mut self.scratch.weights[v];
            if num < TILE {
                weights.as_flattened_mut()[num..].fill(f32::NEG_INFINITY);
            }
            let state = &mut self.scratch.span[v];
            let scores = [s.load(&weights[0]), s.load(&weights[1])];
            let largest = s.max_lane(s.max(scores[0], scores[1]));
            let max = if largest > state.max {
                largest
            } else {
                state.max
            };
            // e^0 is exactly 1, so skipping it changes no bit. If both are still -inf, e^(-inf + inf) would be NaN; but
            // then so is the tile's sum, and the row with it.
            let rescale = if max == state.max {
                1.0
            } else {
                s.exp_one(state.max - max)
            };
            let exps = [
                s.exp(s.sub(scores[0], s.splat(max))),
                s.exp(s.sub(scores[1], s.splat(max))),
            ];
            s.store(exps[0], &mut weights[0]);
            s.store(exps[1], &mut weights[1]);
            *state = State {
                max,
                sum: state.sum * rescale + s.sum(s.add(exps[0], exps[1])),
            };
            self.scratch.rescale[v] = rescale;
        }
    }

    /// Merges the span into the total, for the vectors from `first`, and empties it.
    #[inline(always)]
    fn merge<S: Simd>(&mut self, s: S, first: usize) {
        let lanes = self.op.head_dim / 8;
        let scratch = &mut *self.scratch;
        for v in first..scratch.span.len() {
            let (span, total) = (scratch.span[v], &mut scratch.total[v]);
            let max = if span.max > total.max {
                span.max
            } else {
                total.max
            };
            let (old, new) = (s.exp_one(total.max - max), s.exp_one(span.max - max));
            *total = State {
                max,
                sum: total.sum * old + span.sum * new,
            };
            let range = v * lanes..(v + 1) * lanes;
            for (total, span) in scratch.total_out[range.clone()]
                .iter_mut()
                .zip(&scratch.span_out[range])
            {
                let kept = s.mul(s.load(total), s.splat(old));
                s.store(s.fma(s.load(span), s.splat(new), kept), total);
            }
        }
        scratch.span.fill(EMPTY);
        scratch.span_out.fill([0.0; 8]);
    }
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let group = self.op.heads_per_kv;
        let num = self.chunk.rows.len() * group;
        self.prepare(s, num);
        let (least, most) = (self.visible(0), self.visible(num - 1));
        for span in (0..most).step_by(SPAN) {
            for token in (span..most.min(span + SPAN)).step_by(TILE) {
                self.load(s, token);
                // Vector 0 sees `least` tokens and every further row one more.
                let first = (token + 1).saturating_sub(least) * group;
                for_row_tiles(
                    first..num,
                    &mut Scores {
                        s,
                        scratch: self.scratch,
                        head_dim: self.op.head_dim,
                    },
                );
                self.soften(s, token, first);
                // Vectors share register tiles with those that see as many of the tile's tokens.
                let mut v = first;
                while v < num {
                    let num_tokens = TILE.min(self.visible(v) - token);
                    let end = if num_tokens == TILE { num } else { v + group };
                    for_row_tiles(
                        v..end,
                        &mut Outputs {
                            s,
                            scratch: self.scratch,
                            lanes: self.op.head_dim / 8,
                            num_tokens,
                        },
                    );
                    v = end;
                }
            }
            self.merge(s, (span + 1).saturating_sub(least) * group);
        }
        let lanes = self.op.head_dim / 8;
        for v in 0..num {
            let inverse = s.splat(1.0 / self.scratch.total[v].sum);
            // SAFETY: tasks differ in rows or heads, and vectors of a task do too.
            let out = unsafe { self.out.slice(self.offset(v), self.op.head_dim) };
            for (out, sum) in out
                .as_chunks_mut::<8>()
                .0
                .iter_mut()
                .zip(&self.scratch.total_out[v * lanes..])
            {
                s.store(s.mul(s.load(sum), inverse), out);
            }
        }
    }
}

/// `weights[v][t] = q[v] · key[t]`.
struct Scores<'a, S> {
    s: S,
    scratch: &'a mut Scratch,
    head_dim: usize,
}

impl<S: Simd> RowTiles for Scores<'_, S> {
    #[inline(always)]
    fn tile<const R: usize>(&mut self, first: usize) {
        let (s, head_dim) = (self.s, self.head_dim);
        let mut q: [&[f32]; R] = [&[]; R];
        for (r, q) in q.iter_mut().enumerate() {
            *q = &self.scratch.q[(first + r) * head_dim..][..head_dim];
        }
        let mut sums = [[s.splat(0.0); 2]; R];
        for (d, key) in self.scratch.keys[..head_dim].iter().enumerate() {
            let key = [s.load(&key[0]), s.load(&key[1])];
            for r in 0..R {
                let q = s.splat(q[r][d]);
                sums[r][0] = s.fma(q, key[0], sums[r][0]);
                sums[r][1] = s.fma(q, key[1], sums[r][1]);
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let weights = &mut self.scratch.weights[first + r];
            s.store(sums[0], &mut weights[0]);
            s.store(sums[1], &mut weights[1]);
        }
    }
}

/// `span_out[v] = span_out[v] · rescale[v] + Σ weights[v][t] · value[t]` over the tile's first `num_tokens` tokens.
struct Outputs<'a, S> {
    s: S,
    scratch: &'a mut Scratch,
    lanes: usize,
    num_tokens: usize,
}

impl<S: Simd> Outputs<'_, S> {
    /// C vectors of eight d from lane `lane` on.
    #[inline(always)]
    fn columns<const R: usize, const C: usize>(&mut self, first: usize, lane: usize) {
        let (s, lanes) = (self.s, self.lanes);
        let mut sums = [[s.splat(0.0); C]; R];
        for (r, sums) in sums.iter_mut().enumerate() {
            let rescale = s.splat(self.scratch.rescale[first + r]);
            let out = &self.scratch.span_out[(first + r) * lanes + lane..][..C];
            for (sum, out) in sums.iter_mut().zip(out) {
                *sum = s.mul(s.load(out), rescale);
            }
        }
        let weights: &[Tile] = &self.scratch.weights[first..][..R];
        let values = &self.scratch.values[..self.num_tokens * lanes];
        for (t, values) in values.chunks_exact(lanes).enumerate() {
            let values = &values[lane..][..C];
            for r in 0..R {
                let weight = s.splat(weights[r][t / 8][t % 8]);
                for c in 0..C {
                    sums[r][c] = s.fma(weight, s.load(&values[c]), sums[r][c]);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let out = &mut self.scratch.span_out[(first + r) * lanes + lane..][..C];
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
