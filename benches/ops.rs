//! The speed of the CPU ops at the shapes of small models: `cargo bench --bench ops [-- FORMAT]`.

mod limits;

use std::hint::black_box;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use flambeau::backend::cpu::{Cpu, Isa};
use flambeau::ops::{
    AttentionBatch, AttentionParams, KvCache, KvDtype, LinearPart, PackedWeight, RopeStyle,
    RopeTable, Slots, WeightFormat, matmul, paged_attention, rope_store,
};
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
                let x = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu)?;
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

/// Bytes of keys and values that all layers have together, at most: more than a processor's caches hold.
const LAYERS_SIZE: usize = 256 << 20;

fn bench_attention(cpu: &Cpu, limits: &Limits) -> anyhow::Result<()> {
    let (heads, kv_heads, dim, block_size) = (9, 3, 64, 16);
    println!(
        "{:<20}{:>12}{:>10}{:>10}",
        "attention", "µs a layer", "GMAC/s", "of limit"
    );
    for (name, q_len, context_len, num_sequences) in [
        ("prefill 512", 512, 512, 1),
        ("decode at 512", 1, 512, 1),
        ("decode at 8192", 1, 8192, 1),
        ("16 decodes at 512", 1, 512, 16),
        ("16 decodes at 208", 1, 208, 16),
        ("8 decodes at 1600", 1, 1600, 8),
        ("chunk at 4096", 64, 4096, 1),
    ] {
        let blocks_each = context_len / block_size;
        let num_blocks = blocks_each * num_sequences;
        let device = Device::Cpu;
        let num_slots = num_blocks * block_size;
        let table = RopeTable::new(dim, dim, 1e4, None, 1.0, 1, RopeStyle::Interleaved)?;
        let kv = Tensor::randn(0f32, 1.0, (num_slots, 2 * kv_heads * dim), &device)?;
        let slots: Vec<u32> = (0..num_slots as u32).collect();
        let slots = Slots::new(&slots, num_slots)?;
        let bytes = num_sequences * context_len * kv_heads * dim * 2 * size_of::<f16>();
        // As the layers of a model take turns: what is long or many comes from memory.
        let layers = (0..(LAYERS_SIZE / bytes).clamp(1, 30))
            .map(|_| {
                let (dtype, device) = (KvDtype::F16, &device);
                let cache = KvCache::new(dtype, num_blocks, kv_heads, block_size, dim, device)?;
                rope_store(
                    &kv,
                    &cache,
                    &vec![0; num_slots],
                    &slots,
                    None,
                    Some(&table),
                    cpu,
                )?;
                anyhow::Ok(cache)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let num_rows = q_len * num_sequences;
        let row_len = (heads + 2 * kv_heads) * dim;
        let qkv = Tensor::randn(0f32, 1.0, (num_rows, row_len), &device)?;
        let out = Tensor::zeros((num_rows, heads * dim), DType::F32, &device)?;
        let steps =
            |step: usize| -> Vec<u32> { (0..=num_sequences).map(|s| (s * step) as u32).collect() };
        let block_tables: Vec<u32> = (0..num_blocks as u32).collect();
        let batch = AttentionBatch::new(
            &steps(q_len),
            &vec![context_len as u32; num_sequences],
            &block_tables,
            &steps(blocks_each),
            num_blocks,
            block_size,
        )?;
        let params = AttentionParams {
            scale: 0.125,
            ..AttentionParams::default()
        };
        let time = seconds(|| {
            for cache in &layers {
                paged_attention(black_box(&out), &qkv, cache, &batch, params, cpu)
                    .expect("shapes fit");
            }
        }) / layers.len() as f64;
        // Row i of a prompt sees i + 1 keys, and a multiply-add each for the score and the value.
        let keys = (context_len - q_len) * q_len + q_len * (q_len + 1) / 2;
        let macs = (num_sequences * keys * heads * dim * 2) as f64;
        println!(
            "{name:<20}{:>12.0}{:>10.1}{:>9.0}%",
            time * 1e6,
            macs / time / 1e9,
            limits.share(time, Numbers::Float, macs, bytes) * 1e2
        );
    }
    Ok(())
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
            bench_attention(&cpu, &limits)?;
        }
    }
    Ok(())
}
