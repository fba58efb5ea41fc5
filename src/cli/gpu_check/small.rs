//! What stands between products: norms, activations and soft caps, against the CPU's.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::{num_different, relative_error, rounded, rounding, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{DType, Glu, Tensor, Vector, add_rms_norm, gated_activation, rms_norm, softcap};

/// Rows, and columns: eight more than a block takes at once.
const SHAPE: (usize, usize) = (5, 2056);
/// What sums and functions of float32 may be off by: some units of the last place.
const FLOAT: f64 = 1e-6;

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let card = Device::Cuda(cuda.clone());
    for half in [DType::F16, DType::BF16] {
        norms(report, half, (&card, cpu))?;
        activations(report, half, (&card, cpu))?;
    }
    softcaps(report, (&card, cpu))
}

/// A matrix on a device: in float32 on the CPU.
fn on(device: &Device, dtype: DType, values: &[f32], width: usize) -> Result<Tensor> {
    let dtype = match device {
        Device::Cpu => DType::F32,
        Device::Cuda(_) => dtype,
    };
    let values = Tensor::from_slice(values, (values.len() / width, width))?;
    Ok(values.to_device(dtype, device)?)
}

fn norms(report: &mut Report, half: DType, (card, cpu): (&Device, &Cpu)) -> Result<()> {
    let (rows, width) = SHAPE;
    let mut random = Rng::keyed(14, 0);
    let weights = uniform(&mut random, width);
    let x = uniform(&mut random, rows * width);
    let y = rounded(&uniform(&mut random, rows * width), half)?;
    // What is normalised, and the residual stream.
    let run = |device: &Device, first: usize, with: (bool, bool)| {
        let weight = Vector::new(weights.clone(), device)?;
        let x = on(device, DType::F32, &x[first * width..], width)?;
        let y = on(device, half, &y[first * width..], width)?;
        let out = on(device, half, &vec![f32::NAN; (rows - first) * width], width)?;
        match with {
            (false, _) => rms_norm(&out, &y, &weight, 1e-5, cpu)?,
            (true, has_y) => add_rms_norm(&out, &x, has_y.then_some(&y), &weight, 1e-5, cpu)?,
        }
        Ok::<_, anyhow::Error>((out.to_vec()?, x.to_vec()?))
    };
    for (name, with) in [
        ("norm", (false, false)),
        ("norm of the residual stream", (true, false)),
        ("norm after an addition to it", (true, true)),
    ] {
        let (want, want_x) = run(&Device::Cpu, 0, with)?;
        let (got, got_x) = run(card, 0, with)?;
        let what = format!("{name} {half:?}");
        report.check(&what, relative_error(&got, &want), rounding(half));
        let different = num_different(&got_x, &want_x, width);
        report.check(format!("{what}, sums that differ"), different as f64, 0.0);
        let (alone, _) = run(card, rows - 1, with)?;
        let different = num_different(&alone, &got[(rows - 1) * width..], width);
        let what = format!("{what}, rows that differ alone");
        report.check(what, different as f64, 0.0);
    }
    Ok(())
}

fn activations(report: &mut Report, half: DType, (card, cpu): (&Device, &Cpu)) -> Result<()> {
    let (rows, width) = SHAPE;
    let values = uniform(&mut Rng::keyed(15, 0), rows * 2 * width);
    let values: Vec<f32> = values.iter().map(|x| 6.0 * x).collect();
    let values = rounded(&values, half)?;
    for glu in [Glu::Silu, Glu::GeluTanh, Glu::Clamped { limit: 4.0 }] {
        let run = |device: &Device| {
            let gate_up = on(device, half, &values, 2 * width)?;
            let out = on(device, half, &vec![f32::NAN; rows * width], width)?;
            gated_activation(&out, &gate_up, glu, cpu)?;
            Ok::<_, anyhow::Error>(out.to_vec()?)
        };
        let error = relative_error(&run(card)?, &run(&Device::Cpu)?);
        report.check(
            format!("activation {half:?}, {glu:?}"),
            error,
            rounding(half),
        );
    }
    Ok(())
}

fn softcaps(report: &mut Report, (card, cpu): (&Device, &Cpu)) -> Result<()> {
    // No whole number of blocks.
    let values = uniform(&mut Rng::keyed(16, 0), 3 * 1004);
    let values: Vec<f32> = values.iter().map(|x| 60.0 * x).collect();
    let run = |device: &Device| {
        let x = on(device, DType::F32, &values, 1004)?;
        softcap(&x, 30.0, cpu)?;
        Ok::<_, anyhow::Error>(x.to_vec()?)
    };
    let error = relative_error(&run(card)?, &run(&Device::Cpu)?);
    report.check("softcap of logits", error, FLOAT);
    Ok(())
}
