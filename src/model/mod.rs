//! From plan to tokens: model files, weights, the decoder, and the executor that runs it.
//!
//! ```text
//! gguf → ModelConfig + Weights → Decoder::forward(plan) → logits [B, V] → sample → tokens
//! ```
//!
//! One decoder serves every Llama-shaped family by configuration; quantisation is a variant of a weight matrix, never a
//! second model. All activations live in buffers made once (`buffers.rs`), all ops work in place.

mod buffers;
mod config;
mod decoder;
mod error;
pub mod gguf;
mod runner;
mod weights;

pub use config::{ModelConfig, RopeConfig};
pub use decoder::{Decoder, Limits};
pub use error::ModelError;
pub use runner::Runner;
pub use weights::{Activations, Weights};
