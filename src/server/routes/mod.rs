//! One file an endpoint, or a few that belong together.

pub(super) mod adapters;
pub(super) mod cache;
pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod messages;
pub(super) mod ops;
pub(super) mod responses;
pub(super) mod tokenize;
