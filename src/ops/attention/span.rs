//! The attention of a few query rows of one sequence to one span of one key-value head.
//!
//! The rows' heads of the group make n query vectors (row-major, so rows that see a token are a suffix). Each tile of the
//! cache is converted to f32 once for all of them: of keys a lane is a token, and a score is one chain of FMAs in
//! ascending d; of values a lane is a d, and an output one chain in ascending tokens. Tokens that a row does not see may
//! hold anything: their scores stay in their own lanes and are masked, their values enter no chain, for a weight of
//! zero times an infinity would be NaN.

use std::ops::Range;

use super::batch::Chunk;
use super::products::{Lanes, Outputs, Scores, Weights};
use super::softmax::{State, cap_scores, soften};
use super::{Attention, Inputs, SPAN, TILE};
use crate::backend::cpu::{PANEL, Simd, for_row_tiles};
use crate::ops::kv_cache::{KvCache, KvFormat};

/// Values that are converted at once: 16 KiB of them at D = 64.
const VALUES: usize = 64;

/// A thread's buffers, kept between tasks; n vectors of D = 8 c values, which padded are p times 16.
#[derive(Default)]
pub(super) struct Scratch {
    /// `[n, c]`, scaled.
    q: Vec<[f32; 8]>,
    /// `[D]`.
    keys: Vec<Lanes>,
    /// `[p, VALUES]`.
    values: Vec<Lanes>,
    /// `[n]`: scores, then weights, of the span's tokens.
    weights: Vec<Weights>,
    /// `[n]` and `[n, p]`: the span last computed.
    pub(super) states: Vec<State>,
    out: Vec<Lanes>,
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

    /// Of vector `v`'s head.
    #[inline(always)]
    pub(super) fn sink(&self, v: usize) -> Option<f32> {
        let (_, head) = self.row_and_head(v);
        self.op.params.sinks.map(|sinks| sinks[head])
    }

    /// The token before which there are all that vector `v` sees, and those before its window.
    #[inline(always)]
    pub(super) fn visible(&self, v: usize) -> usize {
        self.chunk.visible + v / self.op.heads_per_kv
    }

    /// How many tokens are before the window of vector `v`.
    #[inline(always)]
    pub(super) fn hidden(&self, v: usize) -> usize {
        self.visible(v).saturating_sub(self.op.window)
    }

    /// The vectors that see anything of `tokens`: row 0 sees `chunk.visible` tokens, of which the last `window` count, and every
    /// further row begins and ends one later.
    #[inline(always)]
    pub(super) fn seeing(&self, tokens: Range<usize>) -> Range<usize> {
        let group = self.op.heads_per_kv;
        let first = (tokens.start + 1).saturating_sub(self.chunk.visible);
        let end = tokens.end.saturating_add(self.op.window);
        let end = end.saturating_sub(self.chunk.visible);
        first * group..end.saturating_mul(group).min(self.num())
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
    ) -> (&'a [F::Unit], &'a [F::Unit]) {
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
        (units, &scales[offset * F::SCALE_UNITS..])
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
        let (lanes, num_parts) = (head_dim / 8, self.num_parts());
        let scratch = &mut *self.scratch;
        scratch.q.resize(num * lanes, [0.0; 8]);
        for (v, to) in scratch.q.chunks_exact_mut(lanes).enumerate() {
            let (row, head) = self.vectors.row_and_head(v);
            let start = (self.vectors.chunk.rows.start + row) * op.row_len + head * head_dim;
            let from = self.inputs.qkv[start..][..head_dim].as_chunks::<8>().0;
            for (to, from) in to.iter_mut().zip(from) {
                s.store(s.mul(s.load(from), s.splat(op.params.scale)), to);
            }
        }
        scratch.keys.resize(head_dim, Default::default());
        scratch.values.resize(VALUES * num_parts, [0.0; PANEL]);
        scratch.weights.resize(num, [[0.0; PANEL]; SPAN / PANEL]);
        scratch.states.resize(num, State::EMPTY);
        scratch.out.resize(num * num_parts, [0.0; PANEL]);
    }

    /// Computes states and sums of values, over the span from `span` on, of the vectors that see it, and says which those are.
    #[inline(always)]
    pub(super) fn span(&mut self, span: usize) -> Range<usize> {
        let (s, vectors) = (self.s, self.vectors);
        let num_parts = self.num_parts();
        let seeing = vectors.seeing(span..span + SPAN);
        if seeing.is_empty() {
            return seeing;
        }
        let start = vectors.hidden(seeing.start).max(span);
        let end = vectors.visible(seeing.end - 1).min(span + SPAN);
        for token in (start / TILE * TILE..end).step_by(TILE) {
            let next = if token + TILE < end {
                token + TILE
            } else {
                token
            };
            self.load_keys(token, next);
            let mut scores = Scores {
                s,
                q: &self.scratch.q,
                keys: &self.scratch.keys,
                weights: &mut self.scratch.weights,
                at: (token - span) / PANEL,
            };
            for_row_tiles(vectors.seeing(token..token + TILE), &mut scores);
        }
        let softcap = self.inputs.op.params.softcap;
        for v in seeing.clone() {
            let seen = vectors.hidden(v).max(span) - span..vectors.visible(v).min(end) - span;
            let weights = &mut self.scratch.weights[v];
            if let Some(cap) = softcap {
                cap_scores(s, weights, seen.clone(), cap);
            }
            self.scratch.states[v] = soften(s, weights, seen);
        }
        self.scratch.out[seeing.start * num_parts..seeing.end * num_parts].fill([0.0; PANEL]);
        for token in (start / VALUES * VALUES..end).step_by(VALUES) {
            let len = VALUES.min(end - token);
            self.load_values(token, len);
            let Range {
                start: mut v,
                end: num,
            } = vectors.seeing(token..token + len);
            while v < num {
                // Vectors share register tiles with those that see the same of these tokens.
                let first = vectors.hidden(v).saturating_sub(token);
                let tokens = first..len.min(vectors.visible(v) - token);
                let stop = match tokens == (0..len) {
                    true => vectors.seeing(token..token + 1).end,
                    false => v + self.inputs.op.heads_per_kv,
                };
                let mut outputs = Outputs {
                    s,
                    weights: &self.scratch.weights,
                    values: &self.scratch.values,
                    tokens,
                    out: &mut self.scratch.out,
                    num_parts,
                    at: (token - span) / PANEL,
                };
                for_row_tiles(v..stop, &mut outputs);
                v = stop;
            }
        }
        seeing
    }

    /// Meanwhile asks for the keys at `next` and the values at `token`: tiles of different blocks are no neighbours in memory, so
    /// the processor cannot know what comes next. All requests at once would fill its queue, and everything would wait.
    #[inline(always)]
    fn load_keys(&mut self, token: usize, next: usize) {
        const LINE: usize = 64;
        let units_per_line = LINE / size_of::<F::Unit>();
        let s = self.s;
        let mut scales = [1.0; TILE];
        let (units, scale_units) = self.inputs.tile(&self.vectors, token, 0);
        let coming = [(next, 0), (token, 1)]
            .map(|(token, which)| self.inputs.tile(&self.vectors, token, which).0);
        if F::SCALE_UNITS > 0 {
            let scale_units = scale_units.chunks_exact(F::SCALE_UNITS);
            for (scale, units) in scales.iter_mut().zip(scale_units) {
                *scale = F::scale(units);
            }
        }
        let units = units.as_chunks::<PANEL>().0;
        for (d, (key, units)) in self.scratch.keys.iter_mut().zip(units).enumerate() {
            if (d * PANEL).is_multiple_of(units_per_line) {
                for units in coming {
                    s.prefetch(&units[d * PANEL]);
                }
            }
            for group in 0..S::GROUPS {
                let mut lanes = F::decode(s, units, group);
                if F::SCALE_UNITS > 0 {
                    lanes = s.mul_lanes(lanes, s.lanes_f32(&scales, group));
                }
                s.store_lanes(lanes, key, group);
            }
        }
    }

    #[inline(always)]
    fn load_values(&mut self, token: usize, len: usize) {
        let (s, head_dim) = (self.s, self.inputs.op.cache.head_dim);
        for start in (0..len).step_by(TILE) {
            let (units, scale_units) = self.inputs.tile(&self.vectors, token + start, 1);
            for (part, values) in self.scratch.values.chunks_exact_mut(VALUES).enumerate() {
                let values = &mut values[start..][..TILE];
                for (t, (value, units)) in values
                    .iter_mut()
                    .zip(units.chunks_exact(head_dim))
                    .enumerate()
                {
                    let mut padded = [F::Unit::default(); PANEL];
                    let units = &units[part * PANEL..];
                    let units = units.first_chunk().unwrap_or_else(|| {
                        padded[..units.len()].copy_from_slice(units);
                        &padded
                    });
                    for group in 0..S::GROUPS {
                        let mut lanes = F::decode(s, units, group);
                        if F::SCALE_UNITS > 0 {
                            let scale = F::scale(&scale_units[t * F::SCALE_UNITS..]);
                            lanes = s.mul_lanes(lanes, s.lanes(scale));
                        }
                        s.store_lanes(lanes, value, group);
                    }
                }
            }
        }
    }

    /// Sixteens that hold a vector.
    #[inline(always)]
    fn num_parts(&self) -> usize {
        self.inputs.op.cache.head_dim.div_ceil(PANEL)
    }

    /// The sums of values of vector `v`, `[c]`.
    #[inline(always)]
    pub(super) fn out(&self, v: usize) -> &[[f32; 8]] {
        let num_parts = self.num_parts();
        eights(&self.scratch.out[v * num_parts..], self.inputs.op)
    }

    /// Adds the span of vector `v` to those before it.
    #[inline(always)]
    pub(super) fn merge(&mut self, v: usize) {
        let (op, num_parts) = (self.inputs.op, self.num_parts());
        let out = eights(&self.scratch.out[v * num_parts..], op);
        let total_out = &mut self.scratch.total_out[v * out.len()..][..out.len()];
        self.scratch.total_states[v].merge(self.s, total_out, self.scratch.states[v], out);
    }
}

/// The D values at the start of `padded`.
#[inline(always)]
fn eights<'a>(padded: &'a [Lanes], op: &Attention<'_>) -> &'a [[f32; 8]] {
    &padded.as_flattened().as_chunks().0[..op.cache.head_dim / 8]
}
