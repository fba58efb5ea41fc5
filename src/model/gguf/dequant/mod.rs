//! From encoded blocks to `f32`. The formulas are those of ggml's quantisation formats (`ggml-common.h` for the layouts,
//! `ggml-quants.c` for the arithmetic), with the same operations in the same order, so that results are bit-identical.

mod k_quants;
mod simple;
mod ternary;
#[cfg(test)]
mod tests;

use super::ggml_type::GgmlType;

/// Why a dequantisation cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DequantError {
    /// The type is not implemented.
    #[error("type {0} cannot be dequantised")]
    Unsupported(GgmlType),
    /// The bytes are not what so many elements take.
    #[error("{bytes} bytes of type {ty} do not hold exactly {elements} elements")]
    Length {
        /// The encoding.
        ty: GgmlType,
        /// Bytes given.
        bytes: usize,
        /// Elements wanted.
        elements: usize,
    },
}

/// Decodes `bytes`, whole blocks of type `ty`, into `out`.
///
/// # Errors
/// The type is not supported, or `bytes` does not hold exactly `out.len()` elements.
pub fn dequantise(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<(), DequantError> {
    let layout = ty.layout().ok_or(DequantError::Unsupported(ty))?;
    let num_blocks = bytes.len() / layout.block_bytes;
    if !bytes.len().is_multiple_of(layout.block_bytes)
        || num_blocks.checked_mul(layout.block_size) != Some(out.len())
    {
        return Err(DequantError::Length {
            ty,
            bytes: bytes.len(),
            elements: out.len(),
        });
    }
    match ty {
        GgmlType::F32 => blocks(bytes, out, simple::f32),
        GgmlType::F16 => blocks(bytes, out, simple::f16),
        GgmlType::BF16 => blocks(bytes, out, simple::bf16),
        GgmlType::F64 => blocks(bytes, out, simple::f64),
        GgmlType::Q4_0 => blocks(bytes, out, simple::q4_0),
        GgmlType::Q4_1 => blocks(bytes, out, simple::q4_1),
        GgmlType::Q5_0 => blocks(bytes, out, simple::q5_0),
        GgmlType::Q5_1 => blocks(bytes, out, simple::q5_1),
        GgmlType::Q8_0 => blocks(bytes, out, simple::q8_0),
        GgmlType::Iq4Nl => blocks(bytes, out, simple::iq4_nl),
        GgmlType::Mxfp4 => blocks(bytes, out, simple::mxfp4),
        GgmlType::Q2K => blocks(bytes, out, k_quants::q2_k),
        GgmlType::Q3K => blocks(bytes, out, k_quants::q3_k),
        GgmlType::Q4K => blocks(bytes, out, k_quants::q4_k),
        GgmlType::Q5K => blocks(bytes, out, k_quants::q5_k),
        GgmlType::Q6K => blocks(bytes, out, k_quants::q6_k),
        GgmlType::Iq4Xs => blocks(bytes, out, k_quants::iq4_xs),
        GgmlType::Tq1_0 => blocks(bytes, out, ternary::tq1_0),
        GgmlType::Tq2_0 => blocks(bytes, out, ternary::tq2_0),
        GgmlType::Unsupported(_) => return Err(DequantError::Unsupported(ty)),
    }
    Ok(())
}

/// Applies `decode` block by block; the lengths were checked by [`dequantise`].
fn blocks<const BYTES: usize, const N: usize>(
    bytes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; BYTES], &mut [f32; N]),
) {
    for (block, out) in bytes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        decode(block, out);
    }
}

/// The IEEE half at byte `at` of a block.
fn half_at(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}
