//! Storing keys and values, and attention over them, against the CPU's.

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::{num_different, relative_error, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::ops::{
    AttentionBatch, AttentionParams, BatchCutter, DType, KvCache, KvDtype, NumberBuffer, Numbers,
    RopeStyle, RopeTable, Slots, Tensor, paged_attention, rope_store,
};

const BLOCK_SIZE: usize = 16;
const NUM_BLOCKS: usize = 64;
const HEADS: (usize, usize) = (8, 2);
/// Two sequences: the tokens that are new of each, and all.
const NEW: [usize; 2] = [40, 1];
const CONTEXTS: [usize; 2] = [300, 555];

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let card = Device::Cuda(cuda.clone());
    for head_dim in [64, 96, 128, 256] {
        for (kv_dtype, bound) in [
            (KvDtype::Bf16, 6e-3),
            (KvDtype::F16, 6e-3),
            (KvDtype::Int8, 1e-2),
        ] {
            for window in [None, Some(100)] {
                let run = |device: &Device, dtype| {
                    attend(device, dtype, (head_dim, kv_dtype, window), cpu)
                };
                let want = run(&Device::Cpu, DType::F32)?;
                let got = run(&card, DType::BF16)?;
                let window = window.map_or(String::new(), |window| format!(", window {window}"));
                let what = format!("attention D={head_dim} {kv_dtype}{window}");
                report.check(&what, relative_error(&got, &want), bound);
                // The second time.
                let again = run(&card, DType::BF16)?;
                let different = num_different(&again, &got, HEADS.0 * head_dim);
                let what = format!("{what}, rows that differ the second time");
                report.check(what, different as f64, 0.0);
            }
        }
    }
    Ok(())
}

/// What the new rows of both sequences see.
fn attend(
    device: &Device,
    dtype: DType,
    (head_dim, kv_dtype, window): (usize, KvDtype, Option<usize>),
    cpu: &Cpu,
) -> Result<Vec<f32>> {
    let (heads, kv_heads) = HEADS;
    let row_len = (heads + 2 * kv_heads) * head_dim;
    let cache = KvCache::new(kv_dtype, NUM_BLOCKS, kv_heads, BLOCK_SIZE, head_dim, device)?;
    let table = RopeTable::new(
        head_dim,
        head_dim,
        10_000.0,
        None,
        1.0,
        1024,
        RopeStyle::Half,
    )?
    .on(device)?;
    let mut random = Rng::keyed(7, 0);
    let mut out = Vec::new();
    // First what is there already, then the rows that are new.
    for is_new in [false, true] {
        let rows = |s: usize| match is_new {
            false => 0..CONTEXTS[s] - NEW[s],
            true => CONTEXTS[s] - NEW[s]..CONTEXTS[s],
        };
        // The second sequence has the blocks from the top.
        let block = |s: usize, i: usize| if s == 0 { i } else { NUM_BLOCKS - 1 - i } as u32;
        let positions: Vec<u32> = (0..2).flat_map(rows).map(|i| i as u32).collect();
        let slot = |s: usize, i: usize| {
            block(s, i / BLOCK_SIZE) * BLOCK_SIZE as u32 + (i % BLOCK_SIZE) as u32
        };
        let slots: Vec<u32> = (0..2)
            .flat_map(|s| rows(s).map(move |i| slot(s, i)))
            .collect();
        // Of 16 bits for both.
        let values = Tensor::from_slice(
            &uniform(&mut random, positions.len() * row_len),
            (positions.len(), row_len),
        )?;
        let values = values.to_device(DType::BF16, &Device::Cpu)?;
        let qkv = values.to_device(dtype, device)?;
        let ends: Vec<u32> = (0..2).map(|s| rows(s).end as u32).collect();
        let tables: Vec<Vec<u32>> = (0..2)
            .map(|s| {
                (0..rows(s).end.div_ceil(BLOCK_SIZE))
                    .map(|i| block(s, i))
                    .collect()
            })
            .collect();
        let cu_seqlens = [0, rows(0).len() as u32, positions.len() as u32];
        let offsets = [
            0,
            tables[0].len() as u32,
            (tables[0].len() + tables[1].len()) as u32,
        ];
        let tables = tables.concat();
        let mut batch = AttentionBatch::new(
            &cu_seqlens,
            &ends,
            &tables,
            &offsets,
            NUM_BLOCKS,
            BLOCK_SIZE,
        )?;
        let mut places = Slots::new(&slots, NUM_BLOCKS * BLOCK_SIZE)?;
        let mut at = Numbers::from(&positions);
        // What launches name must be there until they are done.
        let mut numbers = None;
        if let Device::Cuda(cuda) = device {
            let heads = (heads, kv_heads, head_dim);
            let cutter = BatchCutter::new(cuda, vec![window], heads, 1024)?;
            let mut buffer = NumberBuffer::new(cuda, 1 << 14)?;
            let (position_range, slot_range) = (buffer.push(&positions), buffer.push(&slots));
            let cut = cutter.cut(&batch, &mut buffer);
            buffer.send()?;
            at.put_on_card(buffer.slice(&position_range)?);
            places.put_on_card(buffer.slice(&slot_range)?);
            batch.put_on_card(cut, &buffer)?;
            numbers = Some(buffer);
        }
        rope_store(&qkv, &cache, at, &places, None, Some(&table), cpu)?;
        if is_new {
            let shape = (positions.len(), heads * head_dim);
            let poison = Tensor::from_slice(&vec![f32::NAN; shape.0 * shape.1], shape)?;
            let attended = poison.to_device(dtype, device)?;
            let params = AttentionParams {
                scale: 1.0 / (head_dim as f32).sqrt(),
                window,
                softcap: None,
                sinks: None,
            };
            paged_attention(&attended, &qkv, &cache, &batch, params, cpu)?;
            out = attended.to_vec()?;
        }
        drop(numbers);
    }
    Ok(out)
}
