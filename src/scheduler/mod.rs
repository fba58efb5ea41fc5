//! Which tokens of which sequences the next step computes.
//!
//! Pure decisions over plain data: no tokio, no tensors, no clock (`now` is an argument), so that everything here runs
//! in a simulator. There are no phases: a step is a set of `(sequence, num_scheduled_tokens)` under one token budget,
//! and prompt chunks, decodes and the recomputation after a preemption differ only in that number.
//!
//! * [`Sequence`]: the token state of one request.
//! * [`Scheduler`]: `schedule(now) -> StepPlan`, then `commit(output)`; the next step may be planned in between, with tokens that
//!   are still being drawn.
//! * [`CostModel`]: how long a step takes, learnt from the steps that were; a step is kept within its target by it.
//! * [`Drafter`]: guesses of what a sequence says next, which a step computes along with what is known.
//! * [`Refusal`]: what a request hears whose deadline is not going to be kept.
//! * [`StepPlan`]: the flat arrays an executor needs, rebuilt in place each step.

mod admission;
mod budget;
mod check;
mod commit;
mod cost;
mod drafter;
mod forecast;
mod in_flight;
mod lookup_first;
mod plan;
mod promises;
mod queue;
mod recall;
mod scoring;
mod sequence;
mod speculation;
mod waiting;

pub use crate::kv::{BlockId, BlockMove};
pub use admission::Refusal;
pub use commit::Committed;
pub use cost::{CostModel, StepSize};
pub use drafter::{DraftSource, Drafter, PromptLookup};
pub use lookup_first::LookupFirst;
pub use plan::{PendingInput, SampleRow, StepPlan};
pub use queue::{Scheduler, SchedulerConfig};
pub use sequence::{Sequence, SequenceId};
pub use speculation::DraftTotals;
