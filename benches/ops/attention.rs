//! Attention over paged keys and values.

use std::hint::black_box;

use candle_core::DType;
use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::ops::{
    AttentionBatch, AttentionParams, KvCache, KvDtype, RopeStyle, RopeTable, Slots, Tensor,
    paged_attention, rope_store,
};

use super::normal;
use half::f16;

use crate::limits::{Limits, Numbers};
use crate::seconds;

/// Bytes of keys and values that all layers have together, at most: more than a processor's caches hold.
const LAYERS_SIZE: usize = 256 << 20;

pub fn bench(cpu: &Cpu, limits: &Limits) -> anyhow::Result<()> {
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
        let kv = normal((num_slots, 2 * kv_heads * dim))?;
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
        let qkv = normal((num_rows, row_len))?;
        let out = Tensor::zeros((num_rows, heads * dim), DType::F32, &Device::Cpu)?;
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
