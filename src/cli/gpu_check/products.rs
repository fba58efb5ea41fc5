//! Products with weights of every kind, against sums in double precision.

use anyhow::Result;
use half::{bf16, f16};

use super::super::bench::rng::Rng;
use super::report::Report;
use super::{num_different, relative_error, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::model::gguf::GgmlType;
use crate::model::quantise::encode;
use crate::ops::{DType, LinearPart, PackedWeight, Tensor, WeightFormat, matmul};

/// Outputs and inputs: neither fills its tiles.
const SHAPE: (usize, usize) = (200, 512);

/// Rows that each size of kernel meets, whole and not.
const NUM_ROWS: [usize; 6] = [1, 8, 9, 33, 130, 512];

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let device = Device::Cuda(cuda.clone());
    let (n, k) = SHAPE;
    let mut random = Rng::keyed(1, 0);
    for format in FORMATS {
        let data = random_weights(format, SHAPE, &mut random, cpu);
        let half = match format {
            WeightFormat::F16 => DType::F16,
            _ => DType::BF16,
        };
        let weight = PackedWeight::on_card_of(format, n, k, &data, half, (cpu, cuda))?;
        let values = values_of(format, SHAPE, &data, cpu)?;
        let most = NUM_ROWS[NUM_ROWS.len() - 1];
        let x = Tensor::from_slice(&uniform(&mut random, most * k), (most, k))?;
        let on_card = x.to_device(half, &device)?;
        let x = on_card.to_vec()?;
        // Of 16 bits are the weights too, once they are decoded.
        let bound = if half == DType::F16 { 5e-4 } else { 4e-3 };
        let mut all = Vec::new();
        for &num_rows in NUM_ROWS.iter().rev() {
            let poison = Tensor::from_slice(&vec![f32::NAN; num_rows * n], (num_rows, n))?;
            let out = poison.to_device(DType::F32, &device)?;
            let part = LinearPart {
                weight: &weight,
                bias: None,
            };
            matmul(&out, &on_card.narrow(0, num_rows)?, &[part], cpu)?;
            let got = out.to_vec()?;
            if all.is_empty() {
                let want = reference(&x, &values, SHAPE);
                let what = format!("linear {format:?} [{n}, {k}], {num_rows} rows");
                report.check(what, relative_error(&got, &want), bound);
                all = got;
                continue;
            }
            let different = num_different(&got, &all[..num_rows * n], n);
            let what = format!("linear {format:?}, rows of {num_rows} that differ from {most}'s");
            report.check(what, different as f64, 0.0);
        }
    }
    Ok(())
}

/// Each way in which a card keeps weights.
const FORMATS: [WeightFormat; 9] = [
    WeightFormat::F16,
    WeightFormat::BF16,
    WeightFormat::Q8_0,
    WeightFormat::Q4_0,
    WeightFormat::Q5_0,
    WeightFormat::Q4K,
    WeightFormat::Q6K,
    WeightFormat::Int4,
    WeightFormat::Fp8,
];

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
        WeightFormat::Int4 => (0..n * k / 32)
            .flat_map(|_| {
                let scale = f16::from_f32(0.05 + 0.05 * random.unit() as f32);
                let mut block = scale.to_le_bytes().to_vec();
                block.push(random.below(17) as u8);
                block.extend((0..16).map(|_| random.below(256) as u8));
                block
            })
            .collect(),
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

/// What the CPU reads in them.
fn values_of(
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

fn reference(x: &[f32], weights: &[f32], (n, k): (usize, usize)) -> Vec<f32> {
    let dot = |x: &[f32], w: &[f32]| {
        let products = x.iter().zip(w).map(|(x, w)| f64::from(*x) * f64::from(*w));
        products.sum::<f64>() as f32
    };
    let rows = x.chunks_exact(k);
    rows.flat_map(|x| (0..n).map(move |i| dot(x, &weights[i * k..][..k])))
        .collect()
}
