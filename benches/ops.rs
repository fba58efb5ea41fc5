//! The speed of the CPU ops at the shapes of a small model: `cargo bench --bench ops`.

use std::hint::black_box;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use flambeau::backend::cpu::Cpu;
use flambeau::ops::{
    AttentionBatch, KvCache, KvDtype, LinearPart, PackedWeight, RopeStyle, RopeTable, Slots,
    matmul, paged_attention, rope_store,
};
use half::f16;

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
    (0..100).map(batch).fold(f64::INFINITY, f64::min)
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

/// `num_blocks` quantised blocks with the given f16 header fields.
fn blocks(num_blocks: usize, headers: &[f32], quant_bytes: usize) -> Vec<u8> {
    let quants = bytes(num_blocks * quant_bytes);
    let mut raw = Vec::new();
    for quants in quants.chunks_exact(quant_bytes) {
        headers
            .iter()
            .for_each(|&x| raw.extend(f16::from_f32(x).to_le_bytes()));
        raw.extend_from_slice(quants);
    }
    raw
}

fn bench_matmul(cpu: &Cpu) -> anyhow::Result<()> {
    println!(
        "{:<8}{:>7}{:>7}{:>6}{:>12}{:>14}{:>14}",
        "matmul", "N", "K", "M", "µs", "GMAC/s", "weights GB/s"
    );
    for (n, k) in [(1536, 576), (576, 1536), (576, 576), (49152, 576)] {
        let num_blocks = n * k / 32;
        let floats: Vec<f32> = bytes(n * k)
            .iter()
            .map(|&b| f32::from(b) / 255.0 - 0.5)
            .collect();
        let kinds = [
            (
                "Q4_1",
                PackedWeight::from_q4_1(n, k, &blocks(num_blocks, &[0.01, -0.07], 16), cpu)?,
            ),
            (
                "Q8_0",
                PackedWeight::from_q8_0(n, k, &blocks(num_blocks, &[0.001], 32), cpu)?,
            ),
            ("F32", PackedWeight::from_f32(n, k, &floats, cpu)?),
        ];
        for (name, weight) in &kinds {
            for m in [1usize, 4, 16, 512].into_iter().filter(|m| n * m < 1 << 22) {
                let x = Tensor::randn(0f32, 1.0, (m, k), &Device::Cpu)?;
                let out = Tensor::zeros((m, n), DType::F32, &Device::Cpu)?;
                let time = seconds(|| {
                    matmul(
                        black_box(&out),
                        &x,
                        &[LinearPart { weight, bias: None }],
                        cpu,
                    )
                    .expect("shapes fit")
                });
                let gmacs = (m * n * k) as f64 / time / 1e9;
                let bandwidth = weight.num_bytes() as f64 / time / 1e9;
                println!(
                    "{name:<8}{n:>7}{k:>7}{m:>6}{:>12.1}{gmacs:>14.1}{bandwidth:>14.1}",
                    time * 1e6
                );
            }
        }
    }
    Ok(())
}

fn bench_attention(cpu: &Cpu) -> anyhow::Result<()> {
    let (heads, kv_heads, dim, block_size) = (9, 3, 64, 16);
    println!("{:<20}{:>12}", "attention", "µs a layer");
    for (name, q_len, context_len, num_sequences) in [
        ("prefill 512", 512, 512, 1),
        ("decode at 512", 1, 512, 1),
        ("decode at 8192", 1, 8192, 1),
        ("16 decodes at 512", 1, 512, 16),
        ("16 decodes at 208", 1, 208, 16),
    ] {
        let blocks_each = context_len / block_size;
        let num_blocks = blocks_each * num_sequences;
        let device = Device::Cpu;
        let cache = KvCache::new(KvDtype::F16, num_blocks, kv_heads, block_size, dim, &device)?;
        let num_slots = num_blocks * block_size;
        let table = RopeTable::new(dim, dim, 1e4, None, 1.0, 1, RopeStyle::Interleaved)?;
        let kv = Tensor::randn(0f32, 1.0, (num_slots, 2 * kv_heads * dim), &device)?;
        let slots: Vec<u32> = (0..num_slots as u32).collect();
        let slots = Slots::new(&slots, num_slots)?;
        rope_store(&kv, &cache, &vec![0; num_slots], &slots, None, &table, cpu)?;
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
        let time = seconds(|| {
            paged_attention(black_box(&out), &qkv, &cache, &batch, 0.125, cpu).expect("shapes fit")
        });
        println!("{name:<20}{:>12.0}", time * 1e6);
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    for num_threads in [1, 2] {
        let cpu = Cpu::new(num_threads)?;
        println!("\n{:?}, threads: {num_threads}", cpu.isa());
        bench_matmul(&cpu)?;
        bench_attention(&cpu)?;
    }
    Ok(())
}
