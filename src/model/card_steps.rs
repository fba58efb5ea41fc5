//! Steps on a card: how their numbers get there, and those that are recorded once and replayed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use candle_core::{DType, Result, bail};

use super::step::{Step, reads_all_rows};
use super::{Limits, ModelConfig};
use crate::backend::cuda::{Cuda, Graph, Slice};
use crate::ops::{
    BatchCutter, NumberBuffer, Spans, check_experts_for_card, check_heads_for_card,
    check_kv_dtype_for_card, place_drawn,
};
use crate::scheduler::StepPlan;

/// Why cards cannot compute a model, and what to do; `None` if they can.
pub fn card_obstacle(config: &ModelConfig) -> Option<String> {
    let experts = config.experts.as_ref();
    let obstacle = experts.and_then(|own| check_experts_for_card(own.num_experts, own.top_k));
    if obstacle.is_some() {
        return obstacle;
    }
    let expert_size = experts.map_or(0, |own| own.intermediate_size);
    for (name, width, multiple) in [
        ("hidden_size", config.hidden_size, 8),
        ("intermediate_size", config.intermediate_size, 8),
        ("the experts' intermediate_size", expert_size, 8),
        ("vocab_size", config.vocab_size, 4),
    ] {
        if !width.is_multiple_of(multiple) {
            return Some(format!(
                "{name}: cards compute multiples of {multiple}, not {width}; use --device cpu"
            ));
        }
    }
    let heads = check_heads_for_card(config.num_heads / config.num_kv_heads, config.head_dim);
    heads.err().map(|error| error.to_string())
}

/// What a card needs beside the decoder's buffers.
pub(super) struct CardSteps {
    cuda: Cuda,
    numbers: RefCell<NumberBuffer>,
    cutter: BatchCutter,
    /// Rows of a recorded step, at most.
    max_rows: usize,
    graphs: RefCell<Graphs>,
}

/// Recorded steps. A step without adapters whose logits are all read (decodes, with or without drafts) launches the same kernels with the same arguments as
/// any other of its kind: its numbers lie in the same places. A kind is recorded when it comes for the second time: by then the driver
/// has loaded its kernels, and it is likely to come again.
#[derive(Default)]
struct Graphs {
    /// Of the numbers' buffer.
    generation: usize,
    recorded: HashMap<StepKind, Recording>,
}

/// What there is of a kind.
enum Recording {
    /// It came once.
    Seen,
    Graph(Graph),
    /// There was no room for it.
    Refused,
}

/// Recorded kinds, at most: each takes some of the card's memory. Beyond that all are forgotten, and those in use come back.
pub const MAX_RECORDED: usize = 128;

/// What a recorded step's launches depend on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct StepKind {
    num_rows: usize,
    /// Of each window's layers.
    spans: Vec<Spans>,
}

impl CardSteps {
    /// For a model whose activations are of that type.
    ///
    /// # Errors
    /// If cards do not compute it, or the card has no room.
    pub fn new(
        config: &ModelConfig,
        limits: &Limits,
        activation: DType,
        cuda: &Cuda,
    ) -> Result<Self> {
        if let Some(obstacle) = card_obstacle(config) {
            bail!("{obstacle}");
        }
        check_kv_dtype_for_card(activation, limits.kv_dtype)?;
        let mut windows: Vec<_> = config.layers.iter().map(|layer| layer.window).collect();
        windows.sort_unstable();
        windows.dedup();
        let heads = (config.num_heads, config.num_kv_heads, config.head_dim);
        Ok(Self {
            cuda: cuda.clone(),
            // Grows with the first large step.
            numbers: RefCell::new(NumberBuffer::new(cuda, 4 * limits.max_num_batched_tokens)?),
            cutter: BatchCutter::new(cuda, windows, heads, limits.max_model_len)?,
            max_rows: limits.max_num_batched_tokens.min(limits.max_samples),
            graphs: RefCell::default(),
        })
    }

    /// As how many rows a recorded step computes the plan's; `None` where it is not one of the few kinds of steps that are recorded.
    pub fn recorded_rows(&self, plan: &StepPlan) -> Option<usize> {
        let num_rows = plan.num_tokens();
        let is_recorded = reads_all_rows(plan) && plan.adapters.iter().all(Option::is_none);
        (is_recorded && num_rows <= self.max_rows).then(|| padded_rows(num_rows).min(self.max_rows))
    }

    /// Sends a step's numbers, in the order of what is asked of the card. Tokens that are pending are taken from `drawn`. Gives the step's
    /// kind, if it is one that is recorded.
    ///
    /// # Errors
    /// If the card has no room or fails.
    pub fn send(
        &self,
        step: &mut Step<'_>,
        plan: &StepPlan,
        drawn: Option<&Slice>,
    ) -> Result<Option<StepKind>> {
        let mut numbers = self.numbers.borrow_mut();
        numbers.clear();
        // In places that depend on the number of rows alone, but for those at the end.
        let ids = numbers.push(step.token_ids.host());
        let positions = numbers.push(step.positions.host());
        let slots = numbers.push(step.slots.host());
        let batch = self.cutter.cut(&step.batch, &mut numbers);
        let spans = batch.spans();
        let sampled = step.sampled.as_ref().map(|(rows, batch)| {
            let rows = numbers.push(rows.host());
            (rows, self.cutter.cut(batch, &mut numbers))
        });
        let pending: Vec<u32> = (plan.pending.iter())
            .flat_map(|pending| [pending.row_idx, pending.drawn_idx])
            .collect();
        let pending = numbers.push(&pending);
        numbers.send()?;
        step.token_ids.put_on_card(numbers.slice(&ids)?);
        match drawn {
            Some(drawn) => place_drawn(&step.token_ids, &numbers.slice(&pending)?, drawn)?,
            None if plan.pending.is_empty() => {}
            None => bail!("the plan has tokens of a step in flight, and there is none"),
        }
        step.positions.put_on_card(numbers.slice(&positions)?);
        step.slots.put_on_card(numbers.slice(&slots)?);
        step.batch.put_on_card(batch, &numbers)?;
        if let (Some((rows, batch)), Some((at, cut))) = (&mut step.sampled, sampled) {
            rows.put_on_card(numbers.slice(&at)?);
            batch.put_on_card(cut, &numbers)?;
        }
        Ok(step.is_recorded.then(|| StepKind {
            num_rows: step.token_ids.len(),
            spans,
        }))
    }

    /// How many kinds of steps are recorded.
    pub fn num_recorded(&self) -> usize {
        let graphs = self.graphs.borrow();
        let is_graph = |one: &&Recording| matches!(one, Recording::Graph(_));
        graphs.recorded.values().filter(is_graph).count()
    }

    /// Does what `launch` asks of the card for any step of a kind, from a recording where there is one. Of a kind for
    /// which none can be made `launch` is asked each time.
    ///
    /// # Errors
    /// Those of `launch`, or if the card fails.
    pub fn replay(&self, kind: StepKind, launch: impl Fn() -> Result<()>) -> Result<()> {
        let mut graphs = self.graphs.borrow_mut();
        let generation = self.numbers.borrow().generation();
        let is_full = graphs.recorded.len() == MAX_RECORDED;
        if graphs.generation != generation || is_full && !graphs.recorded.contains_key(&kind) {
            graphs.recorded.clear();
            graphs.generation = generation;
        }
        let recording = match graphs.recorded.entry(kind) {
            Entry::Vacant(place) => {
                place.insert(Recording::Seen);
                return launch();
            }
            Entry::Occupied(place) => place.into_mut(),
        };
        if let Recording::Seen = recording {
            *recording = match self.cuda.record(&launch) {
                Ok(graph) => Recording::Graph(graph),
                // What is wrong with the step itself shows when it is launched.
                Err(_) => Recording::Refused,
            };
        }
        match recording {
            Recording::Graph(graph) => Ok(graph.launch()?),
            Recording::Seen | Recording::Refused => launch(),
        }
    }
}

/// The next number of rows that steps are recorded for: up to an eighth more, and multiples of 8 from there on, for which products are
/// made.
fn padded_rows(num_rows: usize) -> usize {
    match num_rows {
        0..=8 => num_rows.next_power_of_two(),
        _ => num_rows.next_multiple_of(((1 << num_rows.ilog2()) / 8).max(8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_recorded_for_few_numbers_of_rows_that_are_little_more() {
        let mut sizes: Vec<usize> = (1..=256).map(padded_rows).collect();
        assert!(sizes.iter().zip(1..).all(|(&size, num_rows)| {
            size >= num_rows && (size < num_rows + 8 || size * 8 <= num_rows * 9)
        }));
        sizes.dedup();
        assert_eq!(sizes[..8], [1, 2, 4, 8, 16, 24, 32, 40]);
        assert_eq!(sizes.len(), 27);
    }
}
