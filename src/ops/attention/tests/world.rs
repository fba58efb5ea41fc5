//! Sequences with random queries, keys and values, their cache, and attention by the formula.

use super::super::super::testing::{Random, tensor, view};
use super::super::super::{KvCache, KvDtype, Slots, Tensor, rope_store};
use super::super::{AttentionBatch, AttentionParams, paged_attention};
use crate::backend::Device;
use crate::backend::cpu::Cpu;

pub const BLOCK_SIZE: usize = 32;

#[derive(Clone, Copy)]
pub struct Heads {
    pub query: usize,
    pub kv: usize,
    pub dim: usize,
}

/// A sequence with its queries for all positions, its tokens in a cache shared with others.
pub struct Sequence {
    pub q: Vec<f32>,
    /// Keys and values, by token and head: 64ths up to 127, which all dtypes hold exactly.
    kv: [Vec<f32>; 2],
    blocks: Vec<u32>,
}

pub struct World {
    heads: Heads,
    num_blocks: usize,
    cache: KvCache,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
    pub sinks: Option<Vec<f32>>,
    pub sequences: Vec<Sequence>,
}

impl World {
    /// Slots that no token has are NaN.
    pub fn random(
        heads: Heads,
        dtype: KvDtype,
        context_lens: &[usize],
        random: &mut Random,
    ) -> Self {
        let num_used: usize = context_lens
            .iter()
            .map(|len| len.div_ceil(BLOCK_SIZE))
            .sum();
        let num_blocks = num_used + 3;
        let mut free: Vec<u32> = (0..num_blocks as u32).collect();
        (1..num_blocks).for_each(|i| free.swap(i, random.below(i + 1)));
        let (kv, dim) = (heads.kv, heads.dim);
        let cache = KvCache::new(dtype, num_blocks, kv, BLOCK_SIZE, dim, &Device::Cpu).unwrap();
        let kv_width = heads.kv * heads.dim;
        let sequence = |&context_len: &usize| Sequence {
            q: random.floats(context_len * heads.query * heads.dim, 2.0),
            kv: [0; 2].map(|_| {
                let mut values = random.floats(context_len * kv_width, 127.0);
                values.iter_mut().for_each(|x| *x = x.round() / 64.0);
                values
                    .iter_mut()
                    .step_by(dim)
                    .for_each(|x| *x = 127.0 / 64.0);
                values
            }),
            blocks: free.split_off(free.len() - context_len.div_ceil(BLOCK_SIZE)),
        };
        let world = Self {
            heads,
            num_blocks,
            cache,
            window: None,
            softcap: None,
            sinks: None,
            sequences: context_lens.iter().map(sequence).collect(),
        };
        for slot in 0..num_blocks * BLOCK_SIZE {
            world.store(
                slot as u32,
                &vec![f32::NAN; kv_width],
                &vec![f32::NAN; kv_width],
            );
        }
        for (s, &context_len) in context_lens.iter().enumerate() {
            (0..context_len).for_each(|token| world.store_token(s, token));
        }
        world
    }

    /// At position 0 keys do not turn.
    fn store(&self, slot: u32, k: &[f32], v: &[f32]) {
        let qkv = tensor(&[k, v].concat(), (1, 2 * k.len()));
        let slots = [slot];
        let slots = Slots::new(&slots, self.num_blocks * BLOCK_SIZE).unwrap();
        rope_store(
            &qkv,
            &self.cache,
            &[0],
            &slots,
            None,
            None,
            &Cpu::new(1).unwrap(),
        )
        .unwrap();
    }

    fn store_token(&self, s: usize, token: usize) {
        let Sequence {
            kv: [k, v], blocks, ..
        } = &self.sequences[s];
        let width = self.heads.kv * self.heads.dim;
        let slot = blocks[token / BLOCK_SIZE] as usize * BLOCK_SIZE + token % BLOCK_SIZE;
        let part = token * width..(token + 1) * width;
        self.store(slot as u32, &k[part.clone()], &v[part]);
    }

    /// Stores `x` as value d of the keys (which 0) or values (1) of a token, in every head.
    pub fn poison(&mut self, s: usize, token: usize, which: usize, d: usize, x: f32) {
        let Heads { kv, dim, .. } = self.heads;
        for head in 0..kv {
            self.sequences[s].kv[which][(token * kv + head) * dim + d] = x;
        }
        self.store_token(s, token);
    }

    pub fn scale(&self) -> f32 {
        1.0 / (self.heads.dim as f32).sqrt()
    }

    /// Attention of the rows `from..to` (positions) of some sequences, in one call: `[rows, width]`.
    pub fn attend(&self, parts: &[(usize, usize, usize)], cpu: &Cpu) -> Tensor {
        let width = self.heads.query * self.heads.dim;
        let (mut q, mut tables) = (Vec::new(), Vec::new());
        let (mut cu_seqlens_q, mut context_lens, mut offsets) = (vec![0], Vec::new(), vec![0]);
        for &(s, from, to) in parts {
            q.extend_from_slice(&self.sequences[s].q[from * width..to * width]);
            cu_seqlens_q.push((q.len() / width) as u32);
            context_lens.push(to as u32);
            tables.extend_from_slice(&self.sequences[s].blocks);
            offsets.push(tables.len() as u32);
        }
        let num_rows = q.len() / width;
        let (buffer, out) = view(&vec![9.0; q.len()], (num_rows, width));
        let batch = AttentionBatch::new(
            &cu_seqlens_q,
            &context_lens,
            &tables,
            &offsets,
            self.num_blocks,
            BLOCK_SIZE,
        )
        .unwrap();
        paged_attention(
            &out,
            &view(&q, (num_rows, width)).1,
            &self.cache,
            &batch,
            AttentionParams {
                scale: self.scale(),
                window: self.window,
                softcap: self.softcap,
                sinks: self.sinks.clone().map(Into::into).as_ref(),
            },
            cpu,
        )
        .unwrap();
        buffer.assert_margins_untouched();
        out
    }

    /// The formula in f64, for the row at `position` of sequence s.
    pub fn naive(&self, s: usize, position: usize) -> Vec<f64> {
        let Heads { query, kv, dim } = self.heads;
        let sequence = &self.sequences[s];
        let cached = |which: usize, head: usize, token: usize| {
            sequence.kv[which][(token * kv + head) * dim..][..dim]
                .iter()
                .map(|&x| f64::from(x))
                .collect::<Vec<_>>()
        };
        let mut out = Vec::new();
        for head in 0..query {
            let q = &sequence.q[(position * query + head) * dim..][..dim];
            let kv_head = head / (query / kv);
            let hidden = (position + 1).saturating_sub(self.window.unwrap_or(usize::MAX));
            let weights: Vec<f64> = (0..=position)
                .map(|token| {
                    if token < hidden {
                        return 0.0;
                    }
                    let key = cached(0, kv_head, token);
                    let score: f64 = q.iter().zip(&key).map(|(q, k)| f64::from(*q) * k).sum();
                    let score = score * f64::from(self.scale());
                    match self.softcap.map(f64::from) {
                        Some(cap) => (cap * (score / cap).tanh()).exp(),
                        None => score.exp(),
                    }
                })
                .collect();
            let mut sums = vec![0.0; dim];
            for (token, weight) in weights.iter().enumerate() {
                for (sum, v) in sums.iter_mut().zip(cached(1, kv_head, token)) {
                    *sum += weight * v;
                }
            }
            let sink = self
                .sinks
                .as_ref()
                .map(|sinks| f64::from(sinks[head]).exp());
            let total: f64 = weights.iter().sum::<f64>() + sink.unwrap_or(0.0);
            out.extend(sums.iter().map(|sum| sum / total));
        }
        out
    }
}
