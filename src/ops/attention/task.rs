//! The tasks of attention: a chunk of rows and one key-value head, whole or span by span.
#![allow(unsafe_code)]

use std::cell::RefCell;

use super::batch::Chunk;
use super::softmax::State;
use super::span::{Scratch, SpanKernel, Vectors};
use super::{Attention, Inputs, SPAN};
use crate::backend::cpu::{DisjointMut, Kernel, Simd};
use crate::ops::kv_cache::{KvFormat, MAX_HEAD_DIM};

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Computes a chunk's rows for the query heads of a key-value head.
///
/// # Safety
/// No other task of the same chunk and head may run at the same time on the same memory.
pub(super) unsafe fn whole<F: KvFormat>(
    inputs: &Inputs<'_, F>,
    (chunk, kv_head): (usize, usize),
    out: &DisjointMut<'_, f32>,
) {
    SCRATCH.with_borrow_mut(|scratch| {
        inputs.op.cpu.dispatch(Whole {
            inputs,
            vectors: inputs.op.vectors(chunk, kv_head),
            scratch,
            out,
        })
    });
}

/// Computes one span of a chunk, to be merged.
///
/// # Safety
/// No other task of the same span and head may run at the same time on the same memory.
pub(super) unsafe fn part<F: KvFormat>(
    inputs: &Inputs<'_, F>,
    (span, kv_head): (usize, usize),
    partials: &DisjointMut<'_, [f32; 8]>,
) {
    let batch = inputs.op.batch;
    let chunk = batch
        .chunks
        .partition_point(|chunk| chunk.first_span <= span)
        - 1;
    SCRATCH.with_borrow_mut(|scratch| {
        inputs.op.cpu.dispatch(Part {
            inputs,
            vectors: inputs.op.vectors(chunk, kv_head),
            span: span - batch.chunks[chunk].first_span,
            scratch,
            partials,
        })
    });
}

/// Merges the spans of a chunk.
///
/// # Safety
/// No other task of the same chunk and head may run at the same time on the same memory.
pub(super) unsafe fn merge(
    op: &Attention<'_>,
    (chunk, kv_head): (usize, usize),
    partials: &[[f32; 8]],
    out: &DisjointMut<'_, f32>,
) {
    op.cpu.dispatch(Merge {
        vectors: op.vectors(chunk, kv_head),
        partials,
        out,
    });
}

impl Attention<'_> {
    fn vectors(&self, chunk: usize, kv_head: usize) -> Vectors<'_> {
        Vectors {
            op: self,
            chunk: &self.batch.chunks[chunk],
            kv_head,
        }
    }

    /// Of a partial, in vectors of eight: the state, then the sums of values.
    pub(super) fn partial_len(&self) -> usize {
        1 + self.cache.head_dim / 8
    }
}

impl Vectors<'_> {
    /// Where the partial of vector `v` and a span of the chunk starts.
    #[inline(always)]
    fn partial_start(&self, v: usize, span: usize) -> usize {
        let &Chunk {
            ref rows,
            first_partial,
            ..
        } = self.chunk;
        let (row, head) = self.row_and_head(v);
        ((first_partial + span * rows.len() + row) * self.op.num_heads() + head)
            * self.op.partial_len()
    }

    /// Where vector `v`'s values start in out.
    #[inline(always)]
    fn out_start(&self, v: usize) -> usize {
        let (row, head) = self.row_and_head(v);
        ((self.chunk.rows.start + row) * self.op.num_heads() + head) * self.op.cache.head_dim
    }
}

struct Whole<'a, F: KvFormat> {
    inputs: &'a Inputs<'a, F>,
    vectors: Vectors<'a>,
    scratch: &'a mut Scratch,
    out: &'a DisjointMut<'a, f32>,
}

impl<F: KvFormat> Kernel for Whole<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            inputs,
            vectors,
            scratch,
            out,
        } = self;
        let (num, lanes) = (vectors.num(), inputs.op.cache.head_dim / 8);
        let mut kernel = SpanKernel {
            s,
            inputs,
            vectors,
            scratch,
        };
        kernel.prepare();
        let scratch = &mut *kernel.scratch;
        scratch.total_states.clear();
        scratch.total_states.resize(num, State::EMPTY);
        scratch.total_out.clear();
        scratch.total_out.resize(num * lanes, [0.0; 8]);
        let first_span = vectors.hidden(0) / SPAN * SPAN;
        for span in (first_span..vectors.visible(num - 1)).step_by(SPAN) {
            for v in kernel.span(span) {
                kernel.merge(v);
            }
        }
        for v in 0..num {
            let sums = &kernel.scratch.total_out[v * lanes..][..lanes];
            // SAFETY: tasks differ in rows or heads (the caller's contract), and vectors of a task do too.
            let out = unsafe { out.slice(vectors.out_start(v), lanes * 8) };
            kernel.scratch.total_states[v].finish(s, sums, vectors.sink(v), out);
        }
    }
}

struct Part<'a, F: KvFormat> {
    inputs: &'a Inputs<'a, F>,
    vectors: Vectors<'a>,
    /// From the chunk's first.
    span: usize,
    scratch: &'a mut Scratch,
    partials: &'a DisjointMut<'a, [f32; 8]>,
}

impl<F: KvFormat> Kernel for Part<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self {
            inputs,
            vectors,
            span,
            scratch,
            partials,
        } = self;
        let lanes = inputs.op.cache.head_dim / 8;
        let mut kernel = SpanKernel {
            s,
            inputs,
            vectors,
            scratch,
        };
        if vectors.seeing(span * SPAN..(span + 1) * SPAN).is_empty() {
            return;
        }
        kernel.prepare();
        for v in kernel.span(span * SPAN) {
            let State { max, sum } = kernel.scratch.states[v];
            let start = vectors.partial_start(v, span);
            // SAFETY: tasks differ in spans or heads (the caller's contract), and vectors of a task in rows or heads.
            let partial = unsafe { partials.slice(start, 1 + lanes) };
            partial[0][..2].copy_from_slice(&[max, sum]);
            partial[1..].copy_from_slice(kernel.out(v));
        }
    }
}

struct Merge<'a> {
    vectors: Vectors<'a>,
    partials: &'a [[f32; 8]],
    out: &'a DisjointMut<'a, f32>,
}

impl Kernel for Merge<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let vectors = self.vectors;
        let lanes = vectors.op.cache.head_dim / 8;
        for v in 0..vectors.num() {
            let (mut total, mut sums) = (State::EMPTY, [[0.0; 8]; MAX_HEAD_DIM / 8]);
            let sums = &mut sums[..lanes];
            for span in vectors.hidden(v) / SPAN..vectors.visible(v).div_ceil(SPAN) {
                let partial = &self.partials[vectors.partial_start(v, span)..][..1 + lanes];
                let [max, sum, ..] = partial[0];
                total.merge(s, sums, State { max, sum }, &partial[1..]);
            }
            // SAFETY: tasks differ in rows or heads (the caller's contract), and vectors of a task do too.
            let out = unsafe { self.out.slice(vectors.out_start(v), lanes * 8) };
            total.finish(s, sums, vectors.sink(v), out);
        }
    }
}
