//! Blocks of 32 with one scale. In 4- and 5-bit ones byte `j` holds value `j` in its low and value `j + 16` in its high
//! nibble; the fifth bit of value `i` is bit `i` of the little-endian word `qh`.

use half::f16;

use super::{Decoded, half_at};

#[inline(always)]
pub(super) fn nibbles(bytes: &[u8]) -> [u8; 32] {
    std::array::from_fn(|i| bytes[i % 16] >> (i / 16 * 4) & 15)
}

#[inline(always)]
fn five_bits(qh: &[u8], low: &[u8]) -> [u8; 32] {
    let low = nibbles(low);
    std::array::from_fn(|i| low[i] | (qh[i / 8] >> (i % 8) & 1) << 4)
}

#[inline(always)]
fn decoded(d: f16, m: f16, quants: [u8; 32]) -> Decoded<1> {
    let mut decoded = Decoded::new(d, m);
    decoded.quants = [quants];
    decoded
}

/// `d:f16 qs:[u8;16]`, `x = d (q - 8)`.
pub(in super::super) fn q4_0(block: &[u8; 18]) -> Decoded<1> {
    decoded(half_at(block, 0), f16::ZERO, nibbles(&block[2..]))
}

/// `d:f16 m:f16 qs:[u8;16]`, `x = d q + m`.
pub(in super::super) fn q4_1(block: &[u8; 20]) -> Decoded<1> {
    decoded(half_at(block, 0), half_at(block, 2), nibbles(&block[4..]))
}

/// `d:f16 qh:u32 qs:[u8;16]`, `x = d (q - 16)`.
pub(in super::super) fn q5_0(block: &[u8; 22]) -> Decoded<1> {
    let quants = five_bits(&block[2..6], &block[6..]);
    decoded(half_at(block, 0), f16::ZERO, quants)
}

/// `d:f16 m:f16 qh:u32 qs:[u8;16]`, `x = d q + m`.
pub(in super::super) fn q5_1(block: &[u8; 24]) -> Decoded<1> {
    let quants = five_bits(&block[4..8], &block[8..]);
    decoded(half_at(block, 0), half_at(block, 2), quants)
}

/// `d:f16 qs:[i8;32]`, `x = d q`.
pub(in super::super) fn q8_0(block: &[u8; 34]) -> Decoded<1> {
    let mut quants = [0; 32];
    quants.copy_from_slice(&block[2..]);
    decoded(half_at(block, 0), f16::ZERO, quants)
}

/// `d:f16 qs:[u8;16]`, `x = d levels[q]`.
pub(in super::super) fn iq4_nl(block: &[u8; 18]) -> Decoded<1> {
    q4_0(block)
}

/// `e:u8 qs:[u8;16]`, `x = 2^(e - 128) levels[q]`.
pub(in super::super) fn mxfp4(block: &[u8; 17]) -> Decoded<1> {
    let mut decoded = decoded(f16::ZERO, f16::ZERO, nibbles(&block[1..]));
    decoded.scales[0] = block[0].cast_signed();
    decoded
}

/// `d:f16 z:u8 qs:[u8;16]`, `x = d (q - z)`: no type of ggml's.
pub(in super::super) fn int4(block: &[u8; 19]) -> Decoded<1> {
    let mut decoded = decoded(half_at(block, 0), f16::ZERO, nibbles(&block[3..]));
    decoded.scales[0] = block[2].cast_signed();
    decoded
}
