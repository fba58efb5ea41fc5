//! The executor that runs a real model: forward, then sample.

use std::sync::Arc;

use super::Decoder;
use crate::backend::cpu::Cpu;
use crate::constraint::TokenMask;
use crate::engine::{Executor, ExecutorError, StepOutput, Ticket};
use crate::sample::{RowContext, sample};
use crate::scheduler::StepPlan;

/// Runs steps on the CPU, one at a time: `launch` computes, `collect` hands over.
pub struct Runner {
    decoder: Decoder,
    cpu: Cpu,
    in_flight: Option<StepOutput>,
}

impl Runner {
    /// A runner over `decoder`, sampling on `cpu`.
    pub fn new(decoder: Decoder, cpu: Cpu) -> Self {
        Self {
            decoder,
            cpu,
            in_flight: None,
        }
    }

    fn step(&self, plan: &StepPlan) -> candle_core::Result<StepOutput> {
        let Some(logits) = self.decoder.forward(plan)? else {
            return Ok(StepOutput::default());
        };
        // A row whose mask could not be computed has none, and no token: a mask of nothing.
        let masks: Vec<Option<Arc<TokenMask>>> = plan
            .samples
            .iter()
            .map(|row| Some(row.mask.as_ref()?.wait().unwrap_or_default()))
            .collect();
        let contexts: Vec<RowContext<'_>> = plan
            .samples
            .iter()
            .zip(&masks)
            .map(|(row, mask)| {
                let history = &plan.history[row.history.clone()];
                let (prompt, output) = history.split_at(row.num_prompt_tokens.min(history.len()));
                let banned = &plan.banned[row.banned.clone()];
                RowContext {
                    params: &row.sampling,
                    position: row.position,
                    prompt,
                    output,
                    banned,
                    mask: mask.as_deref(),
                    known: row.known,
                }
            })
            .collect();
        Ok(StepOutput {
            sampled: sample(&logits, &contexts, &self.cpu)?,
        })
    }
}

impl Executor for Runner {
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        self.in_flight = Some(
            self.step(plan)
                .map_err(|error| ExecutorError(error.to_string()))?,
        );
        Ok(Ticket(0))
    }

    fn collect(&mut self, _ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        self.in_flight
            .take()
            .ok_or_else(|| ExecutorError("no step is in flight".into()))
    }
}
