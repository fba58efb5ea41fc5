//! Random weights in the formats of files.

use anyhow::Result;
use half::{bf16, f16};

use super::super::bench::rng::Rng;
use super::uniform;
use crate::backend::cpu::Cpu;
use crate::model::gguf::GgmlType;
use crate::model::quantise::encode;
use crate::ops::{DType, PackedWeight, WeightFormat};

/// A way of each kind in which a card keeps weights.
pub(super) const FORMATS: [WeightFormat; 14] = [
    WeightFormat::F16,
    WeightFormat::BF16,
    WeightFormat::Q8_0,
    WeightFormat::Q4_0,
    WeightFormat::Q5_0,
    WeightFormat::Q2K,
    WeightFormat::Q3K,
    WeightFormat::Q4K,
    WeightFormat::Q5K,
    WeightFormat::Q6K,
    WeightFormat::Iq4Xs,
    WeightFormat::Mxfp4,
    WeightFormat::Int4,
    WeightFormat::Fp8,
];

/// What activations are of beside weights of a format.
pub(super) fn half_of(format: WeightFormat) -> DType {
    match format {
        WeightFormat::F16 => DType::F16,
        _ => DType::BF16,
    }
}

/// Whether 16 bits hold all values of a format.
pub(super) fn is_exact(format: WeightFormat) -> bool {
    use WeightFormat::{BF16, F16, Mxfp4};
    matches!(format, F16 | BF16 | Mxfp4)
}

/// A matrix of random values, encoded.
pub(super) fn random_weights(
    format: WeightFormat,
    (n, k): (usize, usize),
    random: &mut Rng,
    cpu: &Cpu,
) -> Vec<u8> {
    let encoded = |ty, random: &mut Rng| encode(ty, k, &uniform(random, n * k), None, cpu);
    match format {
        WeightFormat::F16 => (uniform(random, n * k).into_iter())
            .flat_map(|x| f16::from_f32(x).to_le_bytes())
            .collect(),
        WeightFormat::Q8_0 => encoded(GgmlType::Q8_0, random),
        WeightFormat::Q4_0 => encoded(GgmlType::Q4_0, random),
        WeightFormat::Q5_0 => encoded(GgmlType::Q5_0, random),
        WeightFormat::Q4K => encoded(GgmlType::Q4K, random),
        WeightFormat::Q6K => encoded(GgmlType::Q6K, random),
        WeightFormat::Q2K => blocks(n * k / 256, 84, &[80, 82], random),
        WeightFormat::Q3K => blocks(n * k / 256, 110, &[108], random),
        WeightFormat::Q5K => blocks(n * k / 256, 176, &[0, 2], random),
        WeightFormat::Iq4Xs => blocks(n * k / 256, 136, &[0], random),
        WeightFormat::Mxfp4 => {
            let mut data = blocks(n * k / 32, 17, &[], random);
            // Powers of two about one.
            let exponents = data.iter_mut().step_by(17);
            exponents.for_each(|exponent| *exponent = 124 + *exponent % 8);
            data
        }
        WeightFormat::Int4 => {
            let mut data = blocks(n * k / 32, 19, &[0], random);
            let zeros = data.iter_mut().skip(2).step_by(19);
            zeros.for_each(|zero| *zero %= 17);
            data
        }
        WeightFormat::Fp8 => (0..n * k / 32)
            .flat_map(|_| {
                let mut block = (0.02 + 0.02 * random.unit() as f32).to_le_bytes().to_vec();
                // Those with all other bits set are no numbers.
                block.extend((0..32).map(|_| (random.below(2) << 7 | random.below(0x7f)) as u8));
                block
            })
            .collect(),
        _ => (uniform(random, n * k).into_iter())
            .flat_map(|x| bf16::from_f32(x).to_le_bytes())
            .collect(),
    }
}

/// Blocks of so many random bytes, with scales at some places.
fn blocks(num_blocks: usize, num_bytes: usize, scales: &[usize], random: &mut Rng) -> Vec<u8> {
    let mut data: Vec<u8> = (0..num_blocks * num_bytes)
        .map(|_| random.below(256) as u8)
        .collect();
    for block in data.chunks_exact_mut(num_bytes) {
        for &at in scales {
            let scale = f16::from_f32(0.05 + 0.05 * random.unit() as f32);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    data
}

/// What the CPU reads in them.
pub(super) fn values_of(
    format: WeightFormat,
    (n, k): (usize, usize),
    data: &[u8],
    cpu: &Cpu,
) -> Result<Vec<f32>> {
    let weight = PackedWeight::new(format, n, k, data, cpu)?;
    let mut values = vec![0.0; n * k];
    for (row, values) in values.chunks_exact_mut(k).enumerate() {
        weight.dequantise_row(row, values)?;
    }
    Ok(values)
}
