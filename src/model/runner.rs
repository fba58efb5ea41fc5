//! The executor that runs a real model: forward, then sample.

use std::sync::Arc;

use super::Decoder;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::constraint::TokenMask;
use crate::engine::{Executor, ExecutorError, StepOutput, Ticket};
use crate::ops::Tensor;
use crate::sample::{CardSampler, RowContext, sample};
use crate::scheduler::StepPlan;

/// Runs steps. On the CPU `launch` and `draw` compute and `collect` hands over; on a card they ask for all of it and `collect` waits.
pub struct Runner {
    decoder: Decoder,
    cpu: Cpu,
    /// Where a card draws.
    card: Option<CardSampler>,
    /// Of the step that was launched last.
    logits: Option<Tensor>,
    in_flight: Option<InFlight>,
}

enum InFlight {
    Done(StepOutput),
    /// The card computes and draws.
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
            logits: None,
            in_flight: None,
        })
    }

    fn sample(&mut self, plan: &StepPlan) -> candle_core::Result<InFlight> {
        let Some(logits) = self.logits.take() else {
            return match &mut self.card {
                Some(card) => card.launch_none().map(|()| InFlight::OnCard),
                None => Ok(InFlight::Done(StepOutput::default())),
            };
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
    fn looks_ahead(&self) -> bool {
        self.card.is_some()
    }

    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        let drawn = self.card.as_ref().map(CardSampler::tokens);
        let logits = self.decoder.forward(plan, drawn);
        self.logits = logits.map_err(|error| self.failed(&error))?;
        Ok(Ticket(0))
    }

    fn draw(&mut self, _ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        let step = self.sample(plan).map_err(|error| self.failed(&error))?;
        self.in_flight = Some(step);
        Ok(())
    }

    fn collect(&mut self, _ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        let output = match (self.in_flight.take(), &mut self.card) {
            (Some(InFlight::Done(output)), _) => Ok(output),
            (Some(InFlight::OnCard), Some(card)) => {
                card.take().map(|sampled| StepOutput { sampled })
            }
            _ => return Err(ExecutorError("no step is in flight".into())),
        };
        output.map_err(|error| self.failed(&error))
    }
}

impl Runner {
    /// What a step is told that failed.
    ///
    /// # Panics
    /// If the card will do nothing any more: no later step could, so this executor is not to live on.
    fn failed(&self, error: &candle_core::Error) -> ExecutorError {
        if let Some(Err(dead)) = self.card.as_ref().map(CardSampler::wait) {
            panic!("the card has failed: {dead}");
        }
        ExecutorError(error.to_string())
    }
}
