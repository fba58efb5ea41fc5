//! A product of floats, as [`Blas`](super::Blas) takes it.

use super::Slice;

/// How a float is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// 32 bits.
    F32,
    /// IEEE's 16 bits.
    F16,
    /// The first 16 bits of 32.
    Bf16,
}

/// `out[t, column + n] = Σ_k x[t, k] · w[n, k]`, or that added to what out has.
pub struct Gemm<'a> {
    /// `[rows, out_width]`.
    pub out: &'a Slice,
    /// F32, or that of x and w.
    pub out_type: FloatType,
    /// Values of a row of out.
    pub out_width: usize,
    /// Of out, the first that is written.
    pub column: usize,
    /// Whether it is added to what out has.
    pub is_added: bool,
    /// `[rows, K]`.
    pub x: &'a Slice,
    /// `[N, K]`.
    pub w: &'a Slice,
    /// Of x and w: F16 or BF16.
    pub half: FloatType,
    /// Rows, N and K.
    pub shape: (usize, usize, usize),
}
