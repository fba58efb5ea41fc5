//! A matrix in panels, whatever their kind.
#![allow(unsafe_code)]

use std::ops::Range;

use candle_core::Result;

use super::panel::Panel;
use crate::backend::cpu::{
    Array, Cpu, DisjointMut, Int8Block, Kernel, PANEL, RowTiles, Simd, for_row_tiles,
};

/// The activations of a call in both forms that panels may want.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) floats: &'a [f32],
    /// Empty if no weight of the call wants it.
    pub(super) quantised: &'a [Int8Block],
}

/// What a panel's row consists of, out of [`Rows`].
pub(super) trait Input: Sized {
    const IS_QUANTISED: bool;
    fn of<'a>(rows: &Rows<'a>) -> &'a [Self];
}

impl Input for f32 {
    const IS_QUANTISED: bool = false;
    fn of<'a>(rows: &Rows<'a>) -> &'a [f32] {
        rows.floats
    }
}

impl Input for Int8Block {
    const IS_QUANTISED: bool = true;
    fn of<'a>(rows: &Rows<'a>) -> &'a [Int8Block] {
        rows.quantised
    }
}

/// Some rows times some panels.
pub(super) struct Task<'a> {
    pub(super) rows: Range<usize>,
    pub(super) panels: Range<usize>,
    pub(super) x: Rows<'a>,
    pub(super) bias: Option<&'a [f32]>,
    /// `[T, width]`; the matrix's outputs begin at `column`.
    pub(super) out: &'a DisjointMut<'a, f32>,
    pub(super) width: usize,
    pub(super) column: usize,
}

/// A weight matrix of some kind.
pub(super) trait Matrix: Send + Sync {
    /// Whether it meets quantised activations.
    fn is_quantised(&self) -> bool;
    /// Bytes of the panels.
    fn num_bytes(&self) -> usize;
    /// Computes a task.
    ///
    /// # Safety
    /// No other task that shares a row and a panel with this one, at this column, may run at the same time on the same out, and the matrix's
    /// outputs from `column` on must not pass `width`: the columns behind them are another matrix's.
    unsafe fn multiply(&self, task: &Task<'_>, cpu: &Cpu);
    /// Writes the values of row `row`.
    fn read_row(&self, row: usize, out: &mut [f32]);
}

/// `[panels, steps]`, the last panel filled up with zeros.
pub(super) struct PanelMatrix<P> {
    num_outputs: usize,
    steps_per_panel: usize,
    steps: Array<P>,
}

impl<P: Panel> PanelMatrix<P> {
    /// Fills panels in parallel by `set(step, output, row, step_idx)`.
    pub(super) fn new(
        num_outputs: usize,
        width: usize,
        cpu: &Cpu,
        set: &(dyn Fn(&mut P, usize, usize, usize) + Sync),
    ) -> Result<Self> {
        let steps_per_panel = width / P::VALUES;
        let num_steps = num_outputs.div_ceil(PANEL) * steps_per_panel;
        let steps = cpu.array(P::ZERO, num_steps, steps_per_panel, &|panel, steps| {
            let first = panel * PANEL;
            for row in first..num_outputs.min(first + PANEL) {
                for (i, step) in steps.iter_mut().enumerate() {
                    set(step, row - first, row, i);
                }
            }
        })?;
        Ok(Self {
            num_outputs,
            steps_per_panel,
            steps,
        })
    }
}

impl<P: Panel<Input: Input>> Matrix for PanelMatrix<P> {
    fn is_quantised(&self) -> bool {
        P::Input::IS_QUANTISED
    }

    fn num_bytes(&self) -> usize {
        size_of_val(&self.steps[..])
    }

    unsafe fn multiply(&self, task: &Task<'_>, cpu: &Cpu) {
        cpu.dispatch(Multiply { matrix: self, task });
    }

    fn read_row(&self, row: usize, out: &mut [f32]) {
        let steps = &self.steps[row / PANEL * self.steps_per_panel..];
        for (step, out) in steps.iter().zip(out.chunks_exact_mut(P::VALUES)) {
            step.read(row % PANEL, out);
        }
    }
}

/// Rows that stream past a panel before the next takes its place in the first-level cache. The more, the fewer panels are
/// loaded; the fewer, the closer are the rows themselves, and the memory they write to.
const ROWS: usize = 32;

struct Multiply<'a, P> {
    matrix: &'a PanelMatrix<P>,
    task: &'a Task<'a>,
}

impl<P: Panel<Input: Input>> Kernel for Multiply<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { matrix, task } = self;
        let steps = matrix.steps_per_panel;
        for first_row in task.rows.clone().step_by(ROWS) {
            let rows = first_row..task.rows.end.min(first_row + ROWS);
            for panel in task.panels.clone() {
                let mut tiles = Tiles {
                    s,
                    task,
                    panel,
                    steps: &matrix.steps[panel * steps..][..steps],
                    num: PANEL.min(matrix.num_outputs - panel * PANEL),
                };
                for_row_tiles(rows.clone(), &mut tiles);
            }
        }
    }
}

/// One panel against rows.
struct Tiles<'a, S, P> {
    s: S,
    task: &'a Task<'a>,
    panel: usize,
    steps: &'a [P],
    /// Outputs of the panel.
    num: usize,
}

impl<S: Simd, P: Panel<Input: Input>> RowTiles for Tiles<'_, S, P> {
    const MOST: usize = S::ROWS;

    #[inline(always)]
    fn tile<const R: usize>(&mut self, first_row: usize) {
        let (s, task) = (self.s, self.task);
        let row_len = self.steps.len() * P::INPUTS;
        let x = <P::Input as Input>::of(&task.x);
        let x: [&[P::Input]; R] =
            std::array::from_fn(|r| &x[(first_row + r) * row_len..][..row_len]);
        let mut sums = [[0.0; PANEL]; R];
        for group in 0..S::GROUPS {
            for (lanes, sums) in P::dot(s, self.steps, group, x).into_iter().zip(&mut sums) {
                s.store_lanes(lanes, sums, group);
            }
        }
        let first = self.panel * PANEL;
        for (r, sums) in sums.iter_mut().enumerate() {
            let sums = &mut sums[..self.num];
            if let Some(bias) = task.bias {
                for (sum, bias) in sums.iter_mut().zip(&bias[first..]) {
                    *sum += bias;
                }
            }
            let at = (first_row + r) * task.width + task.column + first;
            // SAFETY: tasks differ in rows, panels or columns (the caller's contract), a task writes each (row, panel) once,
            // and `num` ends at the matrix's last output.
            let out = unsafe { task.out.slice(at, self.num) };
            match (out.as_mut_array::<PANEL>(), sums.as_array()) {
                // A copy of known length is not a call.
                (Some(out), Some(sums)) => *out = *sums,
                _ => out.copy_from_slice(sums),
            }
        }
    }
}
