//! K-quants: super-blocks of 256 elements whose sub-blocks of 16 or 32 have quantised scales.
//!
//! `d` and `dmin` are the super-block's scales, `sc` and `m` a sub-block's, `q` is the quant. Quants of 2 and 3 bits are
//! packed four to a byte at distances of 32 elements, those of 4 to 6 bits two to a byte; both start anew every 128 or 64
//! elements.

use super::half_at;
use super::simple::IQ4_NL_LEVELS;

/// `scales:[u8;16] qs:[u8;64] d:f16 dmin:f16`; a scales byte is `sc | m << 4` of 16 elements; `x = d sc q - dmin m`.
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, qs) = block[..80].split_at(16);
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[sub] & 15);
        let min = dmin * f32::from(scales[sub] >> 4);
        let (qs, shift) = two_bit_quants(qs, sub);
        for (x, &byte) in out.iter_mut().zip(qs) {
            *x = scale * f32::from(byte >> shift & 3) - min;
        }
    }
}

/// `hmask:[u8;32] qs:[u8;64] scales:[u8;12] d:f16`; `x = d (sc - 32) (q - 4)` with 6-bit `sc` of 16 elements and the
/// third bit of `q` in `hmask`.
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let (hmask, rest) = block.split_at(32);
    let (qs, rest) = rest.split_at(64);
    let scales = &rest[..12];
    let d = half_at(block, 108);
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = if sub < 8 {
            scales[sub] & 15
        } else {
            scales[sub - 8] >> 4
        };
        let high = scales[8 + sub % 4] >> (2 * (sub / 4)) & 3;
        let scale = d * (f32::from(low | high << 4) - 32.0);
        let (qs, shift) = two_bit_quants(qs, sub);
        let hmask = &hmask[16 * (sub % 2)..];
        for ((x, &byte), &mask) in out.iter_mut().zip(qs).zip(hmask) {
            let q = byte >> shift & 3 | (mask >> (sub / 2) & 1) << 2;
            *x = scale * (f32::from(q) - 4.0);
        }
    }
}

/// `d:f16 dmin:f16 scales:[u8;12] qs:[u8;128]`; `x = d sc q - dmin m` with 6-bit `sc` and `m` of 32 elements.
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, qs) = block[4..].split_at(12);
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (sc, m) = six_bit_scale_and_min(scales, sub);
        let (scale, min) = (d * f32::from(sc), dmin * f32::from(m));
        let shift = 4 * (sub % 2);
        for (x, &byte) in out.iter_mut().zip(&qs[32 * (sub / 2)..]) {
            *x = scale * f32::from(byte >> shift & 15) - min;
        }
    }
}

/// `d:f16 dmin:f16 scales:[u8;12] qh:[u8;32] qs:[u8;128]`; as Q4_K, with the fifth bit of sub-block `s` in bit `s` of
/// `qh`.
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (scales, rest) = block[4..].split_at(12);
    let (qh, qs) = rest.split_at(32);
    for (sub, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
        let (sc, m) = six_bit_scale_and_min(scales, sub);
        let (scale, min) = (d * f32::from(sc), dmin * f32::from(m));
        let shift = 4 * (sub % 2);
        for ((x, &byte), &high) in out.iter_mut().zip(&qs[32 * (sub / 2)..]).zip(qh) {
            let q = byte >> shift & 15 | (high >> sub & 1) << 4;
            *x = scale * f32::from(q) - min;
        }
    }
}

/// `ql:[u8;128] qh:[u8;64] scales:[i8;16] d:f16`; `x = d sc (q - 32)` with 8-bit `sc` of 16 elements.
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let (ql, rest) = block.split_at(128);
    let (qh, rest) = rest.split_at(64);
    let scales = &rest[..16];
    let d = half_at(block, 208);
    for (sub, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = d * f32::from(scales[sub].cast_signed());
        // Of 128 elements (8 sub-blocks), the first 64 have the low nibbles of `ql`, the others the high ones; the
        // upper two bits lie four to a byte, 32 elements apart.
        let (half, sub) = (sub / 8, sub % 8);
        let ql = &ql[64 * half + 16 * (sub % 4)..];
        let qh = &qh[32 * half + 16 * (sub % 2)..];
        let (low_shift, high_shift) = (4 * (sub / 4), 2 * (sub / 2));
        for ((x, &low), &high) in out.iter_mut().zip(ql).zip(qh) {
            let q = low >> low_shift & 15 | (high >> high_shift & 3) << 4;
            *x = scale * (f32::from(q) - 32.0);
        }
    }
}

/// Where the 2-bit quants of sub-block `sub` of 16 are: the bytes they start at, and their shift in each.
fn two_bit_quants(qs: &[u8], sub: usize) -> (&[u8], usize) {
    (&qs[32 * (sub / 8) + 16 * (sub % 2)..], 2 * (sub % 8 / 2))
}

/// Scale and minimum of sub-block `sub` of 8, each 6 bits (`get_scale_min_k4`): of the first four they are the low bits
/// of bytes `sub` and `sub + 4`; of the last four the low nibbles stand in the last four bytes and the upper two bits on
/// top of the first eight.
fn six_bit_scale_and_min(scales: &[u8], sub: usize) -> (u8, u8) {
    if sub < 4 {
        (scales[sub] & 63, scales[sub + 4] & 63)
    } else {
        let low = scales[sub + 4];
        (
            low & 15 | scales[sub - 4] >> 6 << 4,
            low >> 4 | scales[sub] >> 6 << 4,
        )
    }
}

/// `d:f16 scales_h:u16 scales_l:[u8;4] qs:[u8;128]`; `x = d (sc - 32) levels[q]` with 6-bit `sc` of 32 elements, whose upper
/// two bits are in `scales_h`. Nibbles lie as in IQ4_NL.
pub(super) fn iq4_xs(block: &[u8; 136], out: &mut [f32; 256]) {
    let (d, high) = (half_at(block, 0), u16::from_le_bytes([block[2], block[3]]));
    let (low, qs) = block[4..].split_at(4);
    for (sub, (out, qs)) in out
        .chunks_exact_mut(32)
        .zip(qs.chunks_exact(16))
        .enumerate()
    {
        let low = low[sub / 2] >> (sub % 2 * 4) & 15;
        let scale = low | ((high >> (2 * sub) & 3) as u8) << 4;
        let scale = d * (f32::from(scale) - 32.0);
        for (j, &byte) in qs.iter().enumerate() {
            out[j] = scale * f32::from(IQ4_NL_LEVELS[usize::from(byte & 15)]);
            out[j + 16] = scale * f32::from(IQ4_NL_LEVELS[usize::from(byte >> 4)]);
        }
    }
}
