//! From f32 to the blocks of a type. The layouts are those that `gguf/dequant` reads.

use half::f16;

use super::search::{affine, symmetric};

/// What rounding errors of the values weigh, where an importance matrix says what inputs a column meets.
#[inline(always)]
fn weights<const N: usize>(
    x: &[f32; N],
    importance: Option<&[f32; N]>,
    otherwise: impl Fn(f32) -> f32,
) -> [f32; N] {
    let mean_square = x.iter().map(|x| x * x).sum::<f32>() / N as f32;
    match importance {
        // What is large counts more: errors of many columns meet in a sum.
        Some(importance) => {
            std::array::from_fn(|i| importance[i] * (mean_square + x[i] * x[i]).sqrt())
        }
        None => x.map(otherwise),
    }
}

/// `d`, and what is nearest in the f16 that stands in the block.
#[inline(always)]
fn half(block: &mut [u8], at: usize, d: f32) -> f32 {
    let d = f16::from_f32(d);
    block[at..at + 2].copy_from_slice(&d.to_le_bytes());
    d.to_f32()
}

/// `round(x / d)` in `low..=high`; 0 for a `d` of 0.
#[inline(always)]
fn quant(x: f32, d: f32, low: i32, high: i32) -> i32 {
    match d == 0.0 {
        true => 0,
        false => (x / d).round_ties_even().clamp(low as f32, high as f32) as i32,
    }
}

/// Of 32 values in `-n..n`. Without an importance matrix the largest magnitude is `-n`, as in ggml: then what rounds least is not
/// what is computed best.
#[inline(always)]
fn scale(x: &[f32; 32], importance: Option<&[f32; 32]>, n: i32) -> f32 {
    match importance {
        Some(_) => symmetric(x, &weights(x, importance, |_| 1.0), n),
        None => largest(x) / -n as f32,
    }
}

/// The value of the largest magnitude, with its sign.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    x.iter()
        .fold(0.0, |a: f32, &x| if x.abs() > a.abs() { x } else { a })
}

#[inline(always)]
pub(super) fn q8_0(x: &[f32; 32], _: Option<&[f32; 32]>, block: &mut [u8; 34]) {
    let largest = x.iter().fold(0.0, |a: f32, x| a.max(x.abs()));
    let d = half(block, 0, largest / 127.0);
    for (byte, &x) in block[2..].iter_mut().zip(x) {
        *byte = (quant(x, d, -127, 127) as i8).cast_unsigned();
    }
}

#[inline(always)]
pub(super) fn q4_0(x: &[f32; 32], importance: Option<&[f32; 32]>, block: &mut [u8; 18]) {
    let d = scale(x, importance, 8);
    half(block, 0, d);
    let q = x.map(|x| (quant(x, d, -8, 7) + 8) as u8);
    for (j, byte) in block[2..].iter_mut().enumerate() {
        *byte = q[j] | q[j + 16] << 4;
    }
}

#[inline(always)]
pub(super) fn q5_0(x: &[f32; 32], importance: Option<&[f32; 32]>, block: &mut [u8; 22]) {
    let d = scale(x, importance, 16);
    half(block, 0, d);
    let q = x.map(|x| (quant(x, d, -16, 15) + 16) as u8);
    let high = (0..32).fold(0, |high, i| high | u32::from(q[i] >> 4) << i);
    block[2..6].copy_from_slice(&high.to_le_bytes());
    for (j, byte) in block[6..].iter_mut().enumerate() {
        *byte = q[j] & 15 | (q[j + 16] & 15) << 4;
    }
}

#[inline(always)]
pub(super) fn q4_k(x: &[f32; 256], importance: Option<&[f32; 256]>, block: &mut [u8; 144]) {
    let (subs, _) = x.as_chunks::<32>();
    let important = |sub: usize| Some(&importance?.as_chunks::<32>().0[sub]);
    let (mut scales, mut mins) = ([0.0; 8], [0.0; 8]);
    for (sub, x) in subs.iter().enumerate() {
        let root_mean_square = (x.iter().map(|x| x * x).sum::<f32>() / 32.0).sqrt();
        let w = weights(x, important(sub), |x| root_mean_square + x.abs());
        (scales[sub], mins[sub]) = affine(x, &w, 15);
    }
    let largest = |values: [f32; 8]| values.into_iter().fold(0.0, f32::max);
    let d = half(block, 0, largest(scales) / 63.0);
    let dmin = half(block, 2, largest(mins) / 63.0);
    let mut q = [[0u8; 32]; 8];
    for (sub, x) in subs.iter().enumerate() {
        let sc = quant(scales[sub], d, 0, 63);
        let m = quant(mins[sub], dmin, 0, 63);
        set_scale_and_min(&mut block[4..16], sub, sc as u8, m as u8);
        q[sub] = x.map(|x| quant(x + dmin * m as f32, d * sc as f32, 0, 15) as u8);
    }
    for (pair, bytes) in q
        .as_chunks::<2>()
        .0
        .iter()
        .zip(block[16..].as_chunks_mut::<32>().0)
    {
        *bytes = std::array::from_fn(|i| pair[0][i] | pair[1][i] << 4);
    }
}

/// 6 bits each: of the first four sub-blocks they are the low bits of bytes `sub` and `sub + 4`; of the last four the low nibbles
/// stand in the last four bytes and the upper two bits on top of the first eight.
fn set_scale_and_min(bytes: &mut [u8], sub: usize, sc: u8, m: u8) {
    if sub < 4 {
        bytes[sub] |= sc;
        bytes[sub + 4] |= m;
    } else {
        bytes[sub + 4] = sc & 15 | (m & 15) << 4;
        bytes[sub - 4] |= sc >> 4 << 6;
        bytes[sub] |= m >> 4 << 6;
    }
}

#[inline(always)]
pub(super) fn q6_k(x: &[f32; 256], importance: Option<&[f32; 256]>, block: &mut [u8; 210]) {
    let (subs, _) = x.as_chunks::<16>();
    let mut scales = [0.0; 16];
    for (sub, x) in subs.iter().enumerate() {
        let important = importance.map(|all| &all.as_chunks::<16>().0[sub]);
        scales[sub] = symmetric(x, &weights(x, important, |x| x * x), 32);
    }
    let d = half(block, 208, largest(&scales) / -128.0);
    let mut q = [0u8; 256];
    for (sub, x) in subs.iter().enumerate() {
        let sc = quant(scales[sub], d, -128, 127);
        block[192 + sub] = (sc as i8).cast_unsigned();
        for (q, &x) in q[16 * sub..].iter_mut().zip(x) {
            *q = (quant(x, d * sc as f32, -32, 31) + 32) as u8;
        }
    }
    for half in 0..2 {
        let q = &q[128 * half..][..128];
        for i in 0..64 {
            block[64 * half + i] = q[i] & 15 | (q[i + 64] & 15) << 4;
        }
        for i in 0..32 {
            let high = (0..4).map(|b| q[32 * b + i] >> 4 << (2 * b));
            block[128 + 32 * half + i] = high.sum();
        }
    }
}
