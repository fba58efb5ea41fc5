//! The attention of a few query rows of one sequence to one span of one key-value head.
//!
//! The rows' heads of the group make n query vectors (row-major, so rows that see a token are a suffix). Each tile of the
//! cache is converted to f32 once for all of them: of keys a lane is a token, and a score is one chain of FMAs in
//! ascending d; of values a lane is a d, and an output one chain in ascending tokens. Tokens that a row does not see may
//! hold anything: their scores stay in their own lanes and are masked, their values enter no chain, for a weight of
//! zero times an infinity would be NaN.

use super::batch::Chunk;
use super::products::{Outputs, Scores, Weights};
use super::{Attention, Inputs, SPAN, TILE};
use crate::backend::cpu::{Simd, for_row_tiles};
use crate::ops::kv_cache::{KvCache, KvFormat};

/// Softmax over a part of the context: the largest score and the sum of `e^(score - max)`.
#[derive(Clone, Copy)]
pub(super) struct State {
    pub(super) max: f32,
    pub(super) sum: f32,
}

impl State {
    pub(super) const EMPTY: Self = Self {
        max: f32::NEG_INFINITY,
        sum: 0.0,
    };

    /// Adds the span after those of `self`; out and span_out are the sums of values, `[D]`.
    #[inline(always)]
    pub(super) fn merge<S: Simd>(
        &mut self,
        s: S,
        out: &mut [[f32; 8]],
        span: Self,
        span_out: &[[f32; 8]],
    ) {
        let max = if span.max > self.max {
            span.max
        } else {
            self.max
        };
        let (old, new) = (s.exp_one(self.max - max), s.exp_one(span.max - max));
        *self = Self {
            max,
            sum: self.sum * old + span.sum * new,
        };
        for (out, span) in out.iter_mut().zip(span_out) {
            let kept = s.mul(s.load(out), s.splat(old));
            s.store(s.fma(s.load(span), s.splat(new), kept), out);
        }
    }

    /// Writes the merged sums as attention: `out / sum`.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(self, s: S, sums: &[[f32; 8]], out: &mut [f32]) {
        let inverse = s.splat(1.0 / self.sum);
        for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            s.store(s.mul(s.load(sum), inverse), out);
        }
    }
}

/// Values that are converted at once: 16 KiB of them at D = 64.
const VALUES: usize = 64;

/// A thread's buffers, kept between tasks; n vectors of D = 8 c values.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[n, c]`, scaled.
    q: Vec<[f32; 8]>,
    /// `[D]`.
    keys: Vec<[[f32; 8]; TILE / 8]>,
    /// `[VALUES, c]`.
    values: Vec<[f32; 8]>,
    /// `[n]`: scores, then weights, of the span's tokens.
    weights: Vec<Weights>,
    /// `[n]` and `[n, c]`: the span last computed.
    pub(super) states: Vec<State>,
    pub(super) out: Vec<[f32; 8]>,
    /// `[n]` and `[n, c]`: of a whole task, the spans before it.
    pub(super) total_states: Vec<State>,
    pub(super) total_out: Vec<[f32; 8]>,
}

/// The vectors of a chunk and a key-value head.
#[derive(Clone, Copy)]
pub(super) struct Vectors<'a> {
    pub(super) op: &'a Attention<'a>,
    pub(super) chunk: &'a Chunk<'a>,
    pub(super) kv_head: usize,
}

impl Vectors<'_> {
    pub(super) fn num(&self) -> usize {
        self.chunk.rows.len() * self.op.heads_per_kv
    }

    /// Row, from the chunk's first, and query head of vector `v`.
    #[inline(always)]
    pub(super) fn row_and_head(&self, v: usize) -> (usize, usize) {
        let group = self.op.heads_per_kv;
        (v / group, self.kv_head * group + v % group)
    }

    /// How many tokens vector `v` sees.
    #[inline(always)]
    pub(super) fn visible(&self, v: usize) -> usize {
        self.chunk.visible + v / self.op.heads_per_kv
    }

    /// The first vector that sees `token`: vector 0 sees `chunk.visible` tokens and every further row one more.
    #[inline(always)]
    pub(super) fn first_seeing(&self, token: usize) -> usize {
        (token + 1).saturating_sub(self.chunk.visible) * self.op.heads_per_kv
    }
}

impl<'a, F: KvFormat> Inputs<'a, F> {
    /// The units of the tile at `token`, of keys (`which` 0) or values (1), and from there on the scales.
    #[inline(always)]
    fn tile(
        &self,
        vectors: &Vectors<'_>,
        token: usize,
        which: usize,
    ) -> (&'a [[F::Unit; 8]], &'a [F::Unit]) {
        let cache = self.op.cache;
        let &KvCache {
            block_size,
            head_dim,
            ..
        } = cache;
        let block = vectors.chunk.blocks[token / block_size] as usize;
        let start = cache.head_start::<F>(block, which, vectors.kv_head);
        let head = &self.cache[start..][..cache.head_len::<F>()];
        let (units, scales) = head.split_at(block_size * head_dim);
        let offset = token % block_size;
        let units = &units[offset * head_dim..][..TILE * head_dim];
        (units.as_chunks::<8>().0, &scales[offset * F::SCALE_UNITS..])
    }
}

/// Computes spans for one task.
pub(super) struct SpanKernel<'a, S, F: KvFormat> {
    pub(super) s: S,
    pub(super) inputs: &'a Inputs<'a, F>,
    pub(super) vectors: Vectors<'a>,
    pub(super) scratch: &'a mut Scratch,
}

impl<S: Simd, F: KvFormat> SpanKernel<'_, S, F> {
    /// Scales the queries and makes room. Once a task.
    #[inline(always)]
    pub(super) fn prepare(&mut self) {
        let (s, num, op) = (self.s, self.vectors.num(), self.inputs.op);
        let head_dim = op.cache.head_dim;
        let lanes = head_dim / 8;
        let scratch = &mut *self.scratch;
        scratch.q.resize(num * lanes, [0.0; 8]);
        for (v, to) in scratch.q.chunks_exact_mut(lanes).enumerate() {
            let (row, head) = self.vectors.row_and_head(v);
            let start = (self.vectors.chunk.rows.start + row) * op.row_len + head * head_dim;
            let from = self.inputs.qkv[start..][..head_dim].as_chunks::<8>().0;
            for (to, from) in to.iter_mut().zip(from) {
                s.store(s.mul(s.load(from), s.splat(op.scale)), to);
            }
        }
        scratch.keys.resize(head_dim, Default::default());
        scratch.values.resize(VALUES * lanes, [0.0; 8]);
        scratch.weights.resize(num, [[0.0; 8]; SPAN / 8]);
        scratch.states.resize(num, State::EMPTY);
        scratch.out.resize(num * lanes, [0.0; 8]);
    }

    /// Computes states and sums of values, over the span from `span` on, of the vectors that see it.
    #[inline(always)]
    pub(super) fn span(&mut self, span: usize) {
        let (s, vectors) = (self.s, self.vectors);
        let (num, lanes) = (vectors.num(), self.inputs.op.cache.head_dim / 8);
        let end = vectors.visible(num - 1).min(span + SPAN);
        for token in (span..end).step_by(TILE) {
            self.load_keys(token);
            let mut scores = Scores {
                s,
                q: &self.scratch.q,
                keys: &self.scratch.keys,
                weights: &mut self.scratch.weights,
                at: (token - span) / 8,
            };
            for_row_tiles(vectors.first_seeing(token)..num, &mut scores);
        }
        let first = vectors.first_seeing(span);
        for v in first..num {
            let num_tokens = vectors.visible(v).min(end) - span;
            self.scratch.states[v] = soften(s, &mut self.scratch.weights[v], num_tokens);
        }
        self.scratch.out[first * lanes..].fill([0.0; 8]);
        for token in (span..end).step_by(VALUES) {
            let len = VALUES.min(end - token);
            self.load_values(token, len);
            let mut v = vectors.first_seeing(token);
            while v < num {
                // Vectors share register tiles with those that see as many of these tokens.
                let num_tokens = len.min(vectors.visible(v) - token);
                let stop = match num_tokens == len {
                    true => num,
                    false => v + self.inputs.op.heads_per_kv,
                };
                let mut outputs = Outputs {
                    s,
                    weights: &self.scratch.weights,
                    values: &self.scratch.values[..num_tokens * lanes],
                    lanes,
                    out: &mut self.scratch.out,
                    at: (token - span) / 8,
                };
                for_row_tiles(v..stop, &mut outputs);
                v = stop;
            }
        }
    }

    #[inline(always)]
    fn load_keys(&mut self, token: usize) {
        let s = self.s;
        let mut scales = [[1.0; 8]; TILE / 8];
        let (units, scale_units) = self.inputs.tile(&self.vectors, token, 0);
        if F::SCALE_UNITS > 0 {
            for (scale, units) in scales
                .as_flattened_mut()
                .iter_mut()
                .zip(scale_units.chunks_exact(F::SCALE_UNITS))
            {
                *scale = F::scale(units);
            }
        }
        for (key, [low, high]) in self.scratch.keys.iter_mut().zip(units.as_chunks::<2>().0) {
            for (half, units) in [low, high].into_iter().enumerate() {
                s.store(
                    scaled::<S, F>(s, units, s.load(&scales[half])),
                    &mut key[half],
                );
            }
        }
    }

    #[inline(always)]
    fn load_values(&mut self, token: usize, len: usize) {
        let (s, lanes) = (self.s, self.inputs.op.cache.head_dim / 8);
        let values = self.scratch.values.chunks_mut(TILE * lanes);
        for (i, values) in values.take(len.div_ceil(TILE)).enumerate() {
            let (units, scale_units) = self.inputs.tile(&self.vectors, token + i * TILE, 1);
            for (t, (values, units)) in values
                .chunks_exact_mut(lanes)
                .zip(units.chunks_exact(lanes))
                .enumerate()
            {
                let scale = match F::SCALE_UNITS {
                    0 => 1.0,
                    n => F::scale(&scale_units[t * n..]),
                };
                for (value, units) in values.iter_mut().zip(units) {
                    s.store(scaled::<S, F>(s, units, s.splat(scale)), value);
                }
            }
        }
    }
}

#[inline(always)]
fn scaled<S: Simd, F: KvFormat>(s: S, units: &[F::Unit; 8], scale: S::F) -> S::F {
    match F::SCALE_UNITS {
        0 => F::decode(s, units),
        _ => s.mul(F::decode(s, units), scale),
    }
}

/// Turns the scores of the first `num_tokens` tokens into weights `e^(score - max)` and the rest of their last eight into
/// zeros. If all scores of the span are -inf, `e^(-inf + inf)` is NaN, and so is the row, whatever its other spans hold:
/// only infinite queries or keys give such scores.
#[inline(always)]
fn soften<S: Simd>(s: S, weights: &mut Weights, num_tokens: usize) -> State {
    weights.as_flattened_mut()[num_tokens..num_tokens.next_multiple_of(8)].fill(f32::NEG_INFINITY);
    let weights = &mut weights[..num_tokens.div_ceil(8)];
    let mut max = s.splat(f32::NEG_INFINITY);
    for scores in weights.iter() {
        max = s.max(s.load(scores), max);
    }
    let max = s.max_lane(max);
    let mut sum = s.splat(0.0);
    for weights in weights.iter_mut() {
        let exp = s.exp(s.sub(s.load(weights), s.splat(max)));
        s.store(exp, weights);
        sum = s.add(sum, exp);
    }
    State {
        max,
        sum: s.sum(sum),
    }
}
