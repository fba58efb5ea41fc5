use candle_core::{Device, Tensor};
use half::f16;

use super::super::testing::{Random, bits, cpus, tensor, view};
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
    blocks: Vec<u32>,
}

struct World {
    heads: Heads,
    cache: Tensor,
    sequences: Vec<Sequence>,
}

impl World {
    /// Slots that no token has are NaN.
    fn random(heads: Heads, context_lens: &[usize], random: &mut Random) -> Self {
        let num_used: usize = context_lens
            .iter()
            .map(|len| len.div_ceil(BLOCK_SIZE))
            .sum();
        let num_blocks = num_used + 3;
        let mut free: Vec<u32> = (0..num_blocks as u32).collect();
        (1..num_blocks).for_each(|i| free.swap(i, random.below(i + 1)));
        let block_len = 2 * heads.kv * BLOCK_SIZE * heads.dim;
        let mut cache = vec![f16::NAN; num_blocks * block_len];
        let mut sequences = Vec::new();
        for &context_len in context_lens {
            let blocks = free.split_off(free.len() - context_len.div_ceil(BLOCK_SIZE));
            for token in 0..context_len {
                let block = blocks[token / BLOCK_SIZE] as usize;
                for head in 0..2 * heads.kv {
                    let start = ((block * 2 * heads.kv + head) * BLOCK_SIZE + token % BLOCK_SIZE)
                        * heads.dim;
                    for (slot, x) in cache[start..][..heads.dim]
                        .iter_mut()
                        .zip(random.floats(heads.dim, 2.0))
                    {
                        *slot = f16::from_f32(x);
                    }
                }
            }
            sequences.push(Sequence {
                q: random.floats(context_len * heads.query * heads.dim, 2.0),
                blocks,
            });
        }
        let shape = (num_blocks, 2, heads.kv, BLOCK_SIZE, heads.dim);
        Self {
            heads,
            cache: Tensor::from_vec(cache, shape, &Device::Cpu).unwrap(),
            sequences,
        }
    }

    /// Stores `x` as value d of the keys (which 0) or values (1) of a token, in every head.
    fn poison(&mut self, s: usize, token: usize, which: usize, d: usize, x: f16) {
        let Heads { kv, dim, .. } = self.heads;
        let shape = self.cache.shape().clone();
        let mut cache = self.cache.flatten_all().unwrap().to_vec1::<f16>().unwrap();
        let block = self.sequences[s].blocks[token / BLOCK_SIZE] as usize;
        for head in 0..kv {
            let row = ((block * 2 + which) * kv + head) * BLOCK_SIZE + token % BLOCK_SIZE;
            cache[row * dim + d] = x;
        }
        self.cache = Tensor::from_vec(cache, shape, &Device::Cpu).unwrap();
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
            self.cache.dim(0).unwrap(),
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
        let cache = self.cache.flatten_all().unwrap().to_vec1::<f16>().unwrap();
        let cached = |which: usize, head: usize, token: usize| {
            let block = sequence.blocks[token / BLOCK_SIZE] as usize;
            let start = (((block * 2 + which) * kv + head) * BLOCK_SIZE + token % BLOCK_SIZE) * dim;
            cache[start..start + dim]
                .iter()
                .map(|x| x.to_f64())
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
        let world = World::random(heads, &[300, 1, 33, 17, 70], &mut random);
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
        let mut world = World::random(heads, &[40], &mut Random::new(4));
        let clean = world.attend(&[(0, 0, 40)], &Cpu::new(1).unwrap());
        world.poison(0, bad, 1, 3, f16::INFINITY);
        world.poison(0, bad, 1, 4, f16::NAN);
        world.poison(0, bad, 1, 23, f16::NEG_INFINITY);
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
        world.poison(0, bad, 0, 5, f16::NAN);
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
        let shape = (num_blocks, 2, 1, block_size, dim);
        let cache = Tensor::zeros(shape, candle_core::DType::F16, &Device::Cpu).unwrap();
        let rows = || tensor(&vec![0.0; num_rows * 8], (num_rows, 8));
        paged_attention(&rows(), &rows(), &cache, &batch, 1.0, &cpu).map_err(|e| e.to_string())
    };
    attend(2, 2, 16, 8).unwrap();
    for (result, what) in [
        (attend(3, 2, 16, 8), "paged_attention: q"),
        (attend(2, 1, 16, 8), "cache of 2 blocks of 16 tokens"),
        (attend(2, 2, 32, 8), "cache has 2 of 32"),
        (attend(2, 2, 16, 12), "D must be"),
        (attend(2, 2, 16, 16), "no multiple of 1 key-value heads"),
    ] {
        let error = result.unwrap_err();
        assert!(error.contains(what), "{error}");
    }
}
