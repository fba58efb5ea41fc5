//! Random tensor data of every encoding, and its values by a decoder of the test's own. Those of 256 values alone are
//! decoded by the crate, whose decoder is proven elsewhere against a reference implementation.

use flambeau::model::gguf::{GgmlType, dequantise};
use half::{bf16, f16};

use super::model::Rng;

pub const F32: u32 = 0;
pub const F16: u32 = 1;
pub const Q4_0: u32 = 2;
pub const Q4_1: u32 = 3;
pub const Q5_0: u32 = 6;
pub const Q5_1: u32 = 7;
pub const Q8_0: u32 = 8;
pub const Q2_K: u32 = 10;
pub const Q3_K: u32 = 11;
pub const Q4_K: u32 = 12;
pub const Q5_K: u32 = 13;
pub const Q6_K: u32 = 14;
pub const IQ4_NL: u32 = 20;
pub const IQ4_XS: u32 = 23;
pub const F64: u32 = 28;
pub const BF16: u32 = 30;
pub const TQ1_0: u32 = 34;
pub const TQ2_0: u32 = 35;
pub const MXFP4: u32 = 39;

const IQ4_NL_LEVELS: [f64; 16] = [
    -127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.,
];

/// Twice its values.
const E2M1: [f64; 16] = [
    0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.,
];

/// How blocks of a type are laid out, and what their values amount to when every other bit is random.
struct Layout {
    values: usize,
    bytes: usize,
    /// Where the f16 scale stands.
    scale_at: usize,
    /// Standard deviation of the values at scale 1.
    spread: f64,
    /// Where the f16 minimum stands, and what multiple of the scale makes the mean zero.
    min: Option<(usize, f64)>,
}

fn layout(ty: u32) -> Layout {
    let (values, bytes, scale_at, spread, min) = match ty {
        Q4_0 => (32, 18, 0, 4.6, None),
        Q4_1 => (32, 20, 0, 4.6, Some((2, -7.5))),
        Q5_0 => (32, 22, 0, 9.2, None),
        Q5_1 => (32, 24, 0, 9.2, Some((2, -15.5))),
        Q8_0 => (32, 34, 0, 74.0, None),
        IQ4_NL => (32, 18, 0, 70.0, None),
        Q2_K => (256, 84, 80, 12.0, Some((82, 1.5))),
        Q3_K => (256, 110, 108, 42.0, None),
        Q4_K => (256, 144, 0, 240.0, Some((2, 7.5))),
        Q5_K => (256, 176, 0, 490.0, Some((2, 15.5))),
        Q6_K => (256, 210, 208, 1370.0, None),
        IQ4_XS => (256, 136, 0, 1300.0, None),
        TQ1_0 => (256, 54, 52, 0.8, None),
        TQ2_0 => (256, 66, 64, 1.1, None),
        MXFP4 => (32, 17, 0, 5.4, None),
        _ => panic!("type {ty} has no blocks"),
    };
    Layout {
        values,
        bytes,
        scale_at,
        spread,
        min,
    }
}

/// Blocks for `count` values whose standard deviation is about `spread`.
pub fn random(ty: u32, count: usize, spread: f64, rng: &mut Rng) -> Vec<u8> {
    let layout = layout(ty);
    assert!(count.is_multiple_of(layout.values));
    let mut data = Vec::new();
    for _ in 0..count / layout.values {
        let mut block: Vec<u8> = (0..layout.bytes).map(|_| rng.next() as u8).collect();
        let scale = spread / layout.spread * (1.0 + 0.2 * rng.normal());
        let mut put = |at: usize, value: f64| {
            block[at..at + 2].copy_from_slice(&f16::from_f64(value).to_le_bytes());
        };
        if ty == MXFP4 {
            block[0] = (128.0 + scale.log2().round()) as u8;
            data.extend(block);
            continue;
        }
        put(layout.scale_at, scale);
        if let Some((at, factor)) = layout.min {
            put(at, factor * scale);
        }
        data.extend(block);
    }
    data
}

/// The `count` values of `data`.
pub fn values(ty: u32, data: &[u8], count: usize) -> Vec<f64> {
    match ty {
        F32 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b).into())
            .collect(),
        F64 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b))
            .collect(),
        F16 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).into())
            .collect(),
        BF16 => data
            .as_chunks()
            .0
            .iter()
            .map(|b| bf16::from_le_bytes(*b).into())
            .collect(),
        Q2_K..=Q6_K | IQ4_XS | TQ1_0 | TQ2_0 => {
            let mut out = vec![0.0; count];
            dequantise(GgmlType::from_id(ty), data, &mut out).unwrap();
            out.into_iter().map(f64::from).collect()
        }
        _ => data
            .chunks_exact(layout(ty).bytes)
            .flat_map(|block| (0..32).map(|i| value(ty, block, i)))
            .collect(),
    }
}

/// Value `i` of a block of 32.
fn value(ty: u32, block: &[u8], i: usize) -> f64 {
    let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f64();
    let nibble = |at: usize| {
        let byte = block[at + i % 16];
        if i < 16 { byte & 15 } else { byte >> 4 }
    };
    let five_bits = |at: usize| nibble(at + 4) | (block[at + i / 8] >> (i % 8) & 1) << 4;
    match ty {
        Q4_0 => half(0) * (f64::from(nibble(2)) - 8.0),
        Q4_1 => half(0) * f64::from(nibble(4)) + half(2),
        Q5_0 => half(0) * (f64::from(five_bits(2)) - 16.0),
        Q5_1 => half(0) * f64::from(five_bits(4)) + half(2),
        Q8_0 => half(0) * f64::from(block[2 + i] as i8),
        IQ4_NL => half(0) * IQ4_NL_LEVELS[usize::from(nibble(2))],
        MXFP4 => 2f64.powi(i32::from(block[0]) - 128) * E2M1[usize::from(nibble(1))],
        _ => panic!("type {ty} has no decoder here"),
    }
}
