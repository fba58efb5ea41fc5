//! What the engine asks of a device.

use std::time::Duration;

use crate::request::SampledToken;
use crate::scheduler::StepPlan;

/// A launched step; spent by [`Executor::collect`].
#[derive(Debug)]
pub struct Ticket(pub u64);

/// What a step drew, for each of the plan's sample rows in their order; `None` where the model gave nothing to draw from
/// (no finite logit), which fails that sequence alone.
#[derive(Clone, Debug, Default)]
pub struct StepOutput {
    /// The tokens.
    pub sampled: Vec<Option<SampledToken>>,
}

/// A step that could not be done; the sequences in it fail, the executor lives on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExecutorError(pub String);

/// Computes steps. Host data only: plans in, tokens out.
///
/// A step is launched, drawn and collected. `launch` and `draw` may return before the work is done, so that a device can be kept a step
/// ahead: the engine launches the next step before it collects this one, and draws it after. So what rows are drawn with (masks,
/// the tokens so far) is known by then, and the step itself computes with the tokens that this one draws.
/// A panic in any of them is caught by the engine, which fails what is in flight and builds a new executor.
pub trait Executor {
    /// Whether a step may be launched while the one before is not collected.
    fn looks_ahead(&self) -> bool {
        false
    }

    /// What the step that is collected last had to wait for others that compute in the same place, and how many times as long steps take
    /// when all of them are busy.
    fn turn(&self) -> (Duration, f64) {
        (Duration::ZERO, 1.0)
    }

    /// Starts computing `plan`: moves its blocks, in order, then computes its rows, those of [`StepPlan::pending`] with what the step
    /// before draws. A step that was launched and not drawn is forgotten.
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError>;

    /// Starts drawing what was launched last; `plan` is that step's, with all its tokens.
    fn draw(&mut self, ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError>;

    /// Waits for a drawn step and takes its tokens.
    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecutorError>;

    /// Computes a step from its beginning to its end.
    fn step(&mut self, plan: &StepPlan) -> Result<StepOutput, ExecutorError> {
        let ticket = self.launch(plan)?;
        self.draw(&ticket, plan)?;
        self.collect(ticket)
    }
}

/// Builds an executor on the engine's thread: at the start, and again after a panic.
pub type ExecutorFactory = Box<dyn FnMut() -> Result<Box<dyn Executor>, ExecutorError> + Send>;
