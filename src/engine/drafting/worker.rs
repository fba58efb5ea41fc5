//! Who computes guesses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use super::slots::Work;
use super::{DraftLimits, Shared};
use crate::engine::guarded::message;
use crate::engine::{Executor, ExecutorError, ExecutorFactory};
use crate::request::SamplingParams;
use crate::scheduler::{SampleRow, SequenceId, StepPlan};
use crate::telemetry::log_line;

/// Computes for a [`ModelDrafter`](super::ModelDrafter), until that is gone.
pub struct DraftWorker {
    limits: DraftLimits,
    shared: Arc<Shared>,
    work: Vec<Work>,
    plan: StepPlan,
    greedy: Arc<SamplingParams>,
}

impl DraftWorker {
    pub(super) fn new(limits: DraftLimits, shared: Arc<Shared>) -> Self {
        Self {
            limits,
            shared,
            work: Vec::new(),
            plan: StepPlan::default(),
            greedy: Arc::new(SamplingParams::greedy()),
        }
    }

    /// Computes on a thread of its own with what `factory` builds there. Where that fails or panics there are no more drafts, which the
    /// log says by `name`, and nothing else is different.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn spawn(mut self, name: &str, mut factory: ExecutorFactory) -> std::io::Result<()> {
        let (name, thread) = (name.to_owned(), std::thread::Builder::new());
        let thread = thread.name("draft".into());
        thread.spawn(move || {
            let run = || factory().and_then(|mut executor| self.run(&mut *executor));
            let ended = catch_unwind(AssertUnwindSafe(run));
            let ended = ended.unwrap_or_else(|panic| Err(ExecutorError(message(&*panic))));
            if let Err(error) = ended {
                log_line(&format!(
                    "{name} drafts no more, and answers go on without: {error}"
                ));
            }
            self.shared.close();
        })?;
        Ok(())
    }

    /// Until nobody wants drafts any more.
    fn run(&mut self, executor: &mut dyn Executor) -> Result<(), ExecutorError> {
        loop {
            let mut slots = self.shared.lock();
            while !slots.has_work() && !slots.is_closed() {
                let waited = self.shared.changed.wait(slots);
                slots = waited.unwrap_or_else(PoisonError::into_inner);
            }
            if slots.is_closed() {
                return Ok(());
            }
            drop(slots);
            self.step(executor)?;
        }
    }

    /// Computes one step with `executor`, which has a cache for the limits. False where there is nothing to guess.
    ///
    /// # Errors
    /// If the executor fails.
    pub fn step(&mut self, executor: &mut dyn Executor) -> Result<bool, ExecutorError> {
        self.work.clear();
        self.shared.lock().take_work(&mut self.work);
        if self.work.is_empty() {
            return Ok(false);
        }
        self.plan();
        let output = executor.step(&self.plan)?;
        if output.sampled.len() != self.plan.samples.len() {
            return Err(ExecutorError("it drew for other rows".into()));
        }
        let mut drawn = output.sampled.into_iter();
        let mut slots = self.shared.lock();
        for work in &self.work {
            let token = work.is_drawn.then(|| drawn.next().flatten()).flatten();
            slots.publish(work, token.map(|token| token.token_id));
        }
        Ok(true)
    }

    /// The step that computes the work.
    fn plan(&mut self) {
        let (plan, block_size) = (&mut self.plan, self.limits.block_size);
        plan.clear();
        for work in &self.work {
            let end = work.first + work.tokens.len();
            let first_block = work.slot * self.limits.blocks_per_slot();
            let first_slot = first_block * block_size;
            plan.token_ids.extend(&work.tokens);
            plan.positions.extend(work.first as u32..end as u32);
            (plan.slot_mapping).extend((first_slot + work.first) as u32..(first_slot + end) as u32);
            plan.sequences.push(SequenceId(work.slot as u64));
            plan.adapters.push(None);
            plan.cu_seqlens_q.push(plan.token_ids.len() as u32);
            plan.context_lens.push(end as u32);
            let num_blocks = end.div_ceil(block_size);
            (plan.block_tables).extend(first_block as u32..(first_block + num_blocks) as u32);
            plan.block_table_offsets
                .push(plan.block_tables.len() as u32);
            if work.is_drawn {
                plan.samples.push(SampleRow {
                    row_idx: plan.token_ids.len() as u32 - 1,
                    sampling: Arc::clone(&self.greedy),
                    position: end as u32,
                    history: 0..0,
                    num_prompt_tokens: 0,
                    banned: 0..0,
                    mask: None,
                    known: None,
                });
            }
        }
    }
}
