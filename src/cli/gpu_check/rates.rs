//! How fast kernels are, beside what a copy moves on the same card, and what cuBLAS computes there.

use std::time::Instant;

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::{Rate, Report};
use super::weights::random_weights;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda};
use crate::ops::{
    AttentionBatch, AttentionParams, BatchCutter, DType, KvCache, KvDtype, LinearPart,
    NumberBuffer, PackedWeight, Tensor, WeightFormat, matmul, paged_attention,
};

/// The fastest of so many runs counts.
const RUNS: usize = 5;

/// Rows from which on a product's time is that of its arithmetic.
const MANY_ROWS: usize = 512;

pub(super) fn measure(
    report: &mut Report,
    cuda: &Cuda,
    blas: Option<&Blas>,
    cpu: &Cpu,
) -> Result<()> {
    let seconds = {
        let (from, to) = (cuda.alloc_zeroed(1 << 30)?, cuda.alloc_zeroed(1 << 30)?);
        seconds_of(cuda, 4, || Ok(to.copy_from(&from)?))?
    };
    let copied = 2.0 * f64::from(1 << 30);
    let copy_rate = copied / seconds;
    // Of cuBLAS: operations a second.
    let mut most: Option<f64> = None;
    let mut note =
        |what: String, seconds: f64, bytes: f64, operations: f64, ceiling: Option<f64>| {
            report.rate(Rate {
                what,
                microseconds: seconds * 1e6,
                gb_per_second: bytes / seconds / 1e9,
                part_of_copy: bytes / seconds / copy_rate,
                tflops: operations / seconds / 1e12,
                part_of_blas: ceiling.map(|most| operations / seconds / most),
            });
        };
    note("copy of 1 GiB".into(), seconds, copied, 0.0, None);

    let (n, k) = (14_336, 4096);
    let mut random = Rng::keyed(2, 0);
    // Large matrices are made of small ones, over and over.
    let by_blas = blas.map(|blas| (WeightFormat::BF16, Some(blas)));
    let formats = [WeightFormat::BF16, WeightFormat::Fp8, WeightFormat::Q4K];
    let formats = formats.map(|format| (format, None));
    for (format, blas) in by_blas.into_iter().chain(formats) {
        let strip = random_weights(format, (64, k), &mut random, cpu);
        let data = strip.repeat(n / 64);
        let weight = PackedWeight::on_card_of(format, n, k, &data, DType::BF16, (cpu, cuda), blas)?;
        for num_rows in [1, 8, 32, 64, 256, MANY_ROWS, 2048] {
            let device = Device::Cuda(cuda.clone());
            let x = Tensor::zeros((num_rows, k), DType::BF16, &device)?;
            let out = Tensor::zeros((num_rows, n), DType::BF16, &device)?;
            let part = LinearPart {
                weight: &weight,
                bias: None,
            };
            let seconds = seconds_of(cuda, 50, || Ok(matmul(&out, &x, &[part], cpu)?))?;
            let bytes = weight.num_bytes() as f64 + (2 * num_rows * (n + k)) as f64;
            let operations = 2.0 * (num_rows * n) as f64 * k as f64;
            let is_many = num_rows >= MANY_ROWS;
            let (by, ceiling) = match blas {
                None => ("", most.filter(|_| is_many)),
                Some(_) => (" by cuBLAS", None),
            };
            if blas.is_some() && is_many {
                let flops = operations / seconds;
                most = Some(most.map_or(flops, |most| most.max(flops)));
            }
            let what = format!("linear {format:?}{by} [{n}, {k}], {num_rows} rows");
            note(what, seconds, bytes, operations, ceiling);
        }
    }
    for (num_sequences, context) in [(1, 8192), (32, 8192), (256, 1024)] {
        let seconds = decode(cuda, cpu, num_sequences, context)?;
        let (heads, kv_heads, head_dim) = HEADS;
        let num_keys = (num_sequences * context) as f64;
        let bytes = num_keys * (2 * kv_heads * head_dim * 2) as f64;
        let operations = num_keys * (4 * heads * head_dim) as f64;
        let what = format!("attention BF16, {num_sequences} decodes of {context} tokens");
        note(what, seconds, bytes, operations, None);
    }
    Ok(())
}

/// Query heads, those of keys, and their width.
const HEADS: (usize, usize, usize) = (32, 8, 128);

/// The seconds of a layer's attention for sequences that decode.
fn decode(cuda: &Cuda, cpu: &Cpu, num_sequences: usize, context: usize) -> Result<f64> {
    const BLOCK_SIZE: usize = 16;
    let (heads, kv_heads, head_dim) = HEADS;
    let device = Device::Cuda(cuda.clone());
    let per_sequence = context.div_ceil(BLOCK_SIZE);
    let num_blocks = num_sequences * per_sequence;
    let cache = KvCache::new(
        KvDtype::Bf16,
        num_blocks,
        kv_heads,
        BLOCK_SIZE,
        head_dim,
        &device,
    )?;
    let qkv = Tensor::zeros(
        (num_sequences, (heads + 2 * kv_heads) * head_dim),
        DType::BF16,
        &device,
    )?;
    let out = Tensor::zeros((num_sequences, heads * head_dim), DType::BF16, &device)?;
    let cu_seqlens: Vec<u32> = (0..=num_sequences as u32).collect();
    let contexts = vec![context as u32; num_sequences];
    let tables: Vec<u32> = (0..num_blocks as u32).collect();
    let offsets: Vec<u32> = cu_seqlens.iter().map(|i| i * per_sequence as u32).collect();
    let mut batch = AttentionBatch::new(
        &cu_seqlens,
        &contexts,
        &tables,
        &offsets,
        num_blocks,
        BLOCK_SIZE,
    )?;
    let cutter = BatchCutter::new(cuda, vec![None], HEADS, context)?;
    let mut numbers = NumberBuffer::new(cuda, 2 * num_blocks)?;
    let cut = cutter.cut(&batch, &mut numbers);
    numbers.send()?;
    batch.put_on_card(cut, &numbers)?;
    let params = AttentionParams {
        scale: 1.0,
        window: None,
        softcap: None,
        sinks: None,
    };
    seconds_of(cuda, 50, || {
        Ok(paged_attention(&out, &qkv, &cache, &batch, params, cpu)?)
    })
}

/// Of one launch, in the fastest of some runs of `count`, once it is warm.
fn seconds_of(cuda: &Cuda, count: usize, mut launch: impl FnMut() -> Result<()>) -> Result<f64> {
    launch()?;
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        cuda.synchronise()?;
        let start = Instant::now();
        for _ in 0..count {
            launch()?;
        }
        cuda.synchronise()?;
        best = best.min(start.elapsed().as_secs_f64() / count as f64);
    }
    Ok(best)
}
