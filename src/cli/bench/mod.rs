//! `flambeau bench`: measures servers.
//!
//! Invariants of the load generator:
//! - a request that fails never enters a latency figure, and always shows in the counts;
//! - in open loop a latency starts when the arrival process wanted the request sent, not when the generator got
//!   round to it, so a stalled server can't hide the requests it kept waiting (no coordinated omission);
//! - a reply's times are taken as its bytes arrive, before they are parsed;
//! - what is random depends on the seed alone.

mod arrival;
mod client;
mod drive;
mod exchange;
mod failure;
mod prompts;
mod reply;
mod report;
pub(super) mod rng;
mod sample;
mod serve;
mod stats;
mod table;

pub use report::{FailureCount, Report};
pub use sample::Sample;
pub(super) use serve::resolve_key;
pub use serve::{Endpoint, ServeBench};
pub use stats::Summary;
