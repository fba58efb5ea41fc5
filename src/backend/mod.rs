//! The devices that ops run on. Each gives the ops threads, instructions and memory, and knows nothing of models.

pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
