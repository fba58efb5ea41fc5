//! What can go wrong with a card.

/// Why a card did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// This build has no code for GPUs.
    #[error("this build computes on the CPU only; one with GPUs is built with --features cuda")]
    NotBuilt,
    /// The driver's library is nowhere to be found.
    #[error(
        "there is no NVIDIA driver: libcuda.so.1 cannot be loaded; install one, or use --device cpu"
    )]
    NoDriver,
    /// The library of cuBLAS is nowhere to be found.
    #[error(
        "there is no cuBLAS: libcublas.so cannot be loaded; install the libraries of CUDA or say in LD_LIBRARY_PATH where they are, or use --batch-invariant on"
    )]
    NoBlas,
    /// There are fewer cards.
    #[error("there is no cuda:{ordinal}: the driver knows {num_cards} cards")]
    NoCard {
        /// Which was asked for.
        ordinal: usize,
        /// How many there are.
        num_cards: usize,
    },
    /// There is no code for it.
    #[error("cuda:{ordinal}: {reason}")]
    Unfit {
        /// The card.
        ordinal: usize,
        /// Why.
        reason: String,
    },
    /// There is no room.
    #[error("the card has no room for {num_bytes} bytes more: {free} of its {total} are free")]
    OutOfMemory {
        /// What was asked for.
        num_bytes: usize,
        /// What was left.
        free: usize,
        /// What it has.
        total: usize,
    },
    /// A launch or a copy that no card could do.
    #[error("{kernel}: {reason}")]
    Launch {
        /// The kernel, or what else was to be done.
        kernel: String,
        /// Why.
        reason: String,
    },
    /// The management library is not there, or fails.
    #[error("NVML: {0}")]
    Management(String),
    /// Any other answer of the driver, or of cuBLAS.
    #[error("CUDA: {doing}: {name} ({text})")]
    Driver {
        /// The function that was called, or the kernel that was launched.
        doing: String,
        /// The error's name.
        name: String,
        /// What is said of it.
        text: String,
    },
}
