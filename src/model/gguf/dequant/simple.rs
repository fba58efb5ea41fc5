//! Floats, and blocks of 32 with one scale: `d` is the scale, `m` the minimum, `q` the quant.
//!
//! In 4- and 5-bit blocks byte `j` holds element `j` in its low and element `j + 16` in its high nibble; the fifth bit
//! of element `i` is bit `i` of the little-endian word `qh`.

use super::half_at;

pub(super) fn f32(block: &[u8; 4], out: &mut [f32; 1]) {
    out[0] = f32::from_le_bytes(*block);
}

pub(super) fn f16(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = half_at(block, 0);
}

pub(super) fn bf16(block: &[u8; 2], out: &mut [f32; 1]) {
    out[0] = f32::from_bits(u32::from(u16::from_le_bytes(*block)) << 16);
}

pub(super) fn f64(block: &[u8; 8], out: &mut [f32; 1]) {
    out[0] = f64::from_le_bytes(*block) as f32;
}

/// `d:f16 qs:[u8;16]`, `x = d (q - 8)`.
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (j, &byte) in block[2..].iter().enumerate() {
        out[j] = (f32::from(byte & 15) - 8.0) * d;
        out[j + 16] = (f32::from(byte >> 4) - 8.0) * d;
    }
}

/// `d:f16 m:f16 qs:[u8;16]`, `x = d q + m`.
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (j, &byte) in block[4..].iter().enumerate() {
        out[j] = f32::from(byte & 15) * d + m;
        out[j + 16] = f32::from(byte >> 4) * d + m;
    }
}

/// `d:f16 qh:u32 qs:[u8;16]`, `x = d (q - 16)`.
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let quants = five_bit_quants(&block[2..]);
    for (x, q) in out.iter_mut().zip(quants) {
        *x = (f32::from(q) - 16.0) * d;
    }
}

/// `d:f16 m:f16 qh:u32 qs:[u8;16]`, `x = d q + m`.
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let quants = five_bit_quants(&block[4..]);
    for (x, q) in out.iter_mut().zip(quants) {
        *x = f32::from(q) * d + m;
    }
}

/// `d:f16 qs:[i8;32]`, `x = d q`.
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    for (x, &q) in out.iter_mut().zip(&block[2..]) {
        *x = f32::from(q.cast_signed()) * d;
    }
}

/// The 16 levels of IQ4_NL (`kvalues_iq4nl`).
pub(super) const IQ4_NL_LEVELS: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// `d:f16 qs:[u8;16]`, `x = d levels[q]`.
pub(super) fn iq4_nl(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half_at(block, 0);
    let level = |q: u8| f32::from(IQ4_NL_LEVELS[usize::from(q)]);
    for (j, &byte) in block[2..].iter().enumerate() {
        out[j] = level(byte & 15) * d;
        out[j + 16] = level(byte >> 4) * d;
    }
}

/// Twice the values of E2M1 (OCP Microscaling Formats 1.0): sign, two bits of exponent, one of mantissa.
const MXFP4_LEVELS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// `e:u8 qs:[u8;16]`, `x = 2^(e - 128) levels[q]`.
pub(super) fn mxfp4(block: &[u8; 17], out: &mut [f32; 32]) {
    // The two smallest are subnormal.
    let d = f32::from_bits(match u32::from(block[0]) {
        exponent @ 0..=1 => 1 << (21 + exponent),
        exponent => (exponent - 1) << 23,
    });
    let level = |q: u8| f32::from(MXFP4_LEVELS[usize::from(q)]);
    for (j, &byte) in block[1..].iter().enumerate() {
        out[j] = level(byte & 15) * d;
        out[j + 16] = level(byte >> 4) * d;
    }
}

/// The quants, 0 to 31, of `qh:u32 qs:[u8;16]`.
fn five_bit_quants(block: &[u8]) -> [u8; 32] {
    let qh = u32::from_le_bytes([block[0], block[1], block[2], block[3]]);
    let qs = &block[4..];
    std::array::from_fn(|i| {
        let nibble = if i < 16 { qs[i] & 15 } else { qs[i - 16] >> 4 };
        nibble | ((qh >> i & 1) as u8) << 4
    })
}
