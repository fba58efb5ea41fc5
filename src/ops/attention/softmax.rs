//! The softmax of a span, and its merging with those before.

use std::ops::Range;

use super::products::Weights;
use crate::backend::cpu::Simd;

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

    /// Writes the merged sums as attention: `out / sum`, a sink's part of the sum included.
    #[inline(always)]
    pub(super) fn finish<S: Simd>(
        self,
        s: S,
        sums: &[[f32; 8]],
        sink: Option<f32>,
        out: &mut [f32],
    ) {
        let inverse = match sink {
            None => 1.0 / self.sum,
            Some(sink) => {
                let max = if sink > self.max { sink } else { self.max };
                let scale = s.exp_one(self.max - max);
                scale / (self.sum * scale + s.exp_one(sink - max))
            }
        };
        let inverse = s.splat(inverse);
        for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            s.store(s.mul(s.load(sum), inverse), out);
        }
    }
}

/// `cap · tanh(score / cap)` of the tokens `seen`, and of what shares their eights.
#[inline(always)]
pub(super) fn cap_scores<S: Simd>(s: S, scores: &mut Weights, seen: Range<usize>, cap: f32) {
    let scores = scores.as_flattened_mut().as_chunks_mut::<8>().0;
    for scores in &mut scores[seen.start / 8..seen.end.div_ceil(8)] {
        s.store(s.soft_cap(s.load(scores), cap), scores);
    }
}

/// Turns the scores of the tokens `seen` into weights `e^(score - max)`, and the rest of their first and last eight into zeros.
/// If all scores of the span are -inf, `e^(-inf + inf)` is NaN, and so is the row, whatever its other spans hold: only infinite
/// queries or keys give such scores.
#[inline(always)]
pub(super) fn soften<S: Simd>(s: S, weights: &mut Weights, seen: Range<usize>) -> State {
    let weights = weights.as_flattened_mut();
    let first_eight = seen.start / 8;
    weights[first_eight * 8..seen.start].fill(f32::NEG_INFINITY);
    weights[seen.end..seen.end.next_multiple_of(8)].fill(f32::NEG_INFINITY);
    let weights = &mut weights.as_chunks_mut::<8>().0[first_eight..seen.end.div_ceil(8)];
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
