//! NVIDIA GPUs of compute capability 8.0 and later, by the driver alone: its library is looked for when a card is asked for, so that
//! one binary runs with and without one. That of cuBLAS is, too, when [`Blas`] is asked for.
//!
//! [`Cuda`] is a card with one stream, on which everything but uploads happens in the order in which it was asked for. Kernels are those of
//! `kernels/`, one image a file. [`Management`] is what a card says of itself, by a library beside the driver's. Without the features `cuda`
//! and `kernel-shim` the types are there and have no values, so that nothing above needs to know.

#[cfg(feature = "cuda-driver")]
mod beside;
#[cfg(feature = "cuda-driver")]
mod blas;
#[cfg(feature = "cuda-driver")]
mod context;
mod error;
mod gemm;
#[cfg(feature = "cuda-driver")]
mod graph;
#[cfg(feature = "cuda-driver")]
mod images;
#[cfg(feature = "cuda-driver")]
mod kernels;
#[cfg(feature = "cuda-driver")]
mod management;
#[cfg(feature = "cuda-driver")]
mod memory;
#[cfg(feature = "cuda-driver")]
mod pinned;

#[cfg(not(feature = "cuda-driver"))]
mod absent;

#[cfg(not(feature = "cuda-driver"))]
pub use absent::{
    Beside, Blas, Cuda, Graph, Launch, Management, Readback, Shelf, Slice, Staging, Xids, cards,
};
#[cfg(feature = "cuda-driver")]
pub use beside::Beside;
#[cfg(feature = "cuda-driver")]
pub use blas::Blas;
#[cfg(feature = "cuda-driver")]
pub use context::{Cuda, cards};
pub use error::CudaError;
pub use gemm::{FloatType, Gemm};
#[cfg(feature = "cuda-driver")]
pub use graph::Graph;
#[cfg(feature = "cuda-driver")]
pub use images::{Image, ImageError, image};
#[cfg(feature = "cuda-driver")]
pub use kernels::Launch;
#[cfg(feature = "cuda-driver")]
pub use management::{Management, Xids};
#[cfg(feature = "cuda-driver")]
pub use memory::Slice;
#[cfg(feature = "cuda-driver")]
pub use pinned::{Readback, Shelf, Staging};

/// What is known of a card before anything is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    /// Its number among the driver's.
    pub ordinal: usize,
    /// As the driver calls it.
    pub name: String,
    /// Compute capability, major · 10 + minor.
    pub capability: u32,
    /// Bytes.
    pub total_memory: usize,
    /// Streaming multiprocessors.
    pub num_multiprocessors: usize,
}

/// What a card says of itself, without what it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CardReading {
    /// The part of the last moments in which anything was computed on it: 0 to 1.
    pub utilization: Option<f64>,
    /// Bytes of its memory that are used, by whatever program, and all.
    pub memory: Option<(u64, u64)>,
    /// °C.
    pub temperature: Option<u32>,
    /// Watts.
    pub power: Option<f64>,
    /// Errors of its memory since the driver was loaded: corrected, and not.
    pub ecc: Option<[u64; 2]>,
}
