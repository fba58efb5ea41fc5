//! Blocks of 256 values that are -1, 0 or 1 times one scale: quants of 0, 1 and 2, all scales of sub-blocks 1.

use half::f16;

use super::k_quants::two_bits;
use super::{Decoded, half_at};

fn with_scale(d: f16) -> Decoded<8> {
    let mut decoded = Decoded::new(d, f16::ZERO);
    decoded.scales = [1; 16];
    decoded
}

/// `qs:[u8;48] qh:[u8;4] d:f16`, `x = d (q - 1)`. A byte is a fraction of 256, whose digits to base 3 are five values, or four
/// of those in `qh`; the first 32 bytes, the next 16 and the last 4 each hold their first digits first.
pub(in super::super) fn tq1_0(block: &[u8; 54]) -> Decoded<8> {
    let mut decoded = with_scale(half_at(block, 52));
    let mut quants = decoded.quants.as_flattened_mut().iter_mut();
    for (bytes, num_digits) in [(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)] {
        for digit in 0..num_digits {
            for (&byte, q) in bytes.iter().zip(quants.by_ref()) {
                let rest = byte.wrapping_mul(3u8.pow(digit));
                *q = ((u16::from(rest) * 3) >> 8) as u8;
            }
        }
    }
    decoded
}

/// `qs:[u8;64] d:f16`, `x = d (q - 1)`, with quants as in Q2_K.
pub(in super::super) fn tq2_0(block: &[u8; 66]) -> Decoded<8> {
    let mut decoded = with_scale(half_at(block, 64));
    for (b, quants) in decoded.quants.iter_mut().enumerate() {
        *quants = two_bits(&block[..64], b);
    }
    decoded
}
