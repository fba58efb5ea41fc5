//! The speed of the CPU ops at the shapes of small models: `cargo bench --bench ops [-- FORMAT]`.

mod attention;
mod experts;
mod limits;
mod low_rank;

use std::hint::black_box;
use std::time::Instant;

use candle_core::DType;
use flambeau::backend::Device;
use flambeau::backend::cpu::{Cpu, Isa};
use flambeau::ops::{LinearPart, PackedWeight, Tensor, WeightFormat, matmul};
use half::f16;

use limits::{Limits, Numbers};

/// The best of many batches of calls of a millisecond, in seconds a call: other processes only ever add time.
fn seconds(mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    call();
    let calls = (1e-3 / start.elapsed().as_secs_f64()).ceil() as u32;
    let batch = |_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_secs_f64() / f64::from(calls)
    };
    (0..30).map(batch).fold(f64::INFINITY, f64::min)
}

/// A byte stream that looks random to the kernels.
fn bytes(n: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n).map(next).collect()
}

/// `num_blocks` blocks of `block_bytes`, with f16 fields at some offsets that keep the values small.
fn blocks(num_blocks: usize, block_bytes: usize, halves: &[usize]) -> Vec<u8> {
    let mut raw = bytes(num_blocks * block_bytes);
    for block in raw.chunks_exact_mut(block_bytes) {
        for &at in halves {
            block[at..at + 2].copy_from_slice(&f16::from_f32(0.001).to_le_bytes());
        }
    }
    raw
}

/// Format, values a block, bytes a block, offsets of f16 fields.
const FORMATS: [(WeightFormat, usize, usize, &[usize]); 14] = [
    (WeightFormat::Q4_0, 32, 18, &[0]),
    (WeightFormat::Q4_1, 32, 20, &[0, 2]),
    (WeightFormat::Q5_0, 32, 22, &[0]),
    (WeightFormat::Q5_1, 32, 24, &[0, 2]),
    (WeightFormat::Q8_0, 32, 34, &[0]),
    (WeightFormat::Iq4Nl, 32, 18, &[0]),
    (WeightFormat::Q2K, 256, 84, &[80, 82]),
    (WeightFormat::Q3K, 256, 110, &[108]),
    (WeightFormat::Q4K, 256, 144, &[0, 2]),
    (WeightFormat::Q5K, 256, 176, &[0, 2]),
    (WeightFormat::Q6K, 256, 210, &[208]),
    (WeightFormat::F16, 1, 2, &[0]),
    (WeightFormat::BF16, 2, 4, &[0, 2]),
    (WeightFormat::F32, 1, 4, &[0, 2]),
];

fn bench_matmul(cpu: &Cpu, limits: &Limits, only: Option<&str>) -> anyhow::Result<()> {
    println!(
        "{:<8}{:>7}{:>7}{:>6}{:>12}{:>14}{:>14}{:>10}",
        "matmul", "N", "K", "M", "µs", "GMAC/s", "weights GB/s", "of limit"
    );
    for (n, k) in [
        (1536usize, 576usize),
        (576, 1536),
        (2048, 2048),
        (49152, 576),
    ] {
        for (format, values, block_bytes, halves) in FORMATS {
            let name = format!("{format:?}");
            if only.is_some_and(|only| only != name)
                || !k.is_multiple_of(values)
                || n == 49152 && values != 32
            {
                continue;
            }
            let raw = blocks(n * k / values, block_bytes, halves);
            let weight = &PackedWeight::new(format, n, k, &raw, cpu)?;
            for m in [1usize, 4, 16, 512].into_iter().filter(|m| n * m < 1 << 22) {
                let x = normal((m, k))?;
                let out = Tensor::zeros((m, n), DType::F32, &Device::Cpu)?;
                let part = [LinearPart { weight, bias: None }];
                let time = seconds(|| matmul(black_box(&out), &x, &part, cpu).expect("shapes fit"));
                let macs = (m * n * k) as f64;
                let numbers = match values {
                    32 | 256 => Numbers::Int8,
                    _ => Numbers::Float,
                };
                let share = limits.share(time, numbers, macs, weight.num_bytes());
                let gmacs = macs / time / 1e9;
                let bandwidth = weight.num_bytes() as f64 / time / 1e9;
                println!(
                    "{name:<8}{n:>7}{k:>7}{m:>6}{:>12.1}{gmacs:>14.1}{bandwidth:>14.1}{:>9.0}%",
                    time * 1e6,
                    share * 1e2
                );
            }
        }
    }
    Ok(())
}

/// Values of a normal distribution.
fn normal(shape: (usize, usize)) -> candle_core::Result<Tensor> {
    let values = candle_core::Tensor::randn(0f32, 1.0, shape, &candle_core::Device::Cpu)?;
    Ok(values.into())
}

fn main() -> anyhow::Result<()> {
    let only = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    for isa in Isa::ALL {
        if isa == Isa::Scalar || isa.usable().is_err() {
            continue;
        }
        for num_threads in [1, 2] {
            let cpu = Cpu::with_isa(num_threads, isa)?;
            println!("\n{isa:?}, threads: {num_threads}");
            let limits = Limits::measure(num_threads, isa);
            limits.print();
            bench_matmul(&cpu, &limits, only.as_deref())?;
            attention::bench(&cpu, &limits)?;
            experts::bench(&cpu, &limits)?;
            low_rank::bench(&cpu, &limits)?;
        }
    }
    Ok(())
}
