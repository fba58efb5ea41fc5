//! From a body to what the engine is asked: every field checked against its endpoint's table.

pub(super) mod anthropic;
pub(super) mod caller;
pub(super) mod chat_prompt;
pub(super) mod conversation;
pub(super) mod embeddings;
pub(super) mod features;
pub(super) mod fields;
#[cfg(test)]
mod fields_doc;
pub(super) mod form;
pub(super) mod forward;
pub(super) mod framing;
pub(super) mod generate;
pub(super) mod output_format;
pub(super) mod responses;
pub(super) mod sampling;
pub(super) mod thinking;
pub(super) mod tools;
mod translate;
pub(super) mod urgency;
