//! From plan to tokens: model files, weights, the decoder, and the executor that runs it.
//!
//! ```text
//! gguf, or config.json and safetensors → ModelConfig + Weights → Decoder::forward(plan) → logits [B, V] → sample → tokens
//! ```
//!
//! One decoder serves every Llama-shaped family by configuration; quantisation is a variant of a weight matrix, never a
//! second model. All activations live in buffers made once (`buffers.rs`), all ops work in place.

mod adapters;
mod block_moves;
mod buffers;
mod card_steps;
mod checkpoint;
mod config;
mod decoder;
pub mod distill;
mod embedder;
mod encoding;
mod error;
mod file_map;
pub mod gguf;
mod importance;
mod limits;
mod lora;
mod one_sequence;
mod perplexity;
pub mod quantise;
mod random;
mod rope;
mod routed_experts;
mod runner;
mod safetensors;
mod size;
mod source;
mod step;
mod warm_up;
mod weights;

pub use card_steps::{MAX_RECORDED, card_obstacle};
pub use checkpoint::{Checkpoint, Outline, read_outline};
pub use config::{ExpertsConfig, LayerConfig, ModelConfig};
pub use decoder::Decoder;
pub use embedder::{Embedder, EmbedderConfig, Pooling};
pub use encoding::Encoding;
pub use error::ModelError;
pub use file_map::FileMap;
pub use importance::Importance;
pub use limits::Limits;
pub use lora::LoraWeights;
pub use perplexity::{Score, perplexity};
pub use quantise::Quantisation;
pub use random::{RandomModel, llama_of};
pub use rope::{Divisors, RopeConfig, Yarn};
pub use runner::Runner;
pub use safetensors::SafetensorsFolder;
pub use source::{Tensor, TensorShape, TensorSource};

pub use warm_up::{warm_up, warm_up_smallest};
pub use weights::{Activations, LoadOptions, Weights};
