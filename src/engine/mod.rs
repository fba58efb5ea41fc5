//! The border between the async front and the one thread that owns scheduler, KV cache and model.
//!
//! ```text
//! EngineHandle::submit ⇒ inbox ⇒ run_loop: schedule → execute → commit ⇒ EventStream
//! ```
//!
//! Channels in, channels out: no engine state is behind a lock. Every accepted request gets exactly one terminal event,
//! which [`EventSink`] enforces by its type; a client that leaves drops its [`EventStream`], and the loop frees the
//! sequence before the next step.

mod drafting;
mod encoder;
mod event;
mod executor;
pub mod fake;
mod guarded;
mod handle;
mod masks;
mod on_demand;
mod places;
mod run_loop;
mod turns;

pub use crate::scheduler::Refusal;
pub use drafting::{DraftLimits, DraftWorker, ModelDrafter};
pub use encoder::{EncodeError, Encoded, Encoder, EncoderHandle, MAX_WAITING_TOKENS, normalised};
pub use event::{EngineError, Event, EventSink, EventStream};
pub use executor::{Executor, ExecutorError, ExecutorFactory, StepOutput, Ticket};
pub use handle::{EngineConfig, EngineHandle, SubmitError};
pub use on_demand::{ExecutorLoader, ExecutorSource, OnDemand, Presence};
pub use turns::{Seat, Turns};
