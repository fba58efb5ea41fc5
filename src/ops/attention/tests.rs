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
        let batch = AttentionBatch {
            cu_seqlens_q: &cu_seqlens_q,
            context_lens: &context_lens,
            block_tables: &tables,
            block_table_offsets: &offsets,
        };
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
fn batches_that_do_not_fit_are_errors_naming_the_field() {
    let cpu = Cpu::new(1).unwrap();
    let cache = |block_size, dim| {
        Tensor::zeros(
            (2, 2, 1, block_size, dim),
            candle_core::DType::F16,
            &Device::Cpu,
        )
        .unwrap()
    };
    let q = tensor(&[0.0; 16], (2, 8));
    let good = AttentionBatch {
        cu_seqlens_q: &[0, 2],
        context_lens: &[20],
        block_tables: &[0, 1],
        block_table_offsets: &[0, 2],
    };
    let attend = |cache: &Tensor, batch: &AttentionBatch<'_>| {
        paged_attention(&tensor(&[0.0; 16], (2, 8)), &q, cache, batch, 1.0, &cpu)
            .map_err(|e| e.to_string())
    };
    let fit = cache(16, 8);
    attend(&fit, &good).unwrap();
    let expect = |batch: AttentionBatch<'_>, what: &str| {
        let error = attend(&fit, &batch).unwrap_err();
        assert!(error.contains(what), "{error}");
    };
    expect(
        AttentionBatch {
            cu_seqlens_q: &[0, 3],
            ..good
        },
        "cu_seqlens_q",
    );
    expect(
        AttentionBatch {
            cu_seqlens_q: &[0],
            ..good
        },
        "cu_seqlens_q",
    );
    expect(
        AttentionBatch {
            context_lens: &[1],
            ..good
        },
        "context_lens[0] is 1",
    );
    expect(
        AttentionBatch {
            context_lens: &[33],
            ..good
        },
        "has 2 blocks",
    );
    expect(
        AttentionBatch {
            block_tables: &[0, 2],
            ..good
        },
        "block 1 of sequence 0 is 2",
    );
    expect(
        AttentionBatch {
            block_table_offsets: &[1, 2],
            ..good
        },
        "block_table_offsets",
    );
    assert!(
        attend(&cache(8, 8), &good)
            .unwrap_err()
            .contains("block_size")
    );
    assert!(
        attend(&cache(16, 12), &good)
            .unwrap_err()
            .contains("D must be")
    );
    assert!(
        attend(&cache(16, 16), &good)
            .unwrap_err()
            .contains("paged_attention: q")
    );
}
