//! From the engine's events to bytes: text that is certain, the books, the JSON, the stream.

pub(super) mod account;
pub(super) mod body;
pub(super) mod generation;
pub(super) mod logprobs;
pub(super) mod respond;
pub(super) mod sse;
