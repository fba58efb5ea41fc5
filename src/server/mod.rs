//! The HTTP front: parse, validate, hand to the engine, frame what comes back. axum lives here only.
//!
//! ```text
//! router (id, auth, body limit) → handler → fields (validate) → text (template, tokens) → engine::submit
//!   ⇒ generation (detokenise, stop strings) → account (metrics, log) → sse or one JSON body
//! ```

mod accept;
mod account;
mod adapters;
mod auth;
mod body;
mod chat;
mod completions;
mod error;
mod fields;
#[cfg(test)]
mod fields_doc;
mod framing;
mod generation;
mod logprobs;
mod ops;
mod respond;
mod router;
mod run;
mod sampling;
mod sse;
mod state;
mod tokenize;
mod urgency;

pub use adapters::{AdapterLoader, Adapters};
pub use auth::ApiKey;
pub use run::{Ended, serve};
pub use sampling::SamplingDefaults;
pub use state::{AppState, ServedModel, ServerOptions};
