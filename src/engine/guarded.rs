//! The executor, whose panics end nobody but itself.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Executor, ExecutorError, ExecutorFactory, StepOutput, Ticket};
use crate::scheduler::StepPlan;

/// How a step failed.
pub(super) enum StepFailure {
    /// The executor lives on.
    Failed(ExecutorError),
    /// It is not to be trusted any more: [`Guarded::rebuild`] is due.
    Panicked(String),
}

/// An executor, and how to build another; or nothing yet.
#[derive(Default)]
pub(super) struct Guarded {
    /// Gone while it is rebuilt, so that two never hold their memory at once.
    executor: Option<Box<dyn Executor>>,
    factory: Option<ExecutorFactory>,
}

impl Guarded {
    /// Builds the first executor.
    ///
    /// # Errors
    /// If that cannot be.
    pub fn built(factory: ExecutorFactory) -> Result<Self, ExecutorError> {
        let mut built = Self {
            executor: None,
            factory: Some(factory),
        };
        built.rebuild()?;
        Ok(built)
    }

    /// Takes a factory, where there was none, and builds an executor.
    ///
    /// # Errors
    /// If that cannot be; there is still none then.
    pub fn fill(&mut self, factory: ExecutorFactory) -> Result<(), ExecutorError> {
        *self = Self::built(factory)?;
        Ok(())
    }

    /// Gives up the executor, which may have panicked, and what it was built of.
    pub fn empty(&mut self) {
        // What a panic leaves of it, nobody will see.
        let _ = catch_unwind(AssertUnwindSafe(|| *self = Self::default()));
    }

    /// Whether there is nothing to compute with.
    pub fn is_absent(&self) -> bool {
        self.executor.is_none()
    }

    /// As [`Executor::looks_ahead`].
    pub fn looks_ahead(&self) -> bool {
        self.executor.as_ref().is_some_and(|own| own.looks_ahead())
    }

    /// As [`Executor::turn`].
    pub fn turn(&self) -> (Duration, f64) {
        let own = self.executor.as_ref().map(|own| own.turn());
        own.unwrap_or((Duration::ZERO, 1.0))
    }

    /// As [`Executor::launch`].
    pub fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, StepFailure> {
        self.caught(|executor| executor.launch(plan))
    }

    /// As [`Executor::draw`].
    pub fn draw(&mut self, ticket: &Ticket, plan: &StepPlan) -> Result<(), StepFailure> {
        self.caught(|executor| executor.draw(ticket, plan))
    }

    /// As [`Executor::collect`], of a step of so many sample rows.
    pub fn collect(&mut self, ticket: Ticket, num_rows: usize) -> Result<StepOutput, StepFailure> {
        self.caught(|executor| {
            let output = executor.collect(ticket)?;
            match output.sampled.len() == num_rows {
                true => Ok(output),
                false => Err(ExecutorError(format!(
                    "{} tokens were drawn for {num_rows} rows",
                    output.sampled.len(),
                ))),
            }
        })
    }

    fn caught<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Executor) -> Result<T, ExecutorError>,
    ) -> Result<T, StepFailure> {
        let executor = self.executor.as_deref_mut();
        let executor = executor.expect("nothing is launched without one: this is a bug");
        match catch_unwind(AssertUnwindSafe(|| work(executor))) {
            Ok(done) => done.map_err(StepFailure::Failed),
            Err(panic) => Err(StepFailure::Panicked(message(&*panic))),
        }
    }

    /// Gives the executor up and builds another.
    ///
    /// # Errors
    /// If that cannot be.
    pub fn rebuild(&mut self) -> Result<(), ExecutorError> {
        let factory = self.factory.as_mut();
        let factory = factory.expect("there was one before: this is a bug");
        let rebuilt = catch_unwind(AssertUnwindSafe(|| {
            self.executor = None;
            factory()
        }));
        let executor = rebuilt.unwrap_or_else(|panic| Err(ExecutorError(message(&*panic))))?;
        self.executor = Some(executor);
        Ok(())
    }
}

/// What a panic says.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no message").to_owned()
}
