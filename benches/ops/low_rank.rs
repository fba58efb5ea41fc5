//! What adapters add to a projection of 2048 to 2048 values in Q4_K.

use std::hint::black_box;

use candle_core::DType;
use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::ops::{
    LinearPart, LowRank, LowRankGroup, PackedWeight, Tensor, WeightFormat, add_low_rank, matmul,
};

use super::normal;

use crate::limits::{Limits, Numbers};
use crate::{blocks, seconds};

const SIZE: usize = 2048;

pub fn bench(cpu: &Cpu, limits: &Limits) -> anyhow::Result<()> {
    let raw = blocks(SIZE * SIZE / 256, 144, &[0, 2]);
    let weight = &PackedWeight::new(WeightFormat::Q4K, SIZE, SIZE, &raw, cpu)?;
    println!(
        "{:<32}{:>10}{:>10}{:>10}{:>14}",
        "low rank", "µs", "GMAC/s", "of limit", "of the matmul"
    );
    for (num_rows, num_adapters, rank) in [
        (1, 1, 16),
        (1, 1, 64),
        (16, 1, 16),
        (16, 4, 16),
        (16, 16, 16),
        (512, 1, 16),
        (512, 1, 64),
    ] {
        let x = normal((num_rows, SIZE))?;
        let out = Tensor::zeros((num_rows, SIZE), DType::F32, &Device::Cpu)?;
        let matrix = vec![1e-3; SIZE * rank];
        let adapters = (0..num_adapters)
            .map(|_| LowRank::new(matrix.clone(), &matrix, rank, 1.0))
            .collect::<candle_core::Result<Vec<_>>>()?;
        let each = num_rows / num_adapters;
        let groups: Vec<LowRankGroup<'_>> = (adapters.iter().enumerate())
            .map(|(i, adapter)| LowRankGroup {
                rows: i * each..(i + 1) * each,
                parts: vec![(0, adapter)],
            })
            .collect();
        let time = seconds(|| add_low_rank(black_box(&out), &x, &groups, cpu).expect("they fit"));
        let part = [LinearPart { weight, bias: None }];
        let base = seconds(|| matmul(black_box(&out), &x, &part, cpu).expect("shapes fit"));
        let macs = (num_rows * 2 * SIZE * rank) as f64;
        let bytes = num_adapters * 2 * SIZE * rank * size_of::<f32>();
        println!(
            "{:<32}{:>10.1}{:>10.1}{:>9.0}%{:>13.0}%",
            format!("{num_rows} rows, {num_adapters} adapters of {rank}"),
            time * 1e6,
            macs / time / 1e9,
            limits.share(time, Numbers::Float, macs, bytes) * 1e2,
            time / base * 1e2
        );
    }
    Ok(())
}
