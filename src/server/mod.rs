//! The HTTP front: parse, validate, hand to the engine, frame what comes back. axum lives here only.
//!
//! ```text
//! router (id, auth, body limit) → routes → request (validate, translate) → text (template, tokens, grammar) → engine::submit
//!   ⇒ answer: choice (detokenise, stop strings, parts) → generation → account (metrics, log) → wire → sse or one JSON body
//! ```

mod accept;
mod answer;
mod answer_cache;
mod auth;
mod embedder;
mod error;
#[cfg(test)]
mod fuzz_tests;
mod models;
mod open_elsewhere;
mod openapi;
mod probe;
mod remote;
mod request;
mod router;
mod routes;
mod routing;
mod run;
mod semantic_cache;
mod state;
mod tiers;

pub use answer_cache::AnswerCache;
pub use auth::ApiKey;
pub use embedder::{EmbeddingModel, EncoderLoader, LoadedEncoder};
pub use models::{EngineEnd, Models, Served};
pub use remote::RemoteServed;
pub use request::sampling::SamplingDefaults;
pub use routes::adapters::{AdapterLoader, Adapters};
pub use routing::{Candidate, Routing};
pub use run::{Ended, serve};
pub use semantic_cache::{SemanticCache, SemanticRules};
pub use state::{AppState, ServedModel, ServerOptions};
pub use tiers::Tiers;
