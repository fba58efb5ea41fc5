//! Distillation: a student of fewer layers learns to give the logits of the model that it was cut from.
//!
//! ```text
//! hidden states → block influence → the layers that stay → Student (float32, differentiable)
//! sequences → teacher (the decoder) → logits ┐
//!           → student → hidden → logits ─────┴→ KL and its gradient → backward → AdamW
//! ```
//!
//! The student is computed by tensor ops with gradients under the same [`ModelConfig`](super::ModelConfig) as the decoder, which gives
//! the teacher's logits. Training is a function of its settings alone: what a step reads follows from its number and the seed, and
//! nothing is summed in an order that depends on the number of threads, so a run that was interrupted ends with the same bits.

mod checkpoint;
mod config_json;
mod data;
mod error;
mod export;
mod influence;
mod layer;
mod loss;
mod measure;
mod ops;
mod optimiser;
mod params;
mod speed;
mod student;
mod supported;
mod trainer;

pub use checkpoint::{load_state, save_state};
pub use config_json::student_config;
pub use data::{Data, Split};
pub use error::DistillError;
pub use export::write_weights;
pub use influence::{block_influence, most_influential};
pub use measure::HeldOut;
pub use optimiser::Schedule;
pub use speed::{Speed, speeds};
pub use student::Student;
pub use supported::check_supported;
pub use trainer::{Teacher, TrainSettings, Trainer, use_threads};
