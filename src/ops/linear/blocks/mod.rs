//! ggml's quantised blocks, decoded to integers. The layouts are those of `ggml-common.h`.

mod k_quants;
mod simple;
mod ternary;

use half::f16;

pub(super) use k_quants::{iq4_xs, q2_k, q3_k, q4_k, q5_k, q6_k};
pub(super) use simple::{int4, iq4_nl, mxfp4, q4_0, q4_1, q5_0, q5_1, q8_0};
pub(super) use ternary::{tq1_0, tq2_0};

/// N blocks of 32 weights of one output. What the fields mean together is the format's formula; unused ones are zero.
pub(super) struct Decoded<const N: usize> {
    /// Quants as they stand in the file (those of Q8_0 are the bits of an i8).
    pub(super) quants: [[u8; 32]; N],
    /// Scale.
    pub(super) d: f16,
    /// Minimum, or the minima's scale.
    pub(super) m: f16,
    /// Scales of sub-blocks.
    pub(super) scales: [i8; 16],
    /// Minima of sub-blocks.
    pub(super) mins: [i8; 16],
}

impl<const N: usize> Decoded<N> {
    fn new(d: f16, m: f16) -> Self {
        Self {
            quants: [[0; 32]; N],
            d,
            m,
            scales: [0; 16],
            mins: [0; 16],
        }
    }
}

/// The IEEE half at byte `at` of a block.
fn half_at(block: &[u8], at: usize) -> f16 {
    f16::from_le_bytes([block[at], block[at + 1]])
}
