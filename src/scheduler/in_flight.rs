//! Steps that are planned and not committed: the one that runs and, where the executor is kept a step ahead, the one behind it.
//!
//! Steps run in the order in which they are planned. So a plan may count on what the step before writes to blocks, and give blocks
//! away that it still reads.

use std::collections::VecDeque;
use std::time::Duration;

use super::budget::Budget;
use super::{CostModel, Sequence, StepPlan, StepSize};

/// A planned step, and what its end has to know of it.
#[derive(Debug, Default)]
pub(super) struct PlannedStep {
    pub plan: StepPlan,
    /// What it is to do for each of the plan's sequences.
    pub parts: Vec<Part>,
    pub size: StepSize,
    pub has_prompts: bool,
    pub planned_at: Duration,
}

/// A sequence's rows of a step that are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    /// Rows whose known tokens are scored; before those that are drawn from.
    pub num_scored: usize,
    /// Rows that are drawn from: none, or one and the drafted.
    pub num_drawn: usize,
}

impl PlannedStep {
    /// Adds what is scheduled for the sequence. Says which sample row is its first to be drawn from, if one is.
    pub fn push(&mut self, sequence: &Sequence, block_size: usize) -> u32 {
        let first = self.plan.samples.len();
        self.plan.push(sequence, block_size);
        let num_scored = sequence.num_scored();
        self.parts.push(Part {
            num_scored,
            num_drawn: sequence.num_samples() - num_scored,
        });
        (first + num_scored) as u32
    }

    fn clear(&mut self) {
        self.plan.clear();
        self.parts.clear();
    }
}

/// The steps in flight, the oldest first: two at most. Their memory is used again.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    steps: VecDeque<PlannedStep>,
    spare: Vec<PlannedStep>,
    /// What there is to see where nothing is planned.
    nothing: StepPlan,
    /// Nothing is computed before.
    pub starts_at: Duration,
}

impl InFlight {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// An empty step.
    pub fn blank(&mut self, planned_at: Duration) -> PlannedStep {
        let mut step = self.spare.pop().unwrap_or_default();
        step.clear();
        step.planned_at = planned_at;
        step
    }

    /// Takes in a step that is planned, unless there is nothing in it. Gives its plan.
    pub fn add(&mut self, mut step: PlannedStep, budget: &Budget) -> &StepPlan {
        debug_assert!(self.steps.len() < 2, "one step may be planned ahead");
        if step.plan.is_empty() {
            debug_assert!(step.plan.block_moves.is_empty(), "moves are for rows");
            self.spare.push(step);
            return &self.nothing;
        }
        step.size = budget.size();
        step.has_prompts = budget.has_prompts();
        self.steps.push_back(step);
        self.newest()
    }

    /// What is expected to be left of the time that they take together, of which the first began at `begun` at the earliest; or until
    /// anything is computed at all.
    pub fn time_left(&self, cost: &CostModel, begun: Duration, now: Duration) -> Duration {
        let mut end = self.starts_at;
        for step in &self.steps {
            end = end.max(begun).max(step.planned_at) + cost.predict(step.size);
        }
        end.saturating_sub(now)
    }

    /// Takes out the oldest.
    pub fn pop(&mut self) -> Option<PlannedStep> {
        self.steps.pop_front()
    }

    /// Gives a step's memory back.
    pub fn recycle(&mut self, step: PlannedStep) {
        self.spare.push(step);
    }

    pub fn plans(&self) -> impl Iterator<Item = &StepPlan> {
        self.steps.iter().map(|step| &step.plan)
    }

    /// An empty plan.
    pub fn nothing(&self) -> &StepPlan {
        &self.nothing
    }

    /// The plan of the oldest; empty where there is none.
    pub fn oldest(&self) -> &StepPlan {
        self.plans().next().unwrap_or(&self.nothing)
    }

    /// The plan behind the others; empty where there is none.
    pub fn newest(&self) -> &StepPlan {
        self.steps.back().map_or(&self.nothing, |step| &step.plan)
    }

    pub fn oldest_mut(&mut self) -> Option<&mut StepPlan> {
        self.steps.front_mut().map(|step| &mut step.plan)
    }
}
