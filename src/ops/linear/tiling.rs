//! How a group's outputs are cut into tasks. Changes no bit: K is never cut.

use std::ops::Range;

use super::{LinearGroup, LinearPart};
use crate::backend::cpu::PANEL;

/// A group's tasks: some rows by some panels of a part each.
pub(super) struct Tiling<'a> {
    group: &'a LinearGroup<'a>,
    /// Tasks of the groups before.
    pub(super) first_task: usize,
    rows_per_task: usize,
    num_row_tasks: usize,
    panels_per_task: usize,
    num_panel_tasks: usize,
}

/// What a task computes.
pub(super) struct Place<'a> {
    pub(super) rows: Range<usize>,
    pub(super) part: LinearPart<'a>,
    pub(super) panels: Range<usize>,
    /// Where the part's outputs begin.
    pub(super) column: usize,
}

impl<'a> Tiling<'a> {
    /// About `num_wanted` tasks, if they are not too small.
    pub(super) fn new(
        group: &'a LinearGroup<'a>,
        width: usize,
        num_wanted: usize,
        first_task: usize,
    ) -> Self {
        /// A task below this many multiply-adds (about 1 µs) is not worth handing over.
        const MIN_TASK_MACS: usize = 1 << 16;
        /// A task's rows should stay in the second-level cache while panels stream past: this many values.
        const CACHED_VALUES: usize = 1 << 18;
        let num_rows = group.rows.len();
        let rows_per_task = (CACHED_VALUES / width.max(1))
            .clamp(16, 256)
            .next_multiple_of(8)
            .min(num_rows);
        let num_row_tasks = num_rows.div_ceil(rows_per_task.max(1));
        let macs_per_panel = rows_per_task.saturating_mul(PANEL * width).max(1);
        let num_panels_of_all: usize = group.parts.iter().map(num_panels).sum();
        let panels_per_task = num_panels_of_all
            .div_ceil(num_wanted.div_ceil(num_row_tasks.max(1)))
            .max(MIN_TASK_MACS.div_ceil(macs_per_panel));
        let num_tasks = |part: &LinearPart<'_>| num_panels(part).div_ceil(panels_per_task);
        Self {
            group,
            first_task,
            rows_per_task,
            num_row_tasks,
            panels_per_task,
            num_panel_tasks: group.parts.iter().map(num_tasks).sum(),
        }
    }

    pub(super) fn num_tasks(&self) -> usize {
        self.num_row_tasks * self.num_panel_tasks
    }

    /// Where task `task`, one of this group's, is.
    pub(super) fn place(&self, task: usize) -> Place<'a> {
        let task = task - self.first_task;
        let row = self.group.rows.start + task / self.num_panel_tasks * self.rows_per_task;
        let (mut task, mut column) = (task % self.num_panel_tasks, 0);
        for &part in &self.group.parts {
            let num_tasks = num_panels(&part).div_ceil(self.panels_per_task);
            if task < num_tasks {
                let panel = task * self.panels_per_task;
                return Place {
                    rows: row..self.group.rows.end.min(row + self.rows_per_task),
                    part,
                    panels: panel..num_panels(&part).min(panel + self.panels_per_task),
                    column,
                };
            }
            task -= num_tasks;
            column += part.weight.out_features();
        }
        unreachable!("a task is of a part: this is a bug")
    }
}

fn num_panels(part: &LinearPart<'_>) -> usize {
    part.weight.out_features().div_ceil(PANEL)
}
