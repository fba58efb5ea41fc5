//! Models: from files to logits to tokens.

pub mod gguf;
