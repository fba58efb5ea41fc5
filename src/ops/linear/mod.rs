//! Linear layers over packed weights.
//!
//! Weights lie in panels of 8 (f32: 16) outputs, interleaved so that a vector holds one output a lane. A tile of up to
//! four rows streams a panel once; each output's K runs in ascending order through one accumulator, whatever the tile.
//! Quantised weights meet activations quantised to int8 with a scale for every 16 values; the integer dot
//! products are exact.
#![allow(unsafe_code)]

mod packed;
mod quantise;
#[cfg(test)]
mod tests;
mod tile;

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

pub use packed::PackedWeight;
use packed::Panels;
use quantise::QuantisedRows;
use tile::Panel;

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, DisjointMut, Kernel, RowTiles, Simd, for_row_tiles};

/// A weight `[N, K]` and its bias `[N]`.
#[derive(Clone, Copy)]
pub struct LinearPart<'a> {
    /// `[N, K]`.
    pub weight: &'a PackedWeight,
    /// `[N]`.
    pub bias: Option<&'a [f32]>,
}

/// `out = x · wᵀ + bias` for one or several weights, whose outputs lie side by side: out `[T, ΣN]`, x `[T, K]`, both f32.
///
/// For quantised weights, x is rounded to int8 with one scale for 16 values (largest magnitude / 127), which costs about
/// 0.4% of the largest of them; 16 values with a NaN or an infinity makes its row's outputs NaN.
///
/// # Errors
/// If a shape does not fit.
pub fn matmul(out: &Tensor, x: &Tensor, parts: &[LinearPart<'_>], cpu: &Cpu) -> Result<()> {
    let (num_rows, width) = rows_and_columns("matmul: x", x)?;
    for LinearPart { weight, bias } in parts {
        expect_dims("matmul: x", x, &[num_rows, weight.in_features()])?;
        if let Some(bias) = bias.filter(|bias| bias.len() != weight.out_features()) {
            bail!(
                "matmul: bias must have {} values (out_features), has {}",
                weight.out_features(),
                bias.len()
            );
        }
    }
    let out_width = parts.iter().map(|part| part.weight.out_features()).sum();
    expect_dims("matmul: out", out, &[num_rows, out_width])?;
    let op = Matmul {
        parts,
        num_rows,
        width,
        out_width,
        cpu,
    };
    out.inplace_op2(x, &op)
}

struct Matmul<'a> {
    parts: &'a [LinearPart<'a>],
    num_rows: usize,
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
            let floats_only =
                |part: &LinearPart<'_>| matches!(part.weight.panels(), Panels::F32(_));
            let quantised = match self.parts.iter().all(floats_only) {
                true => &[],
                false => rows.fill(x, self.width, self.cpu),
            };
            let blocks_per_row = self.width / quantise::BLOCK;
            let mut column = 0;
            for part in self.parts {
                match part.weight.panels() {
                    Panels::F32(steps) => self.multiply(&out, column, part, steps, x, self.width),
                    Panels::Q4_1(steps) => {
                        self.multiply(&out, column, part, steps, quantised, blocks_per_row);
                    }
                    Panels::Q8_0(steps) => {
                        self.multiply(&out, column, part, steps, quantised, blocks_per_row);
                    }
                }
                column += part.weight.out_features();
            }
        });
        Ok(())
    }
}

impl Matmul<'_> {
    /// Covers the part's columns of out with tasks of some rows by some panels. `row_len` is the K-steps of a row.
    fn multiply<P: Panel>(
        &self,
        out: &DisjointMut<'_, f32>,
        column: usize,
        part: &LinearPart<'_>,
        weights: &[P],
        x: &[P::Input],
        row_len: usize,
    ) {
        /// A task below this many multiply-adds (about 1 µs) is not worth handing over.
        const MIN_TASK_MACS: usize = 1 << 16;
        /// A task's rows should stay in the second-level cache while panels stream past: this many values.
        const CACHED_VALUES: usize = 1 << 18;
        let num_outputs = part.weight.out_features();
        let num_panels = num_outputs.div_ceil(P::OUTPUTS);
        let rows_per_task = (CACHED_VALUES / self.width.max(1))
            .clamp(16, 256)
            .next_multiple_of(4)
            .min(self.num_rows);
        let num_row_tasks = self.num_rows.div_ceil(rows_per_task);
        let num_macs = self
            .num_rows
            .saturating_mul(num_outputs)
            .saturating_mul(self.width);
        let max_tasks = (num_macs / MIN_TASK_MACS).clamp(1, self.cpu.num_threads() * 8);
        let panels_per_task = num_panels.div_ceil(max_tasks.div_ceil(num_row_tasks));
        let num_panel_tasks = num_panels.div_ceil(panels_per_task);
        self.cpu.run(num_row_tasks * num_panel_tasks, &|task| {
            let row = task / num_panel_tasks * rows_per_task;
            let panel = task % num_panel_tasks * panels_per_task;
            self.cpu.dispatch(Multiply {
                out,
                out_width: self.out_width,
                column,
                num_outputs,
                bias: part.bias,
                weights,
                x,
                row_len,
                rows: row..self.num_rows.min(row + rows_per_task),
                panels: panel..num_panels.min(panel + panels_per_task),
            });
        });
    }
}

/// One task: the outputs of `panels` for `rows`.
struct Multiply<'a, P: Panel> {
    out: &'a DisjointMut<'a, f32>,
    out_width: usize,
    /// The first column of the part.
    column: usize,
    num_outputs: usize,
    bias: Option<&'a [f32]>,
    weights: &'a [P],
    x: &'a [P::Input],
    row_len: usize,
    rows: Range<usize>,
    panels: Range<usize>,
}

impl<P: Panel> Kernel for Multiply<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // A panel stays in the first-level cache while the rows stream past it.
        for panel in self.panels.clone() {
            let weights = &self.weights[panel * self.row_len..][..self.row_len];
            for_row_tiles(
                self.rows.clone(),
                &mut PanelTiles {
                    s,
                    task: &self,
                    panel,
                    weights,
                },
            );
        }
    }
}

struct PanelTiles<'a, S, P: Panel> {
    s: S,
    task: &'a Multiply<'a, P>,
    panel: usize,
    weights: &'a [P],
}

impl<S: Simd, P: Panel> RowTiles for PanelTiles<'_, S, P> {
    #[inline(always)]
    fn tile<const R: usize>(&mut self, first_row: usize) {
        let task = self.task;
        let mut x: [&[P::Input]; R] = [&[]; R];
        for (r, x) in x.iter_mut().enumerate() {
            *x = &task.x[(first_row + r) * task.row_len..][..task.row_len];
        }
        let mut sums = [[[0.0; 8]; 2]; R];
        P::dot(self.s, self.weights, x, &mut sums);
        let first = self.panel * P::OUTPUTS;
        let num = P::OUTPUTS.min(task.num_outputs - first);
        for (r, sums) in sums.iter_mut().enumerate() {
            let sums = &mut sums.as_flattened_mut()[..num];
            if let Some(bias) = task.bias {
                for (sum, bias) in sums.iter_mut().zip(&bias[first..]) {
                    *sum += bias;
                }
            }
            let at = (first_row + r) * task.out_width + task.column + first;
            // SAFETY: tasks differ in rows or in panels, and a task writes each (row, panel) once.
            unsafe { task.out.slice(at, num) }.copy_from_slice(sums);
        }
    }
}
