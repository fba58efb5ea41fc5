//! Blocks of 256 elements that are -1, 0 or 1 times one scale.

use super::half_at;

/// `qs:[u8;48] qh:[u8;4] d:f16`, `x = d (q - 1)`. A byte is a fraction of 256, whose digits to base 3 are five elements, or four
/// of those in `qh`; the first 32 bytes, the next 16 and the last 4 each hold their first digits first.
pub(super) fn tq1_0(block: &[u8; 54], out: &mut [f32; 256]) {
    let d = half_at(block, 52);
    let mut out = out.iter_mut();
    for (bytes, num_digits) in [(&block[..32], 5), (&block[32..48], 5), (&block[48..52], 4)] {
        for digit in 0..num_digits {
            for (&byte, x) in bytes.iter().zip(out.by_ref()) {
                let rest = byte.wrapping_mul(3u8.pow(digit));
                *x = (((u16::from(rest) * 3) >> 8) as f32 - 1.0) * d;
            }
        }
    }
}

/// `qs:[u8;64] d:f16`, `x = d (q - 1)`, with quants as in Q2_K.
pub(super) fn tq2_0(block: &[u8; 66], out: &mut [f32; 256]) {
    let d = half_at(block, 64);
    for (i, x) in out.iter_mut().enumerate() {
        let q = block[i / 128 * 32 + i % 32] >> (i / 32 % 4 * 2) & 3;
        *x = (f32::from(q) - 1.0) * d;
    }
}
