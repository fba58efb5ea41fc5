//! Attention of encoders: every token of a text sees all of it.
//!
//! Invariant: a row's result depends on its own text alone. How rows fall into tasks and register tiles changes no bit: each
//! score and each output is one chain of multiply-adds in ascending order.

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

use super::Tensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, RowTiles, Simd, for_row_tiles};

/// Rows a task: they share the transposition of their text's keys.
const ROWS: usize = 32;

/// `out = softmax(q · Kᵀ / √D) · V` by head, over the rows of each text: out `[T, num_heads · D]` f32, qkv `[T, 3 · num_heads · D]`
/// f32 with a row's queries before its keys before its values. Text i has the rows `cu_seqlens[i]..cu_seqlens[i + 1]`; all rows
/// belong to one. D is a multiple of 16.
///
/// Source: Vaswani et al., "Attention Is All You Need", 2017.
///
/// # Errors
/// If a shape does not fit, or `cu_seqlens` does not ascend from 0 to T.
pub fn encoder_attention(
    out: &Tensor,
    qkv: &Tensor,
    cu_seqlens: &[usize],
    num_heads: usize,
    cpu: &Cpu,
) -> Result<()> {
    let (num_rows, width) = rows_and_columns("encoder_attention: out", out)?;
    expect_dims("encoder_attention: qkv", qkv, &[num_rows, 3 * width])?;
    if num_heads == 0 || !width.is_multiple_of(16 * num_heads) {
        bail!(
            "encoder_attention: out has rows of {width}, not {num_heads} heads of a multiple of 16"
        );
    }
    if cu_seqlens.first() != Some(&0)
        || cu_seqlens.last() != Some(&num_rows)
        || !cu_seqlens.is_sorted()
    {
        bail!("encoder_attention: cu_seqlens must ascend from 0 to {num_rows}");
    }
    let op = EncoderAttention {
        cu_seqlens,
        width,
        head_dim: width / num_heads,
        cpu,
    };
    out.inplace_op2(qkv, &op)
}

struct EncoderAttention<'a> {
    cu_seqlens: &'a [usize],
    /// Of all heads.
    width: usize,
    head_dim: usize,
    cpu: &'a Cpu,
}

impl InplaceOp2 for EncoderAttention<'_> {
    fn name(&self) -> &'static str {
        "encoder_attention"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
    ) -> Result<()> {
        let out = slice_mut::<f32>("encoder_attention: out", out, out_layout)?;
        let qkv = slice::<f32>("encoder_attention: qkv", qkv, qkv_layout)?;
        self.cpu.for_each_chunk(out, ROWS * self.width, &|i, out| {
            let rows = i * ROWS..i * ROWS + out.len() / self.width;
            SCRATCH.with_borrow_mut(|scratch| {
                self.cpu.dispatch(Task {
                    op: self,
                    qkv,
                    rows,
                    out,
                    scratch,
                });
            });
        });
        Ok(())
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Kept from task to task, so that nothing is allocated for most.
#[derive(Default)]
struct Scratch {
    /// `[D, n]` of a head, n rounded up to 16, in eights.
    keys: Vec<[f32; 8]>,
    /// `[rows, n]`, in eights.
    weights: Vec<[f32; 8]>,
    /// `[rows, D]`, scaled.
    queries: Vec<f32>,
}

struct Task<'a> {
    op: &'a EncoderAttention<'a>,
    qkv: &'a [f32],
    rows: Range<usize>,
    /// Of these rows.
    out: &'a mut [f32],
    scratch: &'a mut Scratch,
}

impl Kernel for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let &EncoderAttention {
            cu_seqlens,
            width,
            head_dim,
            ..
        } = self.op;
        let mut row = self.rows.start;
        while row < self.rows.end {
            // The text that this row is of; the last to start there, for texts may have no rows.
            let text = cu_seqlens.partition_point(|&start| start <= row) - 1;
            let text = cu_seqlens[text]..cu_seqlens[text + 1];
            let rows = row..text.end.min(self.rows.end);
            for head in (0..width).step_by(head_dim) {
                let first_row = self.rows.start;
                self.scratch.fill(s, self.op, self.qkv, &text, &rows, head);
                let mut tiles = Tiles {
                    s,
                    op: self.op,
                    scratch: self.scratch,
                    values: &self.qkv[text.start * 3 * width + 2 * width + head..],
                    num_tokens: text.len(),
                    out: &mut self.out[(rows.start - first_row) * width + head..],
                };
                for_row_tiles(0..rows.len(), &mut tiles);
            }
            row = rows.end;
        }
    }
}

impl Scratch {
    /// Takes over a head's keys of the whole text and the queries of some rows.
    #[inline(always)]
    fn fill<S: Simd>(
        &mut self,
        s: S,
        op: &EncoderAttention<'_>,
        qkv: &[f32],
        text: &Range<usize>,
        rows: &Range<usize>,
        head: usize,
    ) {
        let &EncoderAttention {
            width, head_dim, ..
        } = op;
        let num_eights = text.len().next_multiple_of(16) / 8;
        self.keys.clear();
        self.keys.resize(head_dim * num_eights, [0.0; 8]);
        self.weights.resize(rows.len() * num_eights, [0.0; 8]);
        let zeros = [0.0; 8];
        for (at, first) in text.clone().step_by(8).enumerate() {
            for d in (0..head_dim).step_by(8) {
                let key = |i: usize| match first + i < text.end {
                    true => qkv[(first + i) * 3 * width + width + head + d..]
                        .first_chunk()
                        .unwrap_or(&zeros),
                    false => &zeros,
                };
                // In a loop: a closure would not be compiled with the instructions of `s`.
                let mut rows = [s.splat(0.0); 8];
                for (i, row) in rows.iter_mut().enumerate() {
                    *row = s.load(key(i));
                }
                let columns = s.transpose(rows);
                for (i, column) in columns.into_iter().enumerate() {
                    s.store(column, &mut self.keys[(d + i) * num_eights + at]);
                }
            }
        }
        let scale = 1.0 / (head_dim as f32).sqrt();
        self.queries.clear();
        for row in rows.clone() {
            let query = &qkv[row * 3 * width + head..][..head_dim];
            self.queries.extend(query.iter().map(|q| q * scale));
        }
    }
}

/// A head of some rows of a text.
struct Tiles<'a, S> {
    s: S,
    op: &'a EncoderAttention<'a>,
    scratch: &'a mut Scratch,
    /// From the text's first value of the head on, in rows of 3 width.
    values: &'a [f32],
    num_tokens: usize,
    /// From the first row's output of the head on, in rows of width.
    out: &'a mut [f32],
}

impl<S: Simd> RowTiles for Tiles<'_, S> {
    #[inline(always)]
    fn tile<const R: usize>(&mut self, first: usize) {
        let (s, head_dim) = (self.s, self.op.head_dim);
        let Scratch {
            keys,
            weights,
            queries,
        } = &mut *self.scratch;
        let num_eights = self.num_tokens.next_multiple_of(16) / 8;
        let queries: [&[f32]; R] =
            std::array::from_fn(|r| &queries[(first + r) * head_dim..][..head_dim]);
        let weights = &mut weights[first * num_eights..][..R * num_eights];
        for at in (0..num_eights).step_by(2) {
            let mut sums = [[s.splat(0.0); 2]; R];
            for (d, keys) in keys.chunks_exact(num_eights).enumerate() {
                let (low, high) = (s.load(&keys[at]), s.load(&keys[at + 1]));
                for (sums, query) in sums.iter_mut().zip(queries) {
                    let query = s.splat(query[d]);
                    sums[0] = s.fma(query, low, sums[0]);
                    sums[1] = s.fma(query, high, sums[1]);
                }
            }
            for (r, [low, high]) in sums.into_iter().enumerate() {
                s.store(low, &mut weights[r * num_eights + at]);
                s.store(high, &mut weights[r * num_eights + at + 1]);
            }
        }
        let mut inverse = [0.0; R];
        for (inverse, row) in inverse.iter_mut().zip(weights.chunks_exact_mut(num_eights)) {
            *inverse = 1.0 / soften(s, row, self.num_tokens);
        }
        let weights: [&[f32]; R] =
            std::array::from_fn(|r| weights[r * num_eights..][..num_eights].as_flattened());
        let values = self.values.chunks(3 * self.op.width).take(self.num_tokens);
        for d in (0..head_dim).step_by(16) {
            let mut sums = [[s.splat(0.0); 2]; R];
            for (t, value) in values.clone().enumerate() {
                let value = value[d..][..16].as_chunks::<8>().0;
                let (low, high) = (s.load(&value[0]), s.load(&value[1]));
                for (sums, weights) in sums.iter_mut().zip(weights) {
                    let weight = s.splat(weights[t]);
                    sums[0] = s.fma(weight, low, sums[0]);
                    sums[1] = s.fma(weight, high, sums[1]);
                }
            }
            for (r, sums) in sums.into_iter().enumerate() {
                let out = &mut self.out[(first + r) * self.op.width + d..][..16];
                for (out, sum) in out.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
                    s.store(s.mul(sum, s.splat(inverse[r])), out);
                }
            }
        }
    }
}

/// Turns the scores of `num_tokens` tokens into `e^(score - max)`, gives their sum, and makes zeros of what is behind them.
#[inline(always)]
fn soften<S: Simd>(s: S, weights: &mut [[f32; 8]], num_tokens: usize) -> f32 {
    weights.as_flattened_mut()[num_tokens..].fill(f32::NEG_INFINITY);
    let mut max = s.splat(f32::NEG_INFINITY);
    for scores in weights.iter() {
        max = s.max(s.load(scores), max);
    }
    let max = s.splat(s.max_lane(max));
    let mut sum = s.splat(0.0);
    for weights in weights.iter_mut() {
        let exp = s.exp(s.sub(s.load(weights), max));
        s.store(exp, weights);
        sum = s.add(sum, exp);
    }
    s.sum(sum)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    fn naive(qkv: &[f32], cu_seqlens: &[usize], num_heads: usize, head_dim: usize) -> Vec<f64> {
        let width = num_heads * head_dim;
        let at = |row: usize, part: usize, head: usize, d: usize| {
            f64::from(qkv[row * 3 * width + part * width + head * head_dim + d])
        };
        let mut out = Vec::new();
        for text in cu_seqlens.windows(2) {
            for row in text[0]..text[1] {
                for head in 0..num_heads {
                    let score = |t: usize| {
                        let dot: f64 = (0..head_dim)
                            .map(|d| at(row, 0, head, d) * at(t, 1, head, d))
                            .sum();
                        (dot / (head_dim as f64).sqrt()).exp()
                    };
                    let weights: Vec<f64> = (text[0]..text[1]).map(score).collect();
                    let sum: f64 = weights.iter().sum();
                    out.extend((0..head_dim).map(|d| {
                        let values = weights.iter().zip(text[0]..);
                        values.map(|(w, t)| w * at(t, 2, head, d)).sum::<f64>() / sum
                    }));
                }
            }
        }
        out
    }

    #[test]
    fn texts_are_the_formula_and_the_same_everywhere() {
        let cu_seqlens = [0, 1, 1, 18, 82, 97, 100];
        for (num_heads, head_dim) in [(3, 32), (1, 16), (2, 64)] {
            let width = num_heads * head_dim;
            let qkv = Random::new(9).floats(100 * 3 * width, 2.0);
            let want = naive(&qkv, &cu_seqlens, num_heads, head_dim);
            let mut all = Vec::new();
            for cpu in cpus() {
                let (buffer, out) = view(&vec![0.0; 100 * width], (100, width));
                let qkv = tensor(&qkv, (100, 3 * width));
                encoder_attention(&out, &qkv, &cu_seqlens, num_heads, &cpu).unwrap();
                buffer.assert_margins_untouched();
                let got = out.to_vec().unwrap();
                for (got, want) in got.iter().zip(&want) {
                    assert!((f64::from(*got) - want).abs() <= 3e-6, "{got} {want}");
                }
                all.push(bits(&out));
            }
            assert!(
                all.iter().all(|one| one == &all[0]),
                "instructions and threads change no bit"
            );
        }
    }

    #[test]
    fn a_text_has_the_same_bits_alone_and_among_others() {
        let (cpu, width) = (&cpus()[0], 64);
        let qkv = Random::new(2).floats(90 * 3 * width, 2.0);
        let attend = |rows: Range<usize>, cu_seqlens: &[usize]| {
            let qkv = &qkv[rows.start * 3 * width..rows.end * 3 * width];
            let out = tensor(&vec![0.0; rows.len() * width], (rows.len(), width));
            let qkv = tensor(qkv, (rows.len(), 3 * width));
            encoder_attention(&out, &qkv, cu_seqlens, 2, cpu).unwrap();
            bits(&out)
        };
        let together = attend(0..90, &[0, 7, 50, 90]);
        assert_eq!(together[7 * width..50 * width], attend(7..50, &[0, 43]));
        assert_eq!(together[50 * width..], attend(50..90, &[0, 40]));
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors_naming_the_argument() {
        let cpu = Cpu::new(1).unwrap();
        let zeros =
            |rows: usize, columns: usize| tensor(&vec![0.0; rows * columns], (rows, columns));
        let error = |qkv_width: usize, cu_seqlens: &[usize], num_heads: usize| {
            let (out, qkv) = (zeros(4, 32), zeros(4, qkv_width));
            encoder_attention(&out, &qkv, cu_seqlens, num_heads, &cpu)
                .unwrap_err()
                .to_string()
        };
        assert!(error(95, &[0, 4], 2).contains("encoder_attention: qkv"));
        assert!(error(96, &[0, 4], 3).contains("heads of a multiple of 16"));
        for cu_seqlens in [&[0, 3][..], &[1, 4], &[0, 3, 2, 4], &[]] {
            assert!(error(96, cu_seqlens, 2).contains("cu_seqlens"));
        }
    }
}
