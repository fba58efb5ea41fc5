//! Which rows of a step are computed with which adapter.

use std::ops::Range;

use candle_core::{Result, bail};

use super::LoraWeights;
use super::weights::Linear;
use crate::ops::LowRankGroup;
use crate::request::Adapter;
use crate::scheduler::StepPlan;

/// Runs of neighbouring rows with one adapter, ascending; rows of none are computed with the model alone.
#[derive(Default)]
pub(super) struct AdapterRows<'a>(Vec<(Range<usize>, &'a LoraWeights)>);

impl<'a> AdapterRows<'a> {
    /// Those of a step's rows.
    ///
    /// # Errors
    /// If an adapter is none that was loaded for this decoder.
    pub(super) fn of_step(plan: &'a StepPlan) -> Result<Self> {
        let mut rows = Self::default();
        for (adapter, bounds) in plan.adapters.iter().zip(plan.cu_seqlens_q.windows(2)) {
            if let Some(Adapter { id, weights }) = adapter {
                let Some(weights) = weights.downcast_ref() else {
                    bail!("adapter {id} is none of this executor's");
                };
                rows.push(bounds[0] as usize..bounds[1] as usize, weights);
            }
        }
        Ok(rows)
    }

    /// Those of some of the rows, in a new order.
    pub(super) fn select(&self, selected: &[u32]) -> Self {
        let mut rows = Self::default();
        for (i, &row) in selected.iter().enumerate() {
            let row = row as usize;
            let found = self.0.iter().find(|(range, _)| range.contains(&row));
            if let Some((_, weights)) = found {
                rows.push(i..i + 1, weights);
            }
        }
        rows
    }

    fn push(&mut self, range: Range<usize>, weights: &'a LoraWeights) {
        match self.0.last_mut() {
            Some((last, known)) if last.end == range.start && std::ptr::eq(*known, weights) => {
                last.end = range.end;
            }
            _ => self.0.push((range, weights)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What they add to the outputs of `linear`.
    pub(super) fn groups(&self, linear: &Linear) -> Vec<LowRankGroup<'a>> {
        let group = |(rows, weights): &(Range<usize>, &'a LoraWeights)| {
            let mut column = 0;
            let parts = linear.parts.iter().filter_map(|part| {
                let start = column;
                column += part.weight.out_features();
                Some((start, weights.part(&part.name)?))
            });
            LowRankGroup {
                rows: rows.clone(),
                parts: parts.collect(),
            }
        };
        self.0.iter().map(group).collect()
    }
}
