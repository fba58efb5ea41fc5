//! Linear layers over packed weights.
//!
//! Weights lie in panels of 16 outputs, interleaved so that a lane of a vector is an output. A tile of some rows streams
//! a panel once; each output's K runs in ascending order through one accumulator, whatever the tile. Quantised weights
//! meet activations quantised to int8 with a scale for every 16 values; the integer dot products are exact.
#![allow(unsafe_code)]

mod blocks;
mod card;
mod matrix;
mod packed;
mod panel;
mod plain;
mod quantise;
mod quants;
mod scales;
#[cfg(test)]
mod tests;
mod tiles;
mod tiling;

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, bail};

pub(in crate::ops) use card::{CardTiles, RowTiles, TILE_ROWS};
use matrix::{Rows, Task};
pub use packed::{PackedWeight, WeightFormat};
use quantise::QuantisedRows;
pub use tiles::{TileFormat, TiledWeight};
use tiling::Tiling;

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use super::{Tensor, Vector};
use crate::backend::cpu::{Cpu, DisjointMut};

/// A weight `[N, K]` and its bias `[N]`.
#[derive(Clone, Copy)]
pub struct LinearPart<'a> {
    /// `[N, K]`.
    pub weight: &'a PackedWeight,
    /// `[N]`.
    pub bias: Option<&'a Vector>,
}

/// Neighbouring rows and the weights that they meet.
#[derive(Clone)]
pub struct LinearGroup<'a> {
    /// In x and out.
    pub rows: Range<usize>,
    /// Their outputs lie side by side.
    pub parts: Vec<LinearPart<'a>>,
}

/// `out = x · wᵀ + bias` for one or several weights, whose outputs lie side by side: out `[T, ΣN]`, x `[T, K]`, both f32.
///
/// For quantised weights, x is rounded to int8 with one scale for 16 values (largest magnitude / 127), which costs about
/// 0.4% of the largest of them; 16 values with a NaN, an infinity or a magnitude above 1e34 make their row's outputs NaN.
///
/// # Errors
/// If a shape does not fit.
pub fn matmul(out: &Tensor, x: &Tensor, parts: &[LinearPart<'_>], cpu: &Cpu) -> Result<()> {
    let (num_rows, _) = rows_and_columns("matmul: x", x)?;
    let group = LinearGroup {
        rows: 0..num_rows,
        parts: parts.to_vec(),
    };
    matmul_groups(out, x, &[group], cpu)
}

/// [`matmul`] of groups of rows with weights of their own, which all have the same K and ΣN, in one job. Rows of no group keep
/// what out holds.
///
/// # Errors
/// If a shape does not fit, or the groups' rows do not ascend.
pub fn matmul_groups(
    out: &Tensor,
    x: &Tensor,
    groups: &[LinearGroup<'_>],
    cpu: &Cpu,
) -> Result<()> {
    let (num_rows, width) = rows_and_columns("matmul: x", x)?;
    let (_, out_width) = rows_and_columns("matmul: out", out)?;
    let mut end = 0;
    for LinearGroup { rows, parts } in groups {
        if rows.start < end || rows.end < rows.start || rows.end > num_rows {
            bail!("matmul: a group has the rows {rows:?} after {end}, of {num_rows}");
        }
        end = rows.end;
        for LinearPart { weight, bias } in parts {
            expect_dims("matmul: x", x, &[num_rows, weight.in_features()])?;
            if let Tensor::Cpu(_) = out {
                weight.matrix("matmul: weight")?;
            }
            if let Some(bias) = bias.filter(|bias| bias.len() != weight.out_features()) {
                bail!(
                    "matmul: bias must have {} values (out_features), has {}",
                    weight.out_features(),
                    bias.len()
                );
            }
        }
        let want = parts.iter().map(|part| part.weight.out_features()).sum();
        expect_dims("matmul: out", out, &[num_rows, want])?;
    }
    if let Tensor::Cuda(out) = out {
        let x = x.cuda("matmul: x", out)?;
        let [LinearGroup { rows, parts }] = groups else {
            bail!("matmul: on a card groups of rows are not computed");
        };
        if *rows != (0..num_rows) {
            bail!("matmul: on a card all rows are computed, not {rows:?} of {num_rows}");
        }
        return card::cuda_fwd(out, x, (num_rows, width, out_width), parts);
    }
    let op = Matmul {
        groups,
        width,
        out_width,
        cpu,
    };
    out.inplace_op2(x, &op)
}

struct Matmul<'a> {
    groups: &'a [LinearGroup<'a>],
    /// K.
    width: usize,
    /// ΣN.
    out_width: usize,
    cpu: &'a Cpu,
}

thread_local! {
    /// The quantised rows of the call in progress, kept for the next one.
    static ROWS: RefCell<QuantisedRows> = const { RefCell::new(QuantisedRows::new()) };
}

impl InplaceOp2 for Matmul<'_> {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let out = slice_mut::<f32>("matmul: out", out, out_layout)?;
        let x = slice::<f32>("matmul: x", x, x_layout)?;
        if out.is_empty() {
            return Ok(());
        }
        let out = DisjointMut::new(out);
        ROWS.with_borrow_mut(|rows| {
            let mut parts = self.groups.iter().flat_map(|group| &group.parts);
            let quantised = match parts.any(|part| part.weight.is_quantised()) {
                true => rows.fill(x, self.width, self.cpu),
                false => &[],
            };
            let rows = Rows {
                floats: x,
                quantised,
            };
            self.multiply(&out, rows);
        });
        Ok(())
    }
}

impl Matmul<'_> {
    /// Covers out with tasks of some rows by some panels of a part, in one job.
    fn multiply(&self, out: &DisjointMut<'_, f32>, x: Rows<'_>) {
        let num_groups = self.groups.len().max(1);
        let num_wanted = (self.cpu.num_threads() * 8).div_ceil(num_groups);
        let mut num_tasks = 0;
        let tilings: Vec<Tiling<'_>> = (self.groups.iter())
            .map(|group| {
                let tiling = Tiling::new(group, self.width, num_wanted, num_tasks);
                num_tasks += tiling.num_tasks();
                tiling
            })
            .collect();
        self.cpu.run(num_tasks, &|task| {
            let after = tilings.partition_point(|tiling| tiling.first_task <= task);
            let place = tilings[after - 1].place(task);
            let task = Task {
                rows: place.rows,
                panels: place.panels,
                x,
                bias: place.part.bias.map(|bias| &**bias),
                out,
                width: self.out_width,
                column: place.column,
            };
            // SAFETY: groups have no row in common, and each pair of a group's rows and a part's panels is one task; columns are
            // the sums of the parts' outputs before, and the width is the sum of all.
            unsafe { place.part.weight.panels().multiply(&task, self.cpu) };
        });
    }
}
