//! An executor without a model, for tests and benches of everything around it.
//!
//! Its "model" is a hash over the tokens it finds in its KV cache, read through the plan's block tables: what it answers
//! depends on the whole context, so a mistake in scheduling, in a block table or in a recomputation changes the answer.

use std::time::Duration;

use super::{Executor, ExecutorError, StepOutput, Ticket};
use crate::kv::{BlockId, BlockMove};
use crate::request::{SampledToken, TokenLogprobs};
use crate::scheduler::{SampleRow, StepPlan};

/// Called with each plan before it is computed: may block, fail or panic.
pub type Hook = Box<dyn FnMut(&StepPlan) -> Result<(), ExecutorError> + Send>;

/// See the module.
pub struct FakeExecutor {
    vocab_size: u32,
    block_size: usize,
    cache: Vec<u32>,
    host: Vec<u32>,
    hook: Option<Hook>,
    looks_ahead: bool,
    /// What the last step drew.
    drawn: Vec<Option<u32>>,
    in_flight: Option<StepOutput>,
}

impl FakeExecutor {
    /// An executor with a cache of `num_blocks * block_size` tokens that answers with ids in `0..vocab_size`.
    pub fn new(num_blocks: usize, block_size: usize, vocab_size: u32) -> Self {
        Self {
            vocab_size,
            block_size,
            cache: vec![u32::MAX; num_blocks * block_size],
            host: Vec::new(),
            hook: None,
            looks_ahead: false,
            drawn: Vec::new(),
            in_flight: None,
        }
    }

    /// Adds an arena of `num_slots` blocks that are thrown out of the cache.
    pub fn with_host_arena(mut self, num_slots: usize) -> Self {
        self.host = vec![u32::MAX; num_slots * self.block_size];
        self
    }

    /// Calls `hook` before each step.
    pub fn with_hook(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Lets the engine launch a step before it collects the one before.
    pub fn with_lookahead(mut self) -> Self {
        self.looks_ahead = true;
        self
    }

    /// Takes `delay` for every step.
    pub fn with_step_time(self, delay: Duration) -> Self {
        self.with_hook(Box::new(move |_| {
            std::thread::sleep(delay);
            Ok(())
        }))
    }

    /// What the fake answers after `context` under `seed` (0 for greedy).
    pub fn next_token(context: impl Iterator<Item = u32>, seed: u64, vocab_size: u32) -> u32 {
        let hash = context.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, token| {
            (hash ^ u64::from(token))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(17)
        });
        ((hash >> 20) % u64::from(vocab_size)) as u32
    }

    /// Leaves anything where the plan's step writes, as a device may that fails in it.
    pub fn spoil(&mut self, plan: &StepPlan) {
        let block_size = self.block_size;
        let tokens = |block: BlockId| block.0 as usize * block_size..;
        for &block_move in &plan.block_moves {
            let (memory, to) = match block_move {
                BlockMove::Copy { to, .. } => (&mut self.cache, to),
                BlockMove::Load { block, .. } => (&mut self.cache, block),
                BlockMove::Save { slot, .. } => (&mut self.host, slot),
            };
            memory[tokens(to)][..block_size].fill(u32::MAX - 1);
        }
        for &slot in &plan.slot_mapping {
            self.cache[slot as usize] = u32::MAX - 1;
        }
    }

    fn sample(&self, plan: &StepPlan, row: &SampleRow) -> Option<SampledToken> {
        let s = plan
            .cu_seqlens_q
            .partition_point(|&start| start <= row.row_idx)
            - 1;
        let blocks = &plan.block_tables
            [plan.block_table_offsets[s] as usize..plan.block_table_offsets[s + 1] as usize];
        let context = (0..row.position as usize).map(|i| {
            self.cache[blocks[i / self.block_size] as usize * self.block_size + i % self.block_size]
        });
        if let Some(token_id) = row.known {
            let logprobs = row
                .sampling
                .logprobs
                .map(|count| self.logprobs(token_id, 0, count));
            return Some(SampledToken { token_id, logprobs });
        }
        let seed = if row.sampling.temperature == 0.0 {
            0
        } else {
            row.sampling.seed + u64::from(row.sampling.choice)
        };
        let first = Self::next_token(context, seed, self.vocab_size);
        let banned = &plan.banned[row.banned.clone()];
        let mask = match &row.mask {
            Some(slot) => Some(slot.wait().ok()?),
            None => None,
        };
        let token_id = (0..self.vocab_size)
            .map(|i| (first + i) % self.vocab_size)
            .find(|&id| match &mask {
                Some(mask) => mask.allows(id),
                None => !banned.contains(&id),
            })?;
        let logprobs = row
            .sampling
            .logprobs
            .map(|count| self.logprobs(token_id, seed, count));
        Some(SampledToken { token_id, logprobs })
    }

    /// What is drawn with a seed is likely or less, so that answers can be told apart by that.
    fn logprobs(&self, token_id: u32, seed: u64, count: u32) -> TokenLogprobs {
        let less = if seed == 0 {
            0.0
        } else {
            (token_id % 8) as f32 / 16.0
        };
        let chosen = -0.5 - less;
        TokenLogprobs {
            chosen,
            rank: 1,
            top: (0..count)
                .map(|i| ((token_id + i) % self.vocab_size, chosen - i as f32))
                .collect(),
        }
    }
}

impl Executor for FakeExecutor {
    fn looks_ahead(&self) -> bool {
        self.looks_ahead
    }

    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        if let Some(hook) = &mut self.hook {
            hook(plan)?;
        }
        let tokens = |block: BlockId| {
            let start = block.0 as usize * self.block_size;
            start..start + self.block_size
        };
        for &block_move in &plan.block_moves {
            match block_move {
                BlockMove::Copy { from, to } => {
                    self.cache.copy_within(tokens(from), tokens(to).start);
                }
                BlockMove::Save { block, slot } => {
                    self.host[tokens(slot)].copy_from_slice(&self.cache[tokens(block)]);
                }
                BlockMove::Load { slot, block } => {
                    self.cache[tokens(block)].copy_from_slice(&self.host[tokens(slot)]);
                }
            }
        }
        for (&token, &slot) in plan.token_ids.iter().zip(&plan.slot_mapping) {
            self.cache[slot as usize] = token;
        }
        for pending in &plan.pending {
            let slot = plan.slot_mapping[pending.row_idx as usize];
            let drawn = self.drawn[pending.drawn_idx as usize];
            // Where nothing was drawn the sequence ends, and any token will do.
            self.cache[slot as usize] = drawn.unwrap_or(0);
        }
        Ok(Ticket(0))
    }

    fn draw(&mut self, _ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        let rows = plan.samples.iter();
        let sampled: Vec<_> = rows.map(|row| self.sample(plan, row)).collect();
        let ids = sampled
            .iter()
            .map(|token| token.as_ref().map(|token| token.token_id));
        self.drawn = ids.collect();
        self.in_flight = Some(StepOutput { sampled });
        Ok(())
    }

    fn collect(&mut self, _ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        self.in_flight
            .take()
            .ok_or_else(|| ExecutorError("no step is in flight".into()))
    }
}
