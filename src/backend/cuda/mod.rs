//! NVIDIA GPUs of compute capability 8.0 and later.

mod images;

pub use images::{Image, ImageError, image};
