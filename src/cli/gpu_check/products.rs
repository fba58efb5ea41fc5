//! Products with weights of every kind, against sums in double precision.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::weights::{FORMATS, half_of, is_exact, random_weights, values_of};
use super::{num_different, poison, relative_error, rounding, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda};
use crate::ops::{DType, LinearPart, PackedWeight, Tensor, Vector, WeightFormat, matmul};

/// Outputs and inputs: neither fills its tiles.
const SHAPE: (usize, usize) = (200, 512);

/// Rows that each size of kernel meets, whole and not.
const NUM_ROWS: [usize; 6] = [1, 8, 9, 33, 130, MOST_ROWS];
const MOST_ROWS: usize = 512;

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let (n, k) = SHAPE;
    let mut random = Rng::keyed(1, 0);
    for format in FORMATS {
        let case = Case::new(format, None, &mut random, cuda, cpu)?;
        let mut all = Vec::new();
        for &num_rows in NUM_ROWS.iter().rev() {
            let got = case.product(num_rows, cpu)?;
            if all.is_empty() {
                let what = format!("linear {format:?} [{n}, {k}], {num_rows} rows");
                report.check(what, relative_error(&got, &case.want), case.bound);
                all = got;
                continue;
            }
            let different = num_different(&got, &all[..num_rows * n], n);
            let what =
                format!("linear {format:?}, rows of {num_rows} that differ from {MOST_ROWS}'s");
            report.check(what, different as f64, 0.0);
        }
    }
    for format in [WeightFormat::F16, WeightFormat::BF16] {
        side_by_side(report, format, None, (cuda, cpu))?;
    }
    Ok(())
}

/// Those that cuBLAS computes. Their bits may depend on how many rows there are.
pub(super) fn check_blas(report: &mut Report, blas: &Blas, cpu: &Cpu) -> Result<()> {
    let (n, k) = SHAPE;
    let mut random = Rng::keyed(3, 0);
    for format in [WeightFormat::F16, WeightFormat::BF16] {
        let case = Case::new(format, Some(blas), &mut random, blas.cuda(), cpu)?;
        for num_rows in NUM_ROWS {
            let got = case.product(num_rows, cpu)?;
            let error = relative_error(&got, &case.want[..num_rows * n]);
            let what = format!("linear {format:?} by cuBLAS [{n}, {k}], {num_rows} rows");
            report.check(what, error, case.bound);
        }
        side_by_side(report, format, Some(blas), (blas.cuda(), cpu))?;
    }
    Ok(())
}

/// A weight, and as many rows of x as meet it at most.
struct Case {
    weight: PackedWeight,
    x: Tensor,
    want: Vec<f32>,
    /// Of the relative error.
    bound: f64,
    device: Device,
}

impl Case {
    fn new(
        format: WeightFormat,
        blas: Option<&Blas>,
        random: &mut Rng,
        cuda: &Cuda,
        cpu: &Cpu,
    ) -> Result<Self> {
        let (n, k) = SHAPE;
        let data = random_weights(format, SHAPE, random, cpu);
        let half = half_of(format);
        // Sums of float32, and of 16 bits the weights, once they are decoded.
        let bound = match is_exact(format) {
            true => 1e-5,
            false => rounding(half),
        };
        let device = Device::Cuda(cuda.clone());
        let x = Tensor::from_slice(&uniform(random, MOST_ROWS * k), (MOST_ROWS, k))?;
        let x = x.to_device(half, &device)?;
        let values = values_of(format, SHAPE, &data, cpu)?;
        Ok(Self {
            weight: PackedWeight::on_card_of(format, n, k, &data, half, (cpu, cuda), blas)?,
            want: reference(&x.to_vec()?, &values, SHAPE),
            x,
            bound,
            device,
        })
    }

    /// Of the first rows.
    fn product(&self, num_rows: usize, cpu: &Cpu) -> Result<Vec<f32>> {
        let (n, _) = SHAPE;
        let out = poison((num_rows, n), DType::F32, &self.device)?;
        let part = LinearPart {
            weight: &self.weight,
            bias: None,
        };
        matmul(&out, &self.x.narrow(0, num_rows)?, &[part], cpu)?;
        Ok(out.to_vec()?)
    }
}

/// Two weights and a bias in one matrix of 16 bits, whose inputs neither fill tiles nor leave one for each slice.
fn side_by_side(
    report: &mut Report,
    format: WeightFormat,
    blas: Option<&Blas>,
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
            blas,
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
    let by = if blas.is_some() { " by cuBLAS" } else { "" };
    let what = format!("linear {format:?}{by}, two side by side and a bias");
    let got = run(num_rows)?;
    report.check(&what, relative_error(&got, &want), rounding(half));
    if blas.is_some() {
        return Ok(());
    }
    let different = num_different(&run(1)?, &got[..width], width);
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
