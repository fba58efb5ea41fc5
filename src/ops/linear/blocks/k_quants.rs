//! K-quants: super-blocks of 256 values whose sub-blocks of 16 or 32 have quantised scales.
//!
//! Quants of 2 and 3 bits are packed four to a byte at distances of 32 values, those of 4 to 6 bits two to a byte; both
//! start anew every 128 or 64 values.

use half::f16;

use super::simple::nibbles;
use super::{Decoded, half_at};

/// `scales:[u8;16] qs:[u8;64] d:f16 dmin:f16`; a scales byte is `sc | m << 4` of 16 values; `x = d sc q - dmin m`.
pub(in super::super) fn q2_k(block: &[u8; 84]) -> Decoded<8> {
    let mut decoded = Decoded::new(half_at(block, 80), half_at(block, 82));
    decoded.scales = std::array::from_fn(|sub| (block[sub] & 15) as i8);
    decoded.mins = std::array::from_fn(|sub| (block[sub] >> 4) as i8);
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        *quants = two_bits(&block[16..80], b);
    }
    decoded
}

/// `hmask:[u8;32] qs:[u8;64] scales:[u8;12] d:f16`; `x = d (sc - 32) (q - 4)` with 6-bit `sc` of 16 values and the third
/// bit of `q` in `hmask`. The scales are decoded with 32 taken off.
pub(in super::super) fn q3_k(block: &[u8; 110]) -> Decoded<8> {
    let (hmask, rest) = block.split_at(32);
    let (qs, scales) = rest.split_at(64);
    let mut decoded = Decoded::new(half_at(block, 108), f16::ZERO);
    decoded.scales = std::array::from_fn(|sub| {
        let low = scales[sub % 8] >> (sub / 8 * 4) & 15;
        let high = scales[8 + sub % 4] >> (2 * (sub / 4)) & 3;
        (low | high << 4) as i8 - 32
    });
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        *quants = two_bits(qs, b);
        for (q, mask) in quants.iter_mut().zip(hmask) {
            *q |= (mask >> b & 1) << 2;
        }
    }
    decoded
}

/// `d:f16 dmin:f16 scales:[u8;12] qs:[u8;128]`; `x = d sc q - dmin m` with 6-bit `sc` and `m` of 32 values.
pub(in super::super) fn q4_k(block: &[u8; 144]) -> Decoded<8> {
    let mut decoded = scales_and_minima(&block[..16]);
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        let low = &block[16 + b / 2 * 32..][..32];
        *quants = std::array::from_fn(|i| low[i] >> (b % 2 * 4) & 15);
    }
    decoded
}

/// `d:f16 dmin:f16 scales:[u8;12] qh:[u8;32] qs:[u8;128]`; as Q4_K, with the fifth bit of sub-block `s` in bit `s` of
/// `qh`.
pub(in super::super) fn q5_k(block: &[u8; 176]) -> Decoded<8> {
    let mut decoded = scales_and_minima(&block[..16]);
    let qh = &block[16..48];
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        let low = &block[48 + b / 2 * 32..][..32];
        *quants = std::array::from_fn(|i| low[i] >> (b % 2 * 4) & 15 | (qh[i] >> b & 1) << 4);
    }
    decoded
}

/// `ql:[u8;128] qh:[u8;64] scales:[i8;16] d:f16`; `x = d sc (q - 32)` with 8-bit `sc` of 16 values. Of 128 values the
/// first 64 have the low nibbles of `ql`, the others the high ones; the upper two bits lie four to a byte, 32 values
/// apart.
pub(in super::super) fn q6_k(block: &[u8; 210]) -> Decoded<8> {
    let mut decoded = Decoded::new(half_at(block, 208), f16::ZERO);
    decoded.scales = std::array::from_fn(|sub| block[192 + sub] as i8);
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        let (half, b) = (b / 4, b % 4);
        let ql = &block[64 * half + b % 2 * 32..][..32];
        let qh = &block[128 + 32 * half..][..32];
        *quants = std::array::from_fn(|i| ql[i] >> (b / 2 * 4) & 15 | (qh[i] >> (2 * b) & 3) << 4);
    }
    decoded
}

/// `d:f16 scales_h:u16 scales_l:[u8;4] qs:[u8;128]`; `x = d (sc - 32) levels[q]` with 6-bit `sc` of 32 values, whose upper two
/// bits are in `scales_h`. The scales are decoded with 32 taken off, each for two sixteens.
pub(in super::super) fn iq4_xs(block: &[u8; 136]) -> Decoded<8> {
    let mut decoded = Decoded::new(half_at(block, 0), f16::ZERO);
    let high = u16::from_le_bytes([block[2], block[3]]);
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        let low = block[4 + b / 2] >> (b % 2 * 4) & 15;
        let scale = (low | ((high >> (2 * b) & 3) as u8) << 4) as i8 - 32;
        decoded.scales[2 * b..][..2].fill(scale);
        *quants = nibbles(&block[8 + 16 * b..][..16]);
    }
    decoded
}

/// Block `b` of 32 values in 2 bits each.
#[inline(always)]
pub(super) fn two_bits(qs: &[u8], b: usize) -> [u8; 32] {
    let qs = &qs[b / 4 * 32..][..32];
    std::array::from_fn(|i| qs[i] >> (2 * (b % 4)) & 3)
}

/// `d:f16 dmin:f16 scales:[u8;12]`: scale and minimum of 8 sub-blocks, each 6 bits (`get_scale_min_k4`): of the first four
/// they are the low bits of bytes `sub` and `sub + 4`; of the last four the low nibbles stand in the last four bytes and
/// the upper two bits on top of the first eight.
fn scales_and_minima(header: &[u8]) -> Decoded<8> {
    let mut decoded = Decoded::new(half_at(header, 0), half_at(header, 2));
    let scales = &header[4..16];
    for sub in 0..8 {
        let (sc, m) = if sub < 4 {
            (scales[sub] & 63, scales[sub + 4] & 63)
        } else {
            let low = scales[sub + 4];
            (
                low & 15 | scales[sub - 4] >> 6 << 4,
                low >> 4 | scales[sub] >> 6 << 4,
            )
        };
        (decoded.scales[sub], decoded.mins[sub]) = (sc as i8, m as i8);
    }
    decoded
}
