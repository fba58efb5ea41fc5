//! The two queues, `waiting` and `running`, and the three moves between them: admit, preempt, finish.
//!
//! Invariants:
//!
//! * `running` is in order of admission. When blocks run out, the youngest running sequence is preempted: its blocks are
//!   freed, it goes to the front of `waiting`, and it is recomputed later with the same tokens. The oldest is never
//!   preempted for another, and any one sequence fits the pool alone (checked at submission), so work always advances.
//! * A sequence gets the blocks of all its known tokens when it is admitted, so only decodes can run out of blocks, and
//!   prompts half computed are not thrown away to make room for other prompts.
//! * With the prefix cache, a full block can be found by its content from the moment it is planned. Sequences that need the
//!   content share the block: when they are admitted, and later, when another has come further.
//! * A step never exceeds `max_num_batched_tokens`. Decodes (one token each) come first, so that a long prompt's chunks
//!   take what is left over and never stall a stream.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Sequence, SequenceId, StepPlan};
use crate::kv::{BlockId, BlockPool};
use crate::request::{FinishReason, SampledToken, Timing};

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
}

/// What a step gave one sequence.
#[derive(Debug)]
pub struct Committed {
    /// The sequence.
    pub id: SequenceId,
    /// Its new token; `None` where the model gave nothing to draw from, which ends the sequence too.
    pub token: Option<SampledToken>,
    /// Set with the first token.
    pub timing: Option<Timing>,
    /// Set when the token ended it. Blocks of an ended sequence are free again.
    pub finish: Option<FinishReason>,
}

/// Decides each step. See the module's invariants.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    pool: BlockPool,
    waiting: VecDeque<Sequence>,
    running: Vec<Sequence>,
    plan: StepPlan,
    /// Blocks that the step in flight completes.
    fresh: Vec<BlockId>,
    num_preemptions: u64,
}

impl SchedulerConfig {
    /// Gives `sequence` as much of the budget as it can use.
    fn schedule(
        &self,
        sequence: &mut Sequence,
        budget: &mut usize,
        pool: &mut BlockPool,
        fresh: &mut Vec<BlockId>,
    ) {
        sequence.num_scheduled_tokens = sequence.num_uncomputed_tokens().min(*budget);
        *budget -= sequence.num_scheduled_tokens;
        if self.prefix_cache {
            sequence.name_blocks(pool, fresh);
        }
    }
}

impl Scheduler {
    /// A scheduler over `pool`. Panics when the limits contradict each other; resolve them before.
    pub fn new(config: SchedulerConfig, pool: BlockPool) -> Self {
        assert!(config.max_num_seqs >= 1, "max_num_seqs must be at least 1");
        assert!(
            config.max_num_batched_tokens >= config.max_num_seqs,
            "max_num_batched_tokens must be at least max_num_seqs"
        );
        assert!(
            pool.blocks_for(config.max_model_len) <= pool.num_blocks(),
            "max_model_len must fit the KV cache"
        );
        Self {
            config,
            pool,
            waiting: VecDeque::new(),
            running: Vec::new(),
            plan: StepPlan::default(),
            fresh: Vec::new(),
            num_preemptions: 0,
        }
    }

    /// Queues a sequence. Its prompt must be shorter than `max_model_len` and not empty.
    pub fn add(&mut self, sequence: Sequence) {
        debug_assert!((1..self.config.max_model_len).contains(&sequence.tokens.len()));
        self.waiting.push_back(sequence);
    }

    /// Plans the next step: empty only when there is nothing to do.
    pub fn schedule(&mut self, now: Duration) -> &StepPlan {
        self.plan.clear();
        let mut budget = self.config.max_num_batched_tokens;
        self.schedule_decodes(&mut budget);
        self.schedule_prompt_chunks(&mut budget);
        self.admit_waiting(&mut budget);
        for sequence in self
            .running
            .iter_mut()
            .filter(|s| s.num_scheduled_tokens > 0)
        {
            sequence.mark_scheduled(now);
            self.plan.push(sequence, self.pool.block_size());
        }
        &self.plan
    }

    /// One token for every sequence that has all but one computed, oldest first, preempting from the young end.
    fn schedule_decodes(&mut self, budget: &mut usize) {
        for sequence in &mut self.running {
            sequence.num_scheduled_tokens = 0;
        }
        let mut i = 0;
        while i < self.running.len() {
            let sequence = &mut self.running[i];
            if sequence.num_uncomputed_tokens() > 1 {
                i += 1;
            } else if sequence
                .block_table
                .grow_to(sequence.tokens.len(), &mut self.pool)
            {
                self.config
                    .schedule(sequence, budget, &mut self.pool, &mut self.fresh);
                i += 1;
            } else {
                // May be this very sequence, when it is the youngest itself.
                self.preempt_youngest();
            }
        }
    }

    fn preempt_youngest(&mut self) {
        let mut victim = self
            .running
            .pop()
            .expect("the sequence asking for blocks is running: this is a bug");
        victim.release_blocks(&mut self.pool);
        self.num_preemptions += 1;
        self.waiting.push_front(victim);
    }

    fn schedule_prompt_chunks(&mut self, budget: &mut usize) {
        for sequence in self
            .running
            .iter_mut()
            .filter(|s| s.num_scheduled_tokens == 0)
        {
            if self.config.prefix_cache && *budget > 0 {
                sequence.share_cached_blocks(&mut self.pool);
            }
            self.config
                .schedule(sequence, budget, &mut self.pool, &mut self.fresh);
        }
    }

    /// First come, first served: the head waits for its blocks and nobody overtakes it.
    fn admit_waiting(&mut self, budget: &mut usize) {
        while *budget > 0 && self.running.len() < self.config.max_num_seqs {
            let Some(head) = self.waiting.front_mut() else {
                return;
            };
            if self.config.prefix_cache {
                head.share_cached_blocks(&mut self.pool);
            }
            if !head.block_table.grow_to(head.tokens.len(), &mut self.pool) {
                head.release_blocks(&mut self.pool);
                return;
            }
            if self.config.prefix_cache {
                let copy = head.copy_similar_block(&self.pool);
                let copy = copy.map(|(from, to)| (from.0, to.0));
                self.plan.block_copies.extend(copy);
            }
            self.config
                .schedule(head, budget, &mut self.pool, &mut self.fresh);
            self.running.extend(self.waiting.pop_front());
        }
    }

    /// Takes in the tokens drawn for the plan's sample rows, in their order, and appends what they led to.
    pub fn commit(
        &mut self,
        sampled: Vec<Option<SampledToken>>,
        now: Duration,
        committed: &mut Vec<Committed>,
    ) {
        assert_eq!(
            sampled.len(),
            self.plan.samples.len(),
            "one token a sample row: this is a bug"
        );
        for block in self.fresh.drain(..) {
            self.pool.mark_written(block);
        }
        let prefix_cache = self.config.prefix_cache;
        let mut sampled = sampled.into_iter();
        let max_model_len = self.config.max_model_len;
        let pool = &mut self.pool;
        self.running.retain_mut(|sequence| {
            let is_sampled = sequence.is_sampled_this_step();
            sequence.num_computed_tokens += std::mem::take(&mut sequence.num_scheduled_tokens);
            if prefix_cache {
                sequence.settle_blocks(pool);
            }
            if !is_sampled {
                return true;
            }
            let token = sampled.next().expect("counted above: this is a bug");
            let timing = (sequence.num_output_tokens() == 0).then(|| sequence.timing(now));
            let finish = token
                .as_ref()
                .and_then(|token| sequence.push(token.token_id, max_model_len));
            let is_over = finish.is_some() || token.is_none();
            if is_over {
                sequence.release_blocks(pool);
            }
            committed.push(Committed {
                id: sequence.id,
                token,
                timing,
                finish,
            });
            !is_over
        });
    }

    /// Gives up the step in flight, which failed: removes its sequences and forgets the blocks it was to complete.
    pub fn abandon_step(&mut self) {
        for block in self.fresh.drain(..) {
            self.pool.forget(block);
        }
        let failed = std::mem::take(&mut self.plan.sequences);
        self.remove(|id| failed.contains(&id));
        self.plan.clear();
    }

    /// Forgets what cached blocks hold; sequences keep theirs.
    pub fn clear_prefix_cache(&mut self) {
        self.pool.forget_all();
    }

    /// Removes every sequence for which `is_gone` holds, waiting or running, and frees its blocks.
    pub fn remove(&mut self, mut is_gone: impl FnMut(SequenceId) -> bool) {
        let pool = &mut self.pool;
        let mut keep = |sequence: &mut Sequence| {
            let gone = is_gone(sequence.id);
            if gone {
                sequence.release_blocks(pool);
            }
            !gone
        };
        self.running.retain_mut(&mut keep);
        self.waiting.retain_mut(&mut keep);
    }

    /// The plan of the step in flight.
    pub fn plan(&self) -> &StepPlan {
        &self.plan
    }

    /// Sequences in the running set.
    pub fn num_running(&self) -> usize {
        self.running.len()
    }

    /// Sequences in the queue.
    pub fn num_waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Times a sequence lost its blocks to an older one.
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

    /// Checks every invariant that a simulator can see; the message says which one broke.
    pub fn check(&self) -> Result<(), String> {
        let all = || self.running.iter().chain(&self.waiting);
        self.pool
            .check(all().flat_map(|s| s.block_table.blocks().iter().copied()))?;
        if self.running.len() > self.config.max_num_seqs {
            return Err(format!(
                "{} sequences run, {} may",
                self.running.len(),
                self.config.max_num_seqs
            ));
        }
        if self.plan.num_tokens() > self.config.max_num_batched_tokens {
            return Err(format!(
                "a step of {} tokens is over budget",
                self.plan.num_tokens()
            ));
        }
        match all().find(|s| s.num_computed_tokens >= s.tokens.len()) {
            Some(s) => Err(format!("{:?} has nothing left to compute", s.id)),
            None => Ok(()),
        }
    }
}
