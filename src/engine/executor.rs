//! What the engine asks of a device.

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
/// `launch` may return before the work is done, so that a device can be kept one step ahead; `collect` waits for it.
/// A panic in either is caught by the engine, which fails what is open and builds a new executor.
pub trait Executor {
    /// Starts computing `plan`: moves its blocks, in order, then computes its rows. The plan may be rebuilt once this
    /// returns.
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError>;

    /// Waits for a launched step and takes its tokens.
    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecutorError>;
}

/// Builds an executor on the engine's thread: at the start, and again after a panic.
pub type ExecutorFactory = Box<dyn FnMut() -> Result<Box<dyn Executor>, ExecutorError> + Send>;
