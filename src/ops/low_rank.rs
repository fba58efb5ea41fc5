//! Low-rank additions to linear layers, by groups of rows (LoRA).

mod card;

use std::ops::Range;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

use super::Tensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, Kernel, Simd};
pub use card::CardMatrices;
use card::OnCard;

/// `s · B A`, what is added to a weight `[N, K]`.
pub struct LowRank {
    in_features: usize,
    out_features: usize,
    rank: usize,
    /// `[r, K]`; empty where it is on a card.
    a: Vec<f32>,
    /// `[r, N]`: B's columns, times s; empty where it is on a card.
    b: Vec<f32>,
    on_card: Option<OnCard>,
}

impl LowRank {
    /// From a `[r, K]`, b `[N, r]` and s.
    ///
    /// # Errors
    /// If a size is zero or does not fit.
    pub fn new(a: Vec<f32>, b: &[f32], rank: usize, scale: f32) -> Result<Self> {
        if rank == 0 || a.is_empty() || b.is_empty() {
            bail!("low rank: a matrix is empty");
        }
        if !a.len().is_multiple_of(rank) || !b.len().is_multiple_of(rank) {
            bail!(
                "low rank: matrices of {} and {} values have no rank of {rank}",
                a.len(),
                b.len()
            );
        }
        let out_features = b.len() / rank;
        let column = |j: usize| (0..out_features).map(move |n| scale * b[n * rank + j]);
        Ok(Self {
            in_features: a.len() / rank,
            out_features,
            rank,
            a,
            b: (0..rank).flat_map(column).collect(),
            on_card: None,
        })
    }

    /// N.
    pub fn out_features(&self) -> usize {
        self.out_features
    }

    /// K.
    pub fn in_features(&self) -> usize {
        self.in_features
    }
}

/// Neighbouring rows, and what is added to their outputs.
pub struct LowRankGroup<'a> {
    /// In x and out.
    pub rows: Range<usize>,
    /// Where in a row of out the part's outputs begin, and the part.
    pub parts: Vec<(usize, &'a LowRank)>,
}

/// `out[t] += s · B (A x[t])` for the rows of each group and its parts: out `[T, ΣN]`, x `[T, K]`, both f32 (on a card of 16 bits, and
/// parts are there, too). Other rows stay as they are. Sums run over ascending k in eight chains, and over ascending ranks.
///
/// Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021.
///
/// # Errors
/// If a shape does not fit, or the groups' rows do not ascend.
pub fn add_low_rank(
    out: &Tensor,
    x: &Tensor,
    groups: &[LowRankGroup<'_>],
    cpu: &Cpu,
) -> Result<()> {
    let (num_rows, width) = rows_and_columns("add_low_rank: x", x)?;
    let (_, out_width) = rows_and_columns("add_low_rank: out", out)?;
    expect_dims("add_low_rank: out", out, &[num_rows, out_width])?;
    let mut end = 0;
    for LowRankGroup { rows, parts } in groups {
        if rows.start < end || rows.end < rows.start || rows.end > num_rows {
            bail!("add_low_rank: a group has the rows {rows:?} after {end}, of {num_rows}");
        }
        end = rows.end;
        for (column, part) in parts {
            expect_dims("add_low_rank: x", x, &[num_rows, part.in_features])?;
            if column + part.out_features > out_width {
                bail!(
                    "add_low_rank: {} outputs from {column} on do not fit rows of {out_width}",
                    part.out_features
                );
            }
        }
    }
    if groups.iter().all(|group| group.parts.is_empty()) {
        return Ok(());
    }
    if let Tensor::Cuda(out) = out {
        return card::cuda_fwd(
            out,
            x.cuda("add_low_rank: x", out)?,
            groups,
            (width, out_width),
        );
    }
    let op = AddLowRank {
        groups,
        width,
        out_width,
        cpu,
    };
    out.inplace_op2(x, &op)
}

struct AddLowRank<'a> {
    groups: &'a [LowRankGroup<'a>],
    /// K.
    width: usize,
    /// ΣN.
    out_width: usize,
    cpu: &'a Cpu,
}

impl InplaceOp2 for AddLowRank<'_> {
    fn name(&self) -> &'static str {
        "add_low_rank"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let &Self {
            groups,
            width,
            out_width,
            cpu,
        } = self;
        let out = slice_mut::<f32>("add_low_rank: out", out, out_layout)?;
        let x = slice::<f32>("add_low_rank: x", x, x_layout)?;
        if out.is_empty() {
            return Ok(());
        }
        let part_cost = |(_, part): &(usize, &LowRank)| part.a.len() + part.b.len();
        let group_cost = |group: &LowRankGroup<'_>| group.parts.iter().map(part_cost).sum();
        let row_cost: usize = groups.iter().map(group_cost).max().unwrap_or(1);
        let rows_per_task = cpu.rows_per_task(out.len() / out_width, row_cost);
        cpu.for_each_chunk(out, rows_per_task * out_width, &|i, rows| {
            for (j, out) in rows.chunks_exact_mut(out_width).enumerate() {
                let row = i * rows_per_task + j;
                let after = groups.partition_point(|group| group.rows.end <= row);
                if let Some(group) = groups.get(after).filter(|group| group.rows.contains(&row)) {
                    let x = &x[row * width..][..width];
                    for &(column, part) in &group.parts {
                        let out = &mut out[column..][..part.out_features];
                        cpu.dispatch(Row { part, x, out });
                    }
                }
            }
        });
        Ok(())
    }
}

struct Row<'a> {
    part: &'a LowRank,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { part, x, out } = self;
        let (k, n) = (part.in_features, part.out_features);
        // Those of a full chunk share what is read of x and out; none changes the order of another's sums.
        for (a, b) in part.a.chunks(AT_ONCE * k).zip(part.b.chunks(AT_ONCE * n)) {
            match a.len() == AT_ONCE * k {
                true => add::<S, AT_ONCE>(s, a, b, x, out),
                false => (a.chunks_exact(k).zip(b.chunks_exact(n)))
                    .for_each(|(a, b)| add::<S, 1>(s, a, b, x, out)),
            }
        }
    }
}

/// Ranks that are computed together: as many chains of additions hide each other's latency.
const AT_ONCE: usize = 4;

/// Adds R ranks: a `[R, K]`, b `[R, N]`.
#[inline(always)]
fn add<S: Simd, const R: usize>(s: S, a: &[f32], b: &[f32], x: &[f32], out: &mut [f32]) {
    let (k, n) = (x.len(), out.len());
    let a: [_; R] = std::array::from_fn(|rank| a[rank * k..][..k].as_chunks::<8>());
    let (x, x_rest) = x.as_chunks::<8>();
    let mut sums = [s.splat(0.0); R];
    for (i, x) in x.iter().enumerate() {
        let x = s.load(x);
        for (sum, (a, _)) in sums.iter_mut().zip(&a) {
            *sum = s.fma(s.load(&a[i]), x, *sum);
        }
    }
    let dots: [f32; R] = std::array::from_fn(|rank| {
        let rest = a[rank].1.iter().zip(x_rest);
        rest.fold(s.sum(sums[rank]), |sum, (a, x)| a.mul_add(*x, sum))
    });
    let b: [_; R] = std::array::from_fn(|rank| b[rank * n..][..n].as_chunks::<8>());
    let (eights, rest) = out.as_chunks_mut::<8>();
    for (i, out) in eights.iter_mut().enumerate() {
        let mut sum = s.load(out);
        for (dot, (b, _)) in dots.iter().zip(&b) {
            sum = s.fma(s.load(&b[i]), s.splat(*dot), sum);
        }
        s.store(sum, out);
    }
    for (i, out) in rest.iter_mut().enumerate() {
        for (dot, (_, b)) in dots.iter().zip(&b) {
            *out = b[i].mul_add(*dot, *out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, bits, cpus, tensor, view};
    use super::*;

    fn random(rank: usize, k: usize, n: usize, random: &mut Random) -> (LowRank, Vec<f64>) {
        let (a, b) = (random.floats(rank * k, 1.0), random.floats(n * rank, 1.0));
        let dense = (0..n * k).map(|i| {
            let (n, k_idx) = (i / k, i % k);
            let terms = (0..rank).map(|j| f64::from(b[n * rank + j]) * f64::from(a[j * k + k_idx]));
            0.5 * terms.sum::<f64>()
        });
        let dense = dense.collect();
        (LowRank::new(a, &b, rank, 0.5).unwrap(), dense)
    }

    #[test]
    fn rows_get_what_their_group_adds_and_no_other_whoever_shares_the_batch() {
        let (num_rows, k, width) = (40, 43, 50);
        let mut rng = Random::new(5);
        let (first, first_dense) = random(4, k, 19, &mut rng);
        let (second, second_dense) = random(7, k, 30, &mut rng);
        let x = rng.floats(num_rows * k, 1.0);
        let before = rng.floats(num_rows * width, 1.0);
        let groups = || {
            [
                LowRankGroup {
                    rows: 2..3,
                    parts: vec![(0, &first), (20, &second)],
                },
                LowRankGroup {
                    rows: 10..39,
                    parts: vec![(20, &second)],
                },
            ]
        };
        let mut all = Vec::new();
        for cpu in cpus() {
            let (buffer, out) = view(&before, (num_rows, width));
            add_low_rank(&out, &tensor(&x, (num_rows, k)), &groups(), &cpu).unwrap();
            buffer.assert_margins_untouched();
            let got = out.to_rows().unwrap();
            for (row, got) in got.iter().enumerate() {
                let x = &x[row * k..][..k];
                let mut want: Vec<f64> = before[row * width..][..width]
                    .iter()
                    .map(|&y| f64::from(y))
                    .collect();
                let parts = groups();
                let parts = parts
                    .iter()
                    .filter(|group| group.rows.contains(&row))
                    .flat_map(|group| group.parts.clone());
                for (column, part) in parts {
                    let dense = if part.out_features == 19 {
                        &first_dense
                    } else {
                        &second_dense
                    };
                    for (n, want) in want[column..][..part.out_features].iter_mut().enumerate() {
                        *want += dense[n * k..][..k]
                            .iter()
                            .zip(x)
                            .map(|(w, x)| w * f64::from(*x))
                            .sum::<f64>();
                    }
                }
                for (got, want) in got.iter().zip(want) {
                    assert!(
                        (f64::from(*got) - want).abs() < 1e-4,
                        "row {row}: {got} {want}"
                    );
                }
            }
            // Alone.
            let (_, alone) = view(&before[20 * width..][..width], (1, width));
            let group = LowRankGroup {
                rows: 0..1,
                parts: vec![(20, &second)],
            };
            add_low_rank(&alone, &tensor(&x[20 * k..][..k], (1, k)), &[group], &cpu).unwrap();
            assert_eq!(bits(&alone), bits(&out.narrow(20, 1).unwrap()));
            all.push(bits(&out));
        }
        assert!(
            all.iter().all(|one| one == &all[0]),
            "instructions and threads change no bit"
        );
    }

    #[test]
    fn what_does_not_fit_is_an_error_naming_it() {
        let cpu = Cpu::new(1).unwrap();
        let part = LowRank::new(vec![1.0; 6], &[1.0; 8], 2, 1.0).unwrap();
        assert_eq!((part.in_features(), part.out_features()), (3, 4));
        let error = |rows: Range<usize>, column: usize, k: usize| {
            let group = LowRankGroup {
                rows,
                parts: vec![(column, &part)],
            };
            let (out, x) = (
                tensor(&[0.0; 10], (2, 5)),
                tensor(&vec![0.0; 2 * k], (2, k)),
            );
            add_low_rank(&out, &x, &[group], &cpu)
                .unwrap_err()
                .to_string()
        };
        assert!(error(0..3, 0, 3).contains("the rows 0..3"));
        assert!(error(0..1, 2, 3).contains("4 outputs from 2"));
        assert!(error(0..1, 0, 4).contains("add_low_rank: x"));
        assert!(LowRank::new(vec![1.0; 5], &[1.0; 8], 2, 1.0).is_err());
        assert!(LowRank::new(vec![], &[1.0; 8], 2, 1.0).is_err());
    }
}
