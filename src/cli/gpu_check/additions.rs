//! Low-rank additions of two adapters in one batch, against the CPU's.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::{num_different, relative_error, rounded, rounding, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{DType, LowRank, LowRankGroup, Tensor, add_low_rank};

/// Inputs, and the outputs of each part, which lie side by side.
const WIDTH: usize = 200;
const PARTS: [usize; 3] = [300, 37, 64];
const OUT_WIDTH: usize = PARTS[0] + PARTS[1] + PARTS[2];
const RANKS: [usize; 2] = [16, 70];
const NUM_ROWS: usize = 20;
/// Rows that get nothing.
const OTHERS: [usize; 3] = [0, 3, 4];

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    for half in [DType::F16, DType::BF16] {
        let mut random = Rng::keyed(11, 0);
        let before = rounded(&uniform(&mut random, NUM_ROWS * OUT_WIDTH), half)?;
        let x = rounded(&uniform(&mut random, NUM_ROWS * WIDTH), half)?;
        let run = |device: &Device, rows: &[usize]| {
            let adapters = [adapter(0, half, device)?, adapter(1, half, device)?];
            let dtype = match device {
                Device::Cpu => DType::F32,
                Device::Cuda(_) => half,
            };
            let picked = |values: &[f32], width: usize| {
                let rows = rows.iter().flat_map(|row| &values[row * width..][..width]);
                let values: Vec<f32> = rows.copied().collect();
                Tensor::from_slice(&values, (values.len() / width, width))?.to_device(dtype, device)
            };
            let (out, x) = (picked(&before, OUT_WIDTH)?, picked(&x, WIDTH)?);
            let mut groups: Vec<LowRankGroup<'_>> = Vec::new();
            for (i, row) in rows.iter().enumerate() {
                // More parts of the first than a launch takes, and rows of the second in between.
                let own = match row {
                    _ if OTHERS.contains(row) => continue,
                    1..3 | 18.. => &adapters[0],
                    _ => &adapters[1],
                };
                let columns = [0, PARTS[0], PARTS[0] + PARTS[1]];
                groups.push(LowRankGroup {
                    rows: i..i + 1,
                    parts: columns.into_iter().zip(own).collect(),
                });
            }
            add_low_rank(&out, &x, &groups, cpu)?;
            Ok::<_, anyhow::Error>(out.to_vec()?)
        };
        let all: Vec<usize> = (0..NUM_ROWS).collect();
        let card = Device::Cuda(cuda.clone());
        let (want, got) = (run(&Device::Cpu, &all)?, run(&card, &all)?);
        let what = format!("low-rank additions {half:?}, ranks {RANKS:?}");
        report.check(&what, relative_error(&got, &want), rounding(half));
        let row = |values: &[f32], row: usize| values[row * OUT_WIDTH..][..OUT_WIDTH].to_vec();
        let mut different = 0;
        for i in [2, 7] {
            different += num_different(&run(&card, &[i])?, &row(&got, i), OUT_WIDTH);
        }
        let what = "low-rank additions";
        report.check(
            format!("{what} {half:?}, rows that differ alone"),
            different as f64,
            0.0,
        );
        let others = OTHERS.iter();
        let changed = others.map(|&i| num_different(&row(&got, i), &row(&before, i), OUT_WIDTH));
        let changed: usize = changed.sum();
        report.check(
            format!("{what} {half:?}, other rows that change"),
            changed as f64,
            0.0,
        );
    }
    Ok(())
}

/// Parts of random values.
fn adapter(number: usize, half: DType, device: &Device) -> Result<Vec<LowRank>> {
    let mut random = Rng::keyed(12, number as u64);
    let rank = RANKS[number];
    let mut parts = Vec::new();
    for out_features in PARTS {
        let a = rounded(&uniform(&mut random, rank * WIDTH), half)?;
        let b = rounded(&uniform(&mut random, rank * out_features), half)?;
        // Of 16 bits, too, is what is scaled by a power of two.
        parts.push(LowRank::new(a, &b, rank, 0.5)?);
    }
    if let Device::Cuda(cuda) = device {
        LowRank::put_on_card(parts.iter_mut().map(|part| ("part", part)), half, cuda)?;
    }
    Ok(parts)
}
