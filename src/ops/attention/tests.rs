use candle_core::{Device, Tensor};
use half::f16;

use super::super::testing::{Random, bits, cpus, tensor, view};
use super::super::{KvCache, KvDtype, RopeStyle, RopeTable, Slots, rope_store};
use super::{AttentionBatch, paged_attention};
use crate::backend::cpu::Cpu;

const BLOCK_SIZE: usize = 32;

#[derive(Clone, Copy)]
struct Heads {
    query: usize,
    kv: usize,
    dim: usize,
}

/// A sequence with its queries for all positions, its tokens in a cache shared with others.
struct Sequence {
    q: Vec<f32>,
    /// Keys and values, by token and head, representable in f16.
    kv: [Vec<f32>; 2],
    blocks: Vec<u32>,
}

struct World {
    heads: Heads,
    num_blocks: usize,
    cache: KvCache,
    sequences: Vec<Sequence>,
}

impl World {
    /// Slots that no token has are NaN.
    fn random(heads: Heads, dtype: KvDtype, context_lens: &[usize], random: &mut Random) -> Self {
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
                let values = random.floats(context_len * kv_width, 2.0);
                let rounded = |x| f16::from_f32(x).to_f32();
                values.into_iter().map(rounded).collect()
            }),
            blocks: free.split_off(free.len() - context_len.div_ceil(BLOCK_SIZE)),
        };
        let world = Self {
            heads,
            num_blocks,
            cache,
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
        let dim = self.heads.dim;
        let table = RopeTable::new(dim, dim, 1e4, None, 1.0, 1, RopeStyle::Half).unwrap();
        let qkv = tensor(&[k, v].concat(), (1, 2 * k.len()));
        let slots = [slot];
        let slots = Slots::new(&slots, self.num_blocks * BLOCK_SIZE).unwrap();
        rope_store(
            &qkv,
            &self.cache,
            &[0],
            &slots,
            None,
            &table,
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
    fn poison(&mut self, s: usize, token: usize, which: usize, d: usize, x: f32) {
        let Heads { kv, dim, .. } = self.heads;
        for head in 0..kv {
            self.sequences[s].kv[which][(token * kv + head) * dim + d] = x;
        }
        self.store_token(s, token);
    }

    fn scale(&self) -> f32 {
        1.0 / (self.heads.dim as f32).sqrt()
    }

    /// Attention of the rows `from..to` (positions) of some sequences, in one call: `[rows, width]`.
    fn attend(&self, parts: &[(usize, usize, usize)], cpu: &Cpu) -> Tensor {
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
            self.scale(),
            cpu,
        )
        .unwrap();
        buffer.assert_margins_untouched();
        out
    }

    /// The formula in f64, for the row at `position` of sequence s.
    fn naive(&self, s: usize, position: usize) -> Vec<f64> {
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
            let weights: Vec<f64> = (0..=position)
                .map(|token| {
                    let key = cached(0, kv_head, token);
                    let score: f64 = q.iter().zip(&key).map(|(q, k)| f64::from(*q) * k).sum();
                    (score * f64::from(self.scale())).exp()
                })
                .collect();
            let mut sums = vec![0.0; dim];
            for (token, weight) in weights.iter().enumerate() {
                for (sum, v) in sums.iter_mut().zip(cached(1, kv_head, token)) {
                    *sum += weight * v;
                }
            }
            let total: f64 = weights.iter().sum();
            out.extend(sums.iter().map(|sum| sum / total));
        }
        out
    }
}

#[test]
fn mixed_batches_are_within_a_hundred_thousandth_of_the_formula_and_the_same_everywhere() {
    let mut random = Random::new(1);
    for heads in [
        Heads {
            query: 9,
            kv: 3,
            dim: 64,
        },
        Heads {
            query: 4,
            kv: 4,
            dim: 8,
        },
        Heads {
            query: 8,
            kv: 1,
            dim: 24,
        },
        Heads {
            query: 2,
            kv: 1,
            dim: 256,
        },
    ] {
        let world = World::random(heads, KvDtype::F16, &[300, 1, 33, 17, 70], &mut random);
        // A decode, a first token, a whole prompt, a sequence without rows, a later chunk.
        let parts = [
            (0, 299, 300),
            (1, 0, 1),
            (2, 0, 33),
            (3, 17, 17),
            (4, 21, 70),
        ];
        let all: Vec<Tensor> = cpus().iter().map(|cpu| world.attend(&parts, cpu)).collect();
        assert!(
            all.iter().all(|one| bits(one) == bits(&all[0])),
            "instructions and threads change no bit"
        );
        let rows = parts
            .iter()
            .flat_map(|&(s, from, to)| (from..to).map(move |position| (s, position)));
        let got = all[0].to_vec2::<f32>().unwrap();
        assert_eq!(got.len(), rows.clone().count());
        for ((s, position), got) in rows.zip(&got).step_by(7) {
            for (got, want) in got.iter().zip(world.naive(s, position)) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-5,
                    "sequence {s} row {position}: {got} {want}"
                );
            }
        }
    }
}

#[test]
fn chunks_batches_and_single_rows_give_the_bits_of_the_whole_prompt() {
    let world = World::random(
        Heads {
            query: 6,
            kv: 2,
            dim: 40,
        },
        KvDtype::F16,
        &[600, 90],
        &mut Random::new(2),
    );
    let cpu = Cpu::new(2).unwrap();
    let whole = bits(&world.attend(&[(0, 0, 600)], &cpu));
    let width = 240;
    for edges in [
        &[0, 600][..],
        &[0, 5, 256, 257, 600],
        &[0, 16, 272, 511, 512, 599, 600],
    ] {
        for pair in edges.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let part = world.attend(&[(1, 40, 90), (0, from, to), (1, 89, 90)], &cpu);
            let part = part.narrow(0, 50, to - from).unwrap();
            assert!(
                bits(&part) == whole[from * width..to * width],
                "rows {from}..{to}"
            );
        }
    }
    for row in [0, 15, 16, 255, 256, 300, 511, 599] {
        assert!(
            bits(&world.attend(&[(0, row, row + 1)], &cpu)) == whole[row * width..][..width],
            "row {row}"
        );
    }
}

#[test]
fn large_scores_do_not_overflow() {
    let mut world = World::random(
        Heads {
            query: 1,
            kv: 1,
            dim: 8,
        },
        KvDtype::F16,
        &[40],
        &mut Random::new(3),
    );
    world.sequences[0].q.iter_mut().for_each(|q| *q *= 1e4);
    for cpu in cpus() {
        let out = world.attend(&[(0, 0, 40)], &cpu).to_vec2::<f32>().unwrap();
        assert!(
            out.iter()
                .flatten()
                .all(|x| x.is_finite() && x.abs() <= 2.0)
        );
    }
}

#[test]
fn what_a_later_token_holds_changes_no_bit_of_a_row() {
    let heads = Heads {
        query: 6,
        kv: 2,
        dim: 24,
    };
    let width = 144;
    for bad in 1..40 {
        let mut world = World::random(heads, KvDtype::F16, &[40], &mut Random::new(4));
        let clean = world.attend(&[(0, 0, 40)], &Cpu::new(1).unwrap());
        world.poison(0, bad, 1, 3, f32::INFINITY);
        world.poison(0, bad, 1, 4, f32::NAN);
        world.poison(0, bad, 1, 23, f32::NEG_INFINITY);
        for cpu in cpus() {
            let whole = world.attend(&[(0, 0, 40)], &cpu);
            let first = world.attend(&[(0, 0, bad)], &cpu);
            assert_eq!(bits(&first), bits(&clean)[..bad * width], "token {bad}");
            assert!(
                bits(&whole)[..bad * width] == bits(&first),
                "values of token {bad} show in an earlier row"
            );
            let seeing = &whole.to_vec2::<f32>().unwrap()[bad..];
            assert!(seeing.iter().all(|row| !row[3].is_finite()
                && row[4].is_nan()
                && row[5].is_finite()
                && !row[23].is_finite()));
        }
        world.poison(0, bad, 0, 5, f32::NAN);
        for cpu in cpus() {
            let whole = world.attend(&[(0, 0, 40)], &cpu);
            assert!(
                bits(&whole)[..bad * width] == bits(&clean)[..bad * width],
                "keys of token {bad} show in an earlier row"
            );
        }
    }
}

#[test]
fn batches_that_do_not_fit_are_errors_naming_the_field() {
    let expect = |cu: &[u32], lens: &[u32], tables: &[u32], offsets: &[u32], what: &str| {
        let error = AttentionBatch::new(cu, lens, tables, offsets, 2, 16).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    };
    expect(&[0], &[20], &[0, 1], &[0, 2], "cu_seqlens_q must have 2");
    expect(&[1, 2], &[20], &[0, 1], &[0, 2], "cu_seqlens_q must ascend");
    expect(&[0, 2], &[1], &[0, 1], &[0, 2], "context_lens[0] is 1");
    expect(&[0, 2], &[33], &[0, 1], &[0, 2], "has 2 blocks");
    expect(
        &[0, 2],
        &[20],
        &[0, 2],
        &[0, 2],
        "block 1 of sequence 0 is 2",
    );
    expect(
        &[0, 2],
        &[20],
        &[0, 1],
        &[1, 2],
        "block_table_offsets must ascend",
    );
    expect(
        &[0, 2],
        &[20],
        &[0, 1],
        &[0, 3],
        "block_table_offsets end at 3",
    );
    for block_size in [0, 8] {
        let error = AttentionBatch::new(&[0], &[], &[], &[0], 2, block_size).unwrap_err();
        assert!(error.to_string().contains("block_size"), "{error}");
    }
}

#[test]
fn tensors_that_do_not_fit_the_batch_are_errors_naming_the_argument() {
    let cpu = Cpu::new(1).unwrap();
    let batch = AttentionBatch::new(&[0, 2], &[20], &[0, 1], &[0, 2], 2, 16).unwrap();
    let attend = |num_rows: usize, num_blocks: usize, block_size: usize, dim: usize| {
        let cache =
            KvCache::new(KvDtype::F16, num_blocks, 1, block_size, dim, &Device::Cpu).unwrap();
        let rows = || tensor(&vec![0.0; num_rows * 8], (num_rows, 8));
        paged_attention(&rows(), &rows(), &cache, &batch, 1.0, &cpu).map_err(|e| e.to_string())
    };
    attend(2, 2, 16, 8).unwrap();
    for (result, what) in [
        (attend(3, 2, 16, 8), "paged_attention: out"),
        (attend(2, 1, 16, 8), "cache of 2 blocks of 16 tokens"),
        (attend(2, 2, 32, 8), "cache has 2 of 32"),
        (attend(2, 2, 16, 16), "no multiple of 1 key-value heads"),
    ] {
        let error = result.unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}
