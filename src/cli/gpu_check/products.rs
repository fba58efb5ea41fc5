//! Products with weights of every kind, against sums in double precision.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::weights::{FORMATS, half_of, is_exact, random_weights, values_of};
use super::{num_different, poison, relative_error, rounding, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{DType, LinearPart, PackedWeight, Tensor, Vector, WeightFormat, matmul};

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
        let half = half_of(format);
        let weight = PackedWeight::on_card_of(format, n, k, &data, half, (cpu, cuda))?;
        let values = values_of(format, SHAPE, &data, cpu)?;
        let most = NUM_ROWS[NUM_ROWS.len() - 1];
        let x = Tensor::from_slice(&uniform(&mut random, most * k), (most, k))?;
        let on_card = x.to_device(half, &device)?;
        let x = on_card.to_vec()?;
        // Sums of float32, and of 16 bits the weights, once they are decoded.
        let bound = if is_exact(format) {
            1e-5
        } else {
            rounding(half)
        };
        let mut all = Vec::new();
        for &num_rows in NUM_ROWS.iter().rev() {
            let out = poison((num_rows, n), DType::F32, &device)?;
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
    for format in [WeightFormat::F16, WeightFormat::BF16] {
        side_by_side(report, format, (cuda, cpu))?;
    }
    Ok(())
}

/// Two weights and a bias in one matrix of 16 bits, whose inputs neither fill tiles nor leave one for each slice.
fn side_by_side(
    report: &mut Report,
    format: WeightFormat,
    (cuda, cpu): (&Cuda, &Cpu),
) -> Result<()> {
    let (device, half) = (Device::Cuda(cuda.clone()), half_of(format));
    let (num_rows, k, widths) = (40, 200, [72, 33]);
    let mut random = Rng::keyed(9, 0);
    let bias = Vector::new(uniform(&mut random, widths[0]), &device)?;
    let (mut weights, mut values) = (Vec::new(), Vec::new());
    for n in widths {
        let data = random_weights(format, (n, k), &mut random, cpu);
        values.extend(values_of(format, (n, k), &data, cpu)?);
        weights.push(PackedWeight::on_card_of(
            format,
            n,
            k,
            &data,
            half,
            (cpu, cuda),
        )?);
    }
    let biases = [Some(&bias), None].into_iter();
    let parts = weights.iter().zip(biases);
    let parts: Vec<LinearPart<'_>> = parts
        .map(|(weight, bias)| LinearPart { weight, bias })
        .collect();
    let width = widths[0] + widths[1];
    let x = Tensor::from_slice(&uniform(&mut random, num_rows * k), (num_rows, k))?;
    let x = x.to_device(half, &device)?;
    let run = |num_rows| {
        let out = poison((num_rows, width), half, &device)?;
        matmul(&out, &x.narrow(0, num_rows)?, &parts, cpu)?;
        Ok::<_, anyhow::Error>(out.to_vec()?)
    };
    let mut want = reference(&x.to_vec()?, &values, (width, k));
    for row in want.chunks_exact_mut(width) {
        row.iter_mut().zip(&*bias).for_each(|(x, bias)| *x += bias);
    }
    let (got, alone) = (run(num_rows)?, run(1)?);
    let what = format!("linear {format:?}, two side by side and a bias");
    report.check(&what, relative_error(&got, &want), rounding(half));
    let different = num_different(&alone, &got[..width], width);
    report.check(
        format!("{what}, rows that differ alone"),
        different as f64,
        0.0,
    );
    Ok(())
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
