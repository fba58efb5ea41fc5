//! Routed experts: which rows go to which expert, and the sum of what comes back.
//!
//! A pair is a row and one of its experts. Pairs are sorted by expert, so that an expert's rows are neighbours and its
//! projections one group of [`matmul_groups`](super::matmul_groups).

mod card;

use std::ops::Range;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};
pub use card::{CardRouted, CardRouting, ExpertStack, check_experts_for_card};

use super::Tensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::Cpu;

/// The experts of T rows, k each.
#[derive(Debug)]
pub struct Routing {
    top_k: usize,
    /// `[T k]`: the rows of the pairs, by expert.
    rows: Vec<u32>,
    /// `[E + 1]`: expert e has the pairs `offsets[e]..offsets[e + 1]`.
    offsets: Vec<usize>,
    /// `[T, k]`: where a row's pairs are and what they weigh, the largest first.
    places: Vec<(u32, f32)>,
}

impl Routing {
    /// The k largest of each row of `logits`, `[T, E]` f32; of equal ones the first. They weigh their part of the softmax over
    /// all E, or over the k if `is_normalised`.
    ///
    /// A row with a NaN weighs NaN. Source: Shazeer et al., "Outrageously Large Neural Networks", 2017.
    ///
    /// # Errors
    /// If k is not in 1..=E, or logits are no matrix of f32.
    pub fn new(logits: &Tensor, top_k: usize, is_normalised: bool) -> Result<Self> {
        let (num_rows, num_experts) = rows_and_columns("routing: logits", logits)?;
        if !(1..=num_experts).contains(&top_k) {
            bail!("routing: top_k must be in 1..={num_experts}, is {top_k}");
        }
        let mut chosen: Vec<(usize, f32)> = Vec::with_capacity(num_rows * top_k);
        let (storage, layout) = logits.cpu("routing: logits")?.storage_and_layout();
        let candle_core::Storage::Cpu(storage) = &*storage else {
            bail!("routing: logits must be on the CPU");
        };
        let values = slice::<f32>("routing: logits", storage, layout)?;
        let mut order: Vec<usize> = Vec::new();
        for row in values.chunks_exact(num_experts.max(1)) {
            order.clear();
            order.extend(0..num_experts);
            // The sort is stable.
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            let largest = match row.iter().any(|x| x.is_nan()) {
                true => f32::NAN,
                false => row[order[0]],
            };
            let exp = |&expert: &usize| (row[expert] - largest).exp();
            let total: f32 = match is_normalised {
                true => order[..top_k].iter().map(exp).sum(),
                false => order.iter().map(exp).sum(),
            };
            let weights = order[..top_k].iter().map(|e| (*e, exp(e) / total));
            chosen.extend(weights);
        }
        Ok(Self::sorted(&chosen, top_k, num_experts))
    }

    /// Sorts pairs of an expert and a weight, k a row, by expert.
    fn sorted(chosen: &[(usize, f32)], top_k: usize, num_experts: usize) -> Self {
        let mut offsets = vec![0; num_experts + 1];
        for &(expert, _) in chosen {
            offsets[expert + 1] += 1;
        }
        for e in 0..num_experts {
            offsets[e + 1] += offsets[e];
        }
        let mut next = offsets.clone();
        let mut rows = vec![0; chosen.len()];
        let places = chosen.iter().enumerate().map(|(i, &(expert, weight))| {
            let at = next[expert];
            next[expert] += 1;
            rows[at] = (i / top_k) as u32;
            (at as u32, weight)
        });
        let places = places.collect();
        Self {
            top_k,
            rows,
            offsets,
            places,
        }
    }

    /// `[T k]`: the row of each pair.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The experts that have pairs, and which those are.
    pub fn experts(&self) -> impl Iterator<Item = (usize, Range<usize>)> + '_ {
        let ranges = self.offsets.windows(2).map(|pair| pair[0]..pair[1]);
        ranges.enumerate().filter(|(_, pairs)| !pairs.is_empty())
    }
}

/// `out[t] = Σ weight · x[pair]` over the pairs of row t, the largest weight first: out `[T, H]`, x `[T k, H]`, both f32.
///
/// # Errors
/// If a shape does not fit.
pub fn combine_experts(out: &Tensor, x: &Tensor, routing: &Routing, cpu: &Cpu) -> Result<()> {
    let num_rows = routing.places.len() / routing.top_k;
    let (_, width) = rows_and_columns("combine_experts: out", out)?;
    expect_dims("combine_experts: out", out, &[num_rows, width])?;
    expect_dims("combine_experts: x", x, &[routing.places.len(), width])?;
    out.inplace_op2(
        x,
        &Combine {
            routing,
            width,
            cpu,
        },
    )
}

struct Combine<'a> {
    routing: &'a Routing,
    width: usize,
    cpu: &'a Cpu,
}

impl InplaceOp2 for Combine<'_> {
    fn name(&self) -> &'static str {
        "combine_experts"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let &Self {
            routing: &Routing {
                top_k, ref places, ..
            },
            width,
            cpu,
        } = self;
        let out = slice_mut::<f32>("combine_experts: out", out, out_layout)?;
        let x = slice::<f32>("combine_experts: x", x, x_layout)?;
        if out.is_empty() {
            return Ok(());
        }
        let rows_per_task = cpu.rows_per_task(out.len() / width, width * top_k);
        cpu.for_each_chunk(out, rows_per_task * width, &|i, out| {
            let places = &places[i * rows_per_task * top_k..];
            for (out, places) in out.chunks_exact_mut(width).zip(places.chunks_exact(top_k)) {
                for (rank, &(pair, weight)) in places.iter().enumerate() {
                    let x = &x[pair as usize * width..][..width];
                    for (out, x) in out.iter_mut().zip(x) {
                        *out = if rank == 0 { 0.0 } else { *out } + weight * x;
                    }
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    #[test]
    fn each_row_goes_to_its_largest_experts_by_their_part_of_the_softmax() {
        let logits = tensor(&[0.0, 2.0, 1.0, 2.0, 5.0, 0.0, 0.0, 0.0], (2, 4));
        for (is_normalised, want) in [(true, [0.5, 0.5]), (false, [0.3995, 0.3995])] {
            let routing = Routing::new(&logits, 2, is_normalised).unwrap();
            let experts: Vec<_> = routing.experts().collect();
            assert_eq!(experts, [(0, 0..1), (1, 1..3), (3, 3..4)]);
            assert_eq!(routing.rows(), [1, 0, 1, 0]);
            let weights: Vec<f32> = routing.places.iter().map(|place| place.1).collect();
            for (got, want) in weights[..2].iter().zip(want) {
                assert!((got - want).abs() < 1e-3, "{weights:?}");
            }
        }
    }

    #[test]
    fn the_sum_is_that_of_a_rows_own_pairs_and_the_same_alone() {
        let (num_rows, num_experts, top_k, width) = (37, 11, 3, 50);
        let mut random = Random::new(3);
        let logits = random.floats(num_rows * num_experts, 3.0);
        // What an expert gives for a row depends on both alone.
        let given = |row: u32, expert: usize| {
            (0..width).map(move |i| (row as f32 + 0.3) * (expert * width + i) as f32)
        };
        let sum = |rows: Range<usize>, cpu: &Cpu| {
            let part = &logits[rows.start * num_experts..rows.end * num_experts];
            let routing =
                Routing::new(&tensor(part, (rows.len(), num_experts)), top_k, true).unwrap();
            let mut x = Vec::new();
            for (expert, pairs) in routing.experts() {
                for &row in &routing.rows()[pairs] {
                    x.extend(given(row + rows.start as u32, expert));
                }
            }
            let (buffer, out) = view(&vec![9.0; rows.len() * width], (rows.len(), width));
            combine_experts(&out, &tensor(&x, (x.len() / width, width)), &routing, cpu).unwrap();
            buffer.assert_margins_untouched();
            out
        };
        for cpu in cpus() {
            let whole = sum(0..num_rows, &cpu);
            for row in 0..num_rows {
                let alone = sum(row..row + 1, &cpu);
                assert_eq!(bits(&alone), bits(&whole.narrow(row, 1).unwrap()));
                let logits = &logits[row * num_experts..][..num_experts];
                let mut order: Vec<usize> = (0..num_experts).collect();
                order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
                let exp = |e: &usize| f64::from(logits[*e]).exp();
                let total: f64 = order[..top_k].iter().map(exp).sum();
                let mut want = vec![0.0; width];
                for e in &order[..top_k] {
                    for (want, x) in want.iter_mut().zip(given(row as u32, *e)) {
                        *want += exp(e) / total * f64::from(x);
                    }
                }
                for (got, want) in alone.to_rows().unwrap()[0].iter().zip(want) {
                    assert!((f64::from(*got) - want).abs() <= 1e-5 * want.abs().max(1.0));
                }
            }
        }
    }

    #[test]
    fn a_row_with_a_nan_weighs_nan_and_touches_no_other() {
        let logits = tensor(&[1.0, f32::NAN, 0.0, 2.0, 1.0, 0.0], (2, 3));
        let routing = Routing::new(&logits, 2, true).unwrap();
        assert!(routing.places[..2].iter().all(|place| place.1.is_nan()));
        assert!(routing.places[2..].iter().all(|place| place.1.is_finite()));
    }

    #[test]
    fn bad_shapes_are_errors_naming_the_argument() {
        let logits = tensor(&[0.0; 6], (2, 3));
        for top_k in [0, 4] {
            let error = Routing::new(&logits, top_k, true).unwrap_err().to_string();
            assert!(error.contains("top_k must be in 1..=3"), "{error}");
        }
        let routing = Routing::new(&logits, 2, true).unwrap();
        let rows = |n: usize| tensor(&vec![0.0; n * 5], (n, 5));
        let error = |out: usize, x: usize| {
            let cpu = &cpus()[0];
            let result = combine_experts(&rows(out), &rows(x), &routing, cpu);
            result.unwrap_err().to_string()
        };
        assert!(error(3, 4).contains("combine_experts: out"));
        assert!(error(2, 3).contains("combine_experts: x"));
    }
}
