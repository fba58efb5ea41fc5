//! The devices that ops run on. Each gives the ops threads, instructions and memory, and knows nothing of models.

pub mod cpu;
pub mod cuda;

/// Where tensors lie, and what computes with them.
#[derive(Clone, Debug)]
pub enum Device {
    /// The host's memory.
    Cpu,
    /// A card's.
    Cuda(cuda::Cuda),
}
