//! The ops of a transformer, one file each: documentation, safe wrapper, candle in-place op, tests.
//!
//! Invariants. A row's result depends on that row alone: never on the other rows of the call, the number of threads or
//! the instruction set; sums run in a fixed order, for matmul in one chain of ascending K per output. Tensors are
//! contiguous views, usually of bigger buffers, and an op writes only inside its output's view. Outputs never share a
//! storage with inputs (candle refuses it). Bad shapes, types and indices are errors that name the op and the argument.

mod add;
mod attention;
mod embedding;
mod encoder_attention;
mod experts;
mod gather;
mod gelu;
mod glu;
mod kv_cache;
mod layer_norm;
mod linear;
mod low_rank;
mod numbers;
mod place_drawn;
mod rms_norm;
mod rope;
mod rope_store;
mod softcap;
mod tensor;
#[cfg(test)]
mod testing;
mod vector;
mod view;

pub use add::add_assign;
pub use attention::{
    AttentionBatch, AttentionParams, BatchCutter, Spans, check_heads_for_card,
    check_kv_dtype_for_card, paged_attention,
};
/// What values are of.
pub use candle_core::DType;
pub use embedding::embedding;
pub use encoder_attention::encoder_attention;
pub use experts::{
    CardRouted, CardRouting, ExpertStack, Routing, check_experts_for_card, combine_experts,
};
pub use gather::gather_rows;
pub use gelu::gelu;
pub use glu::{Glu, gated_activation};
pub use kv_cache::{HostBlocks, KvCache, KvDtype, Slots};
pub use layer_norm::layer_norm;
pub use linear::{LinearGroup, LinearPart, PackedWeight, WeightFormat, matmul, matmul_groups};
pub use linear::{TileFormat, TiledWeight};
pub use low_rank::{CardMatrices, LowRank, LowRankGroup, add_low_rank};
pub use numbers::{NumberBuffer, Numbers};
pub use place_drawn::place_drawn;
pub use rms_norm::{add_rms_norm, rms_norm};
pub use rope::{RopeStyle, RopeTable};
pub use rope_store::{QkNorm, rope_store};
pub use softcap::softcap;
pub use tensor::{CudaTensor, Tensor};
pub use vector::Vector;
