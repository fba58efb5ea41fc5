//! Linear layers over packed weights.
//!
//! Weights lie in panels of 16 outputs, interleaved so that a lane of a vector is an output. A tile of some rows streams
//! a panel once; each output's K runs in ascending order through one accumulator, whatever the tile. Quantised weights
//! meet activations quantised to int8 with a scale for every 16 values; the integer dot products are exact.
#![allow(unsafe_code)]

mod blocks;
mod matrix;
mod packed;
mod panel;
mod quantise;
mod quants;
mod scales;
#[cfg(test)]
mod tests;

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, Tensor, bail};

use matrix::{Rows, Task};
pub use packed::{PackedWeight, WeightFormat};
use quantise::QuantisedRows;

use super::view::{expect_dims, rows_and_columns, slice, slice_mut};
use crate::backend::cpu::{Cpu, DisjointMut, PANEL};

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
/// 0.4% of the largest of them; 16 values with a NaN, an infinity or a magnitude above 1e34 make their row's outputs NaN.
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
            let any_quantised = self
                .parts
                .iter()
                .any(|part| part.weight.matrix().is_quantised());
            let quantised = match any_quantised {
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
        /// A task below this many multiply-adds (about 1 µs) is not worth handing over.
        const MIN_TASK_MACS: usize = 1 << 16;
        /// A task's rows should stay in the second-level cache while panels stream past: this many values.
        const CACHED_VALUES: usize = 1 << 18;
        let rows_per_task = (CACHED_VALUES / self.width.max(1))
            .clamp(16, 256)
            .next_multiple_of(8)
            .min(self.num_rows);
        let num_row_tasks = self.num_rows.div_ceil(rows_per_task);
        let macs_per_panel = rows_per_task.saturating_mul(PANEL * self.width).max(1);
        let num_panels: usize = self.parts.iter().map(LinearPart::num_panels).sum();
        let panels_per_task = num_panels
            .div_ceil((self.cpu.num_threads() * 8).div_ceil(num_row_tasks))
            .max(MIN_TASK_MACS.div_ceil(macs_per_panel));
        let num_tasks = |part: &LinearPart<'_>| part.num_panels().div_ceil(panels_per_task);
        let num_panel_tasks: usize = self.parts.iter().map(num_tasks).sum();
        self.cpu.run(num_row_tasks * num_panel_tasks, &|task| {
            let row = task / num_panel_tasks * rows_per_task;
            let (mut task, mut column) = (task % num_panel_tasks, 0);
            let mut parts = self.parts.iter();
            let part = loop {
                let part = parts.next().expect("a task is of a part: this is a bug");
                if task < num_tasks(part) {
                    break part;
                }
                task -= num_tasks(part);
                column += part.weight.out_features();
            };
            let panel = task * panels_per_task;
            let task = Task {
                rows: row..self.num_rows.min(row + rows_per_task),
                panels: panel..part.num_panels().min(panel + panels_per_task),
                x,
                bias: part.bias,
                out,
                width: self.out_width,
                column,
            };
            // SAFETY: each pair of rows and a part's panels is one task; columns are the sums of the parts' outputs before,
            // and the width is the sum of all.
            unsafe { part.weight.matrix().multiply(&task, self.cpu) };
        });
    }
}

impl LinearPart<'_> {
    fn num_panels(&self) -> usize {
        self.weight.out_features().div_ceil(PANEL)
    }
}
