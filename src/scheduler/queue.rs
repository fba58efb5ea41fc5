//! Who waits, who runs, and the three moves between them: admit, preempt, finish.
//!
//! Invariants:
//!
//! * `running` is in order of admission, with batch work behind all other. When blocks run out, the last running sequence is
//!   preempted: its blocks are freed, it goes to the front of its queue in `waiting`, and it is recomputed later with the same
//!   tokens. The first is never preempted for want of blocks, and any one sequence fits the pool alone (checked at submission),
//!   so work always advances. A sequence may also have to give way to a waiting one, see [`Waiting::gives_way`].
//! * A sequence gets the blocks of all its known tokens when it is admitted, so only decodes can run out of blocks, and
//!   prompts half computed are not thrown away to make room for other prompts.
//! * With the prefix cache, a full block can be found by its content from the moment it is planned. Sequences that need the
//!   content share the block: when they are admitted, and later, when another has come further.
//! * A step never exceeds `max_num_batched_tokens`. Decodes (one token each) come first, so that a long prompt's chunks
//!   take what is left over and never stall a stream; with a target they also take no longer than it says. Prompts come one
//!   after the other, and share a step as far as that saves something.

use std::time::Duration;

use super::admission::Admission;
use super::budget::Budget;
use super::in_flight::InFlight;
use super::speculation::{DraftTotals, DraftYield, MAX_EXTRA_SAMPLES, Speculation};
use super::waiting::Waiting;
use super::{CostModel, DraftSource, Drafter, PromptLookup, Sequence, SequenceId, StepPlan};
use crate::kv::BlockPool;

/// The limits a scheduler keeps.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerConfig {
    /// Sequences that may run at once.
    pub max_num_seqs: usize,
    /// Tokens a step; at least `max_num_seqs`, so that prompts always advance beside decodes.
    pub max_num_batched_tokens: usize,
    /// Tokens a sequence, prompt and output together; at most what the pool holds.
    pub max_model_len: usize,
    /// Whether sequences share the blocks of a common beginning.
    pub prefix_cache: bool,
    /// How long a step may take while somebody waits for the next token of an answer: prompts get what the decodes leave
    /// of it.
    pub target_itl: Option<Duration>,
    /// Whether steps compute drafts of what comes next along with what is known.
    pub speculation: bool,
}

impl SchedulerConfig {
    /// Rows whose logits a step may read.
    pub fn max_samples(&self) -> usize {
        self.max_num_seqs + MAX_EXTRA_SAMPLES
    }
}

/// Decides each step. See the module's invariants.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) config: SchedulerConfig,
    pub(super) pool: BlockPool,
    pub(super) waiting: Waiting,
    pub(super) running: Vec<Sequence>,
    pub(super) in_flight: InFlight,
    /// Running sequences whose prompts are under way, by index.
    prompts: Vec<usize>,
    pub(super) budget: Budget,
    pub(super) cost: CostModel,
    pub(super) speculation: Option<Speculation>,
    pub(super) draft_yield: DraftYield,
    pub(super) admission: Admission,
    /// When a step was committed last.
    pub(super) last_commit: Duration,
    /// What the step in flight has waited for others that compute on the same cores.
    pub(super) waited: Duration,
    num_preemptions: u64,
    /// By their sources.
    pub(super) drafts: [DraftTotals; DraftSource::ALL.len()],
}

impl Scheduler {
    /// A scheduler over `pool`. Panics when the limits contradict each other; resolve them before.
    pub fn new(config: SchedulerConfig, mut pool: BlockPool) -> Self {
        assert!(config.max_num_seqs >= 1, "max_num_seqs must be at least 1");
        assert!(
            config.max_num_batched_tokens >= config.max_num_seqs,
            "max_num_batched_tokens must be at least max_num_seqs"
        );
        assert!(
            pool.blocks_for(config.max_model_len) <= pool.num_blocks(),
            "max_model_len must fit the KV cache"
        );
        if !config.prefix_cache {
            pool.turn_names_off();
        }
        let speculation = config
            .speculation
            .then(|| Speculation::new(Box::new(PromptLookup)));
        Self {
            config,
            pool,
            waiting: Waiting::default(),
            running: Vec::new(),
            in_flight: InFlight::default(),
            prompts: Vec::new(),
            budget: Budget::default(),
            cost: CostModel::default(),
            speculation,
            draft_yield: DraftYield::default(),
            admission: Admission::default(),
            last_commit: Duration::ZERO,
            waited: Duration::ZERO,
            num_preemptions: 0,
            drafts: Default::default(),
        }
    }

    /// Takes drafts from `drafter`; without speculation nobody asks it.
    #[must_use]
    pub fn with_drafter(mut self, drafter: Box<dyn Drafter>) -> Self {
        if let Some(speculation) = &mut self.speculation {
            *speculation = Speculation::new(drafter);
        }
        self
    }

    /// The step that is about to be committed has `waited` for its turn on cores that others share, which makes steps take `slowdown` times
    /// as long when all of them are busy. What rows take is learnt without that; expectations count on no more than what is left then.
    pub fn note_turn(&mut self, waited: Duration, slowdown: f64) {
        self.waited = waited;
        self.cost.slow_down(slowdown);
    }

    /// Plans the next step: empty where there is nothing to do. One may be in flight, with tokens that are still being drawn; the plan is
    /// then also empty where it is better to know them, or who ends with them, first.
    pub fn schedule(&mut self, now: Duration) -> &StepPlan {
        let is_ahead = !self.in_flight.is_empty();
        if is_ahead && self.awaits_commit(now) {
            return self.in_flight.nothing();
        }
        self.pool.step_begins();
        self.budget = Budget::new(&self.config);
        self.make_room(now);
        self.schedule_decodes(now);
        self.admit_before_prompts(now);
        self.schedule_prompt_chunks(now);
        self.admit_waiting(now);
        if !is_ahead {
            self.speculate();
        }
        let mut step = self.in_flight.blank(now);
        for sequence in self
            .running
            .iter_mut()
            .filter(|s| s.num_scheduled_tokens > 0)
        {
            sequence.mark_scheduled(now);
            self.waiting.charge(sequence, sequence.num_scheduled_tokens);
            let first_drawn = step.push(sequence, self.pool.block_size());
            sequence.advance(first_drawn, &mut self.pool);
        }
        self.pool.take_moves(&mut step.plan.block_moves);
        self.in_flight.add(step, &self.budget)
    }

    /// Whether the next step is better planned once the one in flight is committed: where drafts are computed, or likely to be worth it
    /// next, and where somebody would be preempted who may not have to be once others are done.
    fn awaits_commit(&mut self, now: Duration) -> bool {
        let max_model_len = self.config.max_model_len;
        let block_size = self.pool.block_size();
        let grows = |s: &&Sequence| {
            let is_full = s.len() > s.block_table.blocks().len() * block_size;
            is_full && !s.awaits_its_last(max_model_len)
        };
        let num_growing = self.running.iter().filter(grows).count();
        num_growing > self.pool.num_free()
            || self.yielding(now).is_some()
            || self.speculation.as_mut().is_some_and(|speculation| {
                speculation.awaits_tokens(
                    &mut self.running,
                    max_model_len,
                    &self.budget,
                    &self.cost,
                )
            })
    }

    /// One token for every sequence that has all but one computed, in order, preempting from the end.
    fn schedule_decodes(&mut self, now: Duration) {
        let mut i = 0;
        while i < self.running.len() {
            let sequence = &mut self.running[i];
            if !sequence.is_decode(self.config.max_model_len) {
                i += 1;
            } else if (sequence.block_table).grow_to(sequence.len(), &mut self.pool) {
                self.budget.decode(sequence);
                sequence.name_blocks(&mut self.pool);
                i += 1;
            } else {
                // May be this very sequence, when it is the last itself.
                self.preempt(self.running.len() - 1, now);
            }
        }
    }

    /// Preempts one sequence where the next in line finds no place and somebody should give way to it. Before anything is
    /// scheduled, so that no planned block is lost.
    fn make_room(&mut self, now: Duration) {
        if let Some(i) = self.yielding(now) {
            self.preempt(i, now);
        }
    }

    /// Who runs and should give way to the next in line.
    fn yielding(&self, now: Duration) -> Option<usize> {
        let max_num_seqs = self.config.max_num_seqs;
        let head = self.waiting.head(now)?;
        let num_blocks = self.pool.blocks_for(head.tokens.len());
        if self.running.len() < max_num_seqs && num_blocks <= self.pool.num_free() {
            return None;
        }
        let share = self.waiting.share(max_num_seqs);
        let gives_way = |running: &Sequence| self.waiting.gives_way(running, head, share, now);
        self.running.iter().rposition(gives_way)
    }

    pub(super) fn preempt(&mut self, i: usize, now: Duration) {
        assert!(
            self.in_flight.is_empty(),
            "who is preempted has no rows in flight: this is a bug"
        );
        let mut victim = self.running.remove(i);
        if let Some(speculation) = &mut self.speculation {
            speculation.forget(victim.id);
        }
        victim.release_blocks(&mut self.pool);
        self.num_preemptions += 1;
        self.waiting.put_back(victim, now);
    }

    /// Admits those who come before every prompt under way, so that they share the step with it or take it.
    fn admit_before_prompts(&mut self, now: Duration) {
        let prompts = self.running.iter().filter(|s| s.is_prompt());
        let Some(first) = prompts.map(|prompt| self.waiting.rank(prompt, now)).min() else {
            return;
        };
        while self.waiting.head_rank(now).is_some_and(|rank| rank < first) {
            if self.admit(now).is_none() {
                return;
            }
        }
    }

    /// Chunks of the prompts under way, in the order in which they would be admitted.
    fn schedule_prompt_chunks(&mut self, now: Duration) {
        self.prompts.clear();
        let prompts = (0..self.running.len()).filter(|&i| self.running[i].is_prompt());
        self.prompts.extend(prompts);
        self.prompts
            .sort_by_key(|&i| self.waiting.rank(&self.running[i], now));
        for k in 0..self.prompts.len() {
            if self.budget.is_spent() {
                return;
            }
            self.schedule_prompt_chunk(self.prompts[k]);
        }
    }

    fn schedule_prompt_chunk(&mut self, i: usize) {
        let sequence = &mut self.running[i];
        sequence.share_cached_blocks(&mut self.pool);
        self.budget.prompt_chunk(sequence, &self.cost);
        sequence.name_blocks(&mut self.pool);
    }

    /// Admits as many as the step has room for.
    fn admit_waiting(&mut self, now: Duration) {
        while !self.budget.is_spent() {
            let Some(i) = self.admit(now) else {
                return;
            };
            self.schedule_prompt_chunk(i);
        }
    }

    /// Admits whoever is next, and says where it runs. If it has to wait for a place or for its blocks, nobody overtakes it.
    fn admit(&mut self, now: Duration) -> Option<usize> {
        if self.running.len() == self.config.max_num_seqs {
            return None;
        }
        let head = self.waiting.head_mut(now)?;
        head.share_cached_blocks(&mut self.pool);
        head.touch_saved_blocks(&mut self.pool);
        if !head.block_table.grow_to(head.tokens.len(), &mut self.pool) {
            head.release_blocks(&mut self.pool);
            return None;
        }
        // Now that it has blocks of its own, they can be filled.
        head.share_cached_blocks(&mut self.pool);
        head.copy_similar_block(&mut self.pool);
        let admitted = self.waiting.admit(now)?;
        let is_batch = admitted.is_batch();
        let place = self.running.partition_point(|s| s.is_batch() <= is_batch);
        self.running.insert(place, admitted);
        Some(place)
    }

    /// Adds drafts to a step of decodes. Where prompts are computed the step is long already, and their rows come first.
    fn speculate(&mut self) {
        if let Some(speculation) = &mut self.speculation
            && !self.budget.has_prompts()
        {
            speculation.extend_step(
                &mut self.running,
                self.config.max_model_len,
                &mut self.pool,
                &mut self.budget,
                &self.cost,
            );
        }
    }

    /// Forgets what cached blocks and the host hold; sequences keep theirs.
    /// Says how many blocks had a name.
    pub fn clear_prefix_cache(&mut self) -> usize {
        let num_known = self.pool.num_named() + self.pool.num_saved();
        self.pool.forget_all();
        num_known
    }

    /// A sequence's reader has had enough of it, or left: takes it out, as [`Scheduler::remove`].
    pub fn cancel(&mut self, is_cancelled: impl Fn(SequenceId) -> bool) {
        for sequence in self.running.iter().filter(|s| is_cancelled(s.id)) {
            self.admission.ended(sequence.num_output_tokens(), true);
        }
        self.remove(is_cancelled);
    }

    /// Removes every sequence for which `is_gone` holds, waiting or running, and frees its blocks.
    pub fn remove(&mut self, mut is_gone: impl FnMut(SequenceId) -> bool) {
        let (pool, waiting) = (&mut self.pool, &mut self.waiting);
        let mut is_removed = |id| {
            let is_gone = is_gone(id);
            if let Some(speculation) = self.speculation.as_mut().filter(|_| is_gone) {
                speculation.forget(id);
            }
            is_gone
        };
        self.running.retain_mut(|sequence| {
            let is_gone = is_removed(sequence.id);
            if is_gone {
                sequence.release_blocks(pool);
                waiting.end(sequence);
            }
            !is_gone
        });
        // A sequence that waits holds no blocks.
        waiting.remove(|sequence| is_removed(sequence.id));
    }

    /// The plan of the step in flight, the older of two; empty where there is none.
    pub fn plan(&self) -> &StepPlan {
        self.in_flight.oldest()
    }

    /// The plan that was made last; empty where nothing is in flight.
    pub fn newest_plan(&self) -> &StepPlan {
        self.in_flight.newest()
    }

    /// Rows of a sequence in the steps in flight.
    pub fn num_in_flight(&self, id: SequenceId) -> u64 {
        let rows = |plan: &StepPlan| {
            let s = plan.sequences.iter().position(|&other| other == id)?;
            Some(u64::from(plan.cu_seqlens_q[s + 1] - plan.cu_seqlens_q[s]))
        };
        self.in_flight.plans().filter_map(rows).sum()
    }

    /// Sequences in the running set.
    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// Sequences in the queue.
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Times a sequence lost its blocks: to another, or to a step that failed.
    pub fn num_preemptions(&self) -> u64 {
        self.num_preemptions
    }

    /// The blocks.
    pub fn pool(&self) -> &BlockPool {
        &self.pool
    }

    /// Blocks held by sequences over all blocks, `0.0..=1.0`.
    pub fn kv_usage(&self) -> f64 {
        1.0 - self.pool.num_free() as f64 / self.pool.num_blocks().max(1) as f64
    }
}
