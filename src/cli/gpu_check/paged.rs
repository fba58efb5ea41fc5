//! Keys and values in a paged cache, and attention over them, on either device.

use std::ops::Range;

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::cases::{Case, Sequence};
use super::{poison, sent, uniform};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::ops::{
    AttentionBatch, AttentionParams, BatchCutter, DType, KvCache, NumberBuffer, Numbers, QkNorm,
    RopeTable, Slots, Spans, Tensor, Vector, paged_attention, rope_store,
};

pub(super) const BLOCK_SIZE: usize = 16;
pub(super) const NUM_BLOCKS: usize = 64;
pub(super) const MAX_POSITIONS: usize = 1024;

/// A case on a device.
pub(super) struct Paged<'a> {
    case: &'a Case,
    device: &'a Device,
    cpu: &'a Cpu,
    cache: KvCache,
    table: Option<RopeTable>,
    norms: [Vector; 2],
    sinks: Vector,
}

impl<'a> Paged<'a> {
    pub fn new(case: &'a Case, device: &'a Device, cpu: &'a Cpu) -> Result<Self> {
        let (num_heads, kv_heads, head_dim) = case.heads;
        let mut random = Rng::keyed(8, 0);
        let mut around = |middle: f32, len: usize| {
            let values = uniform(&mut random, len).into_iter();
            Vector::new(values.map(|x| middle + 0.5 * x).collect(), device)
        };
        let table = case.rope.map(|(rotary_dim, style)| {
            RopeTable::new(head_dim, rotary_dim, 1e4, None, 1.0, MAX_POSITIONS, style)?.on(device)
        });
        Ok(Self {
            case,
            device,
            cpu,
            cache: KvCache::new(
                case.kv_dtype,
                NUM_BLOCKS,
                kv_heads,
                BLOCK_SIZE,
                head_dim,
                device,
            )?,
            table: table.transpose()?,
            norms: [around(1.0, head_dim)?, around(1.0, head_dim)?],
            // Of the weight of some hundred tokens.
            sinks: around(5.0, num_heads)?,
        })
    }

    pub fn row_len(&self) -> usize {
        let (num_heads, kv_heads, head_dim) = self.case.heads;
        (num_heads + 2 * kv_heads) * head_dim
    }

    /// Stores rows of each sequence. Gives them, with their queries turned.
    pub fn store(
        &self,
        sequences: &[Sequence],
        rows: impl Fn(&Sequence) -> Range<usize>,
    ) -> Result<Vec<f32>> {
        let (case, row_len) = (self.case, self.row_len());
        let (mut positions, mut slots, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for sequence in sequences {
            let rows = rows(sequence);
            positions.extend(rows.clone().map(|i| i as u32));
            slots.extend(rows.clone().map(|i| sequence.slot(i)));
            let all = uniform(&mut Rng::keyed(7, sequence.number), rows.end * row_len);
            values.extend_from_slice(&all[rows.start * row_len..]);
        }
        // Of 16 bits on both devices.
        let qkv = Tensor::from_slice(&values, (positions.len(), row_len))?;
        let qkv = qkv.to_device(case.half, &Device::Cpu)?;
        let mut at = Numbers::from(&positions);
        let mut places = Slots::new(&slots, NUM_BLOCKS * BLOCK_SIZE)?;
        let qkv = match self.device {
            Device::Cpu => qkv.to_device(DType::F32, self.device)?,
            Device::Cuda(cuda) => {
                at.put_on_card(sent(&positions, cuda)?);
                places.put_on_card(sent(&slots, cuda)?);
                qkv.to_device(case.half, self.device)?
            }
        };
        let [q, k] = &self.norms;
        let norm = case.has_norm.then_some(QkNorm { q, k, eps: 1e-5 });
        let table = self.table.as_ref();
        rope_store(&qkv, &self.cache, at, &places, norm, table, self.cpu)?;
        Ok(qkv.to_vec()?)
    }

    /// What the new rows see, and how a card went through spans.
    pub fn attend(&self, sequences: &[Sequence], qkv: &[f32]) -> Result<(Vec<f32>, Vec<Spans>)> {
        let (case, row_len) = (self.case, self.row_len());
        let (mut starts, mut offsets, mut tables) = (vec![0], vec![0], Vec::new());
        for sequence in sequences {
            tables.extend((0..sequence.context.div_ceil(BLOCK_SIZE)).map(|i| sequence.block(i)));
            starts.push(starts[starts.len() - 1] + sequence.num_new as u32);
            offsets.push(tables.len() as u32);
        }
        let contexts: Vec<u32> = sequences.iter().map(|s| s.context as u32).collect();
        let sizes = (NUM_BLOCKS, BLOCK_SIZE);
        let mut batch =
            AttentionBatch::new(&starts, &contexts, &tables, &offsets, sizes.0, sizes.1)?;
        let mut spans = Vec::new();
        let dtype = match self.device {
            Device::Cpu => DType::F32,
            Device::Cuda(cuda) => {
                let windows = vec![case.window];
                let cutter = BatchCutter::new(cuda, windows, case.heads, case.max_model_len)?;
                let mut buffer = NumberBuffer::new(cuda, 1 << 14)?;
                let cut = cutter.cut(&batch, &mut buffer);
                spans = cut.spans();
                buffer.send()?;
                batch.put_on_card(cut, &buffer)?;
                case.attended_half()
            }
        };
        let num_rows = qkv.len() / row_len;
        let qkv = Tensor::from_slice(qkv, (num_rows, row_len))?.to_device(dtype, self.device)?;
        let out = poison((num_rows, case.width()), dtype, self.device)?;
        let params = AttentionParams {
            scale: case.scale / (case.heads.2 as f32).sqrt(),
            window: case.window,
            softcap: case.softcap,
            sinks: case.has_sinks.then_some(&self.sinks),
        };
        paged_attention(&out, &qkv, &self.cache, &batch, params, self.cpu)?;
        Ok((out.to_vec()?, spans))
    }
}
