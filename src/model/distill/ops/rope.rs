//! Rotary embedding of rows of heads, `[T, heads · D]`, in sequences side by side.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Floats, ROWS_A_TASK, floats, tensor};
use crate::ops::RopeTable;

pub(in super::super) struct Rope {
    pub table: Arc<RopeTable>,
    /// Rows a sequence, whose positions begin at zero.
    pub sequence_length: usize,
}

impl Rope {
    fn turned(&self, x: &[f32], width: usize, turn: impl Fn(&mut [f32], u32) + Sync) -> Vec<f32> {
        let mut y = x.to_vec();
        let rows = y.par_chunks_mut(width).with_min_len(ROWS_A_TASK);
        rows.enumerate().for_each(|(t, row)| {
            let position = (t % self.sequence_length) as u32;
            for head in row.chunks_exact_mut(self.table.head_dim()) {
                turn(head, position);
            }
        });
        y
    }
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let turn = |head: &mut [f32], position| self.table.turn(head, position);
        let y = self.turned(floats(x, layout)?, width, turn);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    /// The transpose of a turn is the turn back, multiplied by the same magnitude.
    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (_, width) = x.dims2()?;
        let turn = |head: &mut [f32], position| self.table.turn_back(head, position);
        let dx = self.turned(&Floats::of(dy)?, width, turn);
        tensor(dx, x.shape()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradients, values};
    use super::*;
    use crate::ops::RopeStyle;

    #[test]
    fn gradients_are_those_of_differences() {
        for style in [RopeStyle::Half, RopeStyle::Interleaved] {
            let table = RopeTable::new(8, 6, 100.0, None, 1.0, 4, style).unwrap();
            let table = Arc::new(table.with_magnitude(1.2));
            check_gradients(&[values(&[8, 16], 0.0)], |args| {
                args[0].apply_op1(Rope {
                    table: Arc::clone(&table),
                    sequence_length: 4,
                })
            });
        }
    }
}
