//! From the engine's events to bytes: text that is certain, the books, the JSON, the stream.

pub(super) mod account;
mod again;
mod answering;
pub(super) mod anthropic;
pub(super) mod ask;
mod begun;
mod blocks;
mod chain;
pub(super) mod choice;
mod continuing;
mod elsewhere;
mod failure;
pub(super) mod form;
mod generation;
mod keep;
mod logprobs;
pub(super) mod openai;
mod put;
mod question;
mod remembering;
pub(super) mod respond;
pub(super) mod responses;
mod sse;
pub(super) mod wire;
mod without_model;
