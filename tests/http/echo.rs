//! An executor that answers with the prompt, over and over, read back from its KV cache.

use std::collections::HashMap;

use flambeau::engine::{Executor, ExecutorError, StepOutput, Ticket};
use flambeau::kv::BlockMove;
use flambeau::request::{SampledToken, TokenLogprobs};
use flambeau::scheduler::{SampleRow, StepPlan};

/// What makes whatever is scored behind it unlikely.
pub const DOUBT: u32 = b'!' as u32;

/// See the module. Tokens that may not be drawn are replaced by the next id. What is scored behind [`DOUBT`] is unlikely.
pub struct Echo {
    vocab_size: u32,
    block_size: usize,
    /// Token by slot.
    cache: HashMap<u32, u32>,
    in_flight: StepOutput,
}

impl Echo {
    pub fn new(block_size: usize, vocab_size: u32) -> Self {
        Self {
            vocab_size,
            block_size,
            cache: HashMap::new(),
            in_flight: StepOutput::default(),
        }
    }

    fn sample(&self, plan: &StepPlan, row: &SampleRow) -> SampledToken {
        let token_id = row.known.unwrap_or_else(|| self.draw(plan, row));
        let is_doubted = row.known.is_some() && self.has_doubt(plan, row);
        let logprobs = row.sampling.logprobs.map(|count| TokenLogprobs {
            rank: 1,
            chosen: if is_doubted { -9.5 } else { -0.5 },
            top: (0..count)
                .map(|i| ((token_id + i) % self.vocab_size, -0.5 - i as f32))
                .collect(),
        });
        SampledToken { token_id, logprobs }
    }

    /// The token at a position of the row's sequence.
    fn token(&self, plan: &StepPlan, row: &SampleRow, position: usize) -> u32 {
        let s = plan
            .cu_seqlens_q
            .partition_point(|&start| start <= row.row_idx)
            - 1;
        let blocks = &plan.block_tables[plan.block_table_offsets[s] as usize..];
        let slot = blocks[position / self.block_size] as usize * self.block_size
            + position % self.block_size;
        self.cache[&(slot as u32)]
    }

    fn has_doubt(&self, plan: &StepPlan, row: &SampleRow) -> bool {
        let mut before = 0..row.position as usize;
        before.any(|position| self.token(plan, row, position) == DOUBT)
    }

    fn draw(&self, plan: &StepPlan, row: &SampleRow) -> u32 {
        let source = row.position as usize % row.num_prompt_tokens;
        let mut token_id = self.token(plan, row, source);
        while plan.banned[row.banned.clone()].contains(&token_id) {
            token_id = (token_id + 1) % self.vocab_size;
        }
        token_id
    }
}

impl Executor for Echo {
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        for block_move in &plan.block_moves {
            let &BlockMove::Copy { from, to } = block_move else {
                panic!("there is no host arena here: {block_move:?}");
            };
            let (from, to) = (from.0, to.0);
            let block_size = self.block_size as u32;
            for i in 0..block_size {
                if let Some(&token) = self.cache.get(&(from * block_size + i)) {
                    self.cache.insert(to * block_size + i, token);
                }
            }
        }
        let slots = plan.slot_mapping.iter().copied();
        self.cache.extend(slots.zip(plan.token_ids.iter().copied()));
        Ok(Ticket(0))
    }

    fn draw(&mut self, _ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        self.in_flight = StepOutput {
            sampled: plan
                .samples
                .iter()
                .map(|row| Some(self.sample(plan, row)))
                .collect(),
        };
        Ok(())
    }

    fn collect(&mut self, _ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        Ok(std::mem::take(&mut self.in_flight))
    }
}
