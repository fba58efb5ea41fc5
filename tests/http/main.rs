//! The HTTP front over real sockets, with executors that need no model.
//!
//! [`echo`] answers with the prompt, so that a test chooses the answer token by token; the library's fake executor
//! hashes its whole context, so that any mix-up changes the answer, and a [`gate`] holds each of its steps until the
//! test lets it go. No test sleeps: they wait for what is to happen, bounded by `client::PATIENCE`.

#![allow(clippy::unwrap_used)]

mod adapters;
mod bad_input;
mod borders;
#[path = "../byte_vocabulary/mod.rs"]
mod byte_vocabulary;
mod cache_admin;
mod chat;
mod choices;
mod client;
mod completions;
mod continuing;
mod crowd;
mod deadlines;
mod described;
mod disconnect;
mod drain;
mod echo;
mod embeddings;
mod exact_cache;
mod failure;
mod gate;
mod keys;
mod malformed;
mod models;
mod on_demand;
mod ops;
mod overload;
mod prefix_cache;
mod redact;
mod remote_client;
mod remote_models;
mod routing;
mod semantic_cache;
mod served_answers;
mod server;
mod structured;
mod tiers;
mod tools;
mod translated;
