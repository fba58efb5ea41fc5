//! The executor that runs a real model: forward, then sample.

use std::sync::Arc;

use super::Decoder;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::constraint::TokenMask;
use crate::engine::{Executor, ExecutorError, StepOutput, Ticket};
use crate::sample::{CardSampler, RowContext, sample};
use crate::scheduler::StepPlan;

/// Runs steps, one at a time. On the CPU `launch` computes and `collect` hands over; on a card `launch` asks for all of it and `collect`
/// waits.
pub struct Runner {
    decoder: Decoder,
    cpu: Cpu,
    /// Where a card draws.
    card: Option<CardSampler>,
    in_flight: Option<InFlight>,
}

enum InFlight {
    Done(StepOutput),
    /// The card is still drawing.
    OnCard,
}

impl Runner {
    /// A runner over `decoder`, sampling on `cpu` or where the decoder computes.
    ///
    /// # Errors
    /// If a card has no room.
    pub fn new(decoder: Decoder, cpu: Cpu) -> candle_core::Result<Self> {
        let (max_rows, vocab_size) = (decoder.limits.max_samples, decoder.vocab_size());
        let card = match decoder.device() {
            Device::Cpu => None,
            Device::Cuda(cuda) => Some(CardSampler::new(cuda, max_rows, vocab_size)?),
        };
        Ok(Self {
            decoder,
            cpu,
            card,
            in_flight: None,
        })
    }

    fn step(&mut self, plan: &StepPlan) -> candle_core::Result<InFlight> {
        let Some(logits) = self.decoder.forward(plan)? else {
            return Ok(InFlight::Done(StepOutput::default()));
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
        if let Some(card) = &mut self.card {
            card.launch(&logits, &contexts)?;
            return Ok(InFlight::OnCard);
        }
        let sampled = sample(&logits, &contexts, &self.cpu)?;
        Ok(InFlight::Done(StepOutput { sampled }))
    }
}

impl Executor for Runner {
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        self.in_flight = Some(self.step(plan).map_err(failed)?);
        Ok(Ticket(0))
    }

    fn collect(&mut self, _ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        match (self.in_flight.take(), &mut self.card) {
            (Some(InFlight::Done(output)), _) => Ok(output),
            (Some(InFlight::OnCard), Some(card)) => {
                let sampled = card.take().map_err(failed)?;
                Ok(StepOutput { sampled })
            }
            _ => Err(ExecutorError("no step is in flight".into())),
        }
    }
}

fn failed(error: candle_core::Error) -> ExecutorError {
    ExecutorError(error.to_string())
}
