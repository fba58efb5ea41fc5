mod params;
mod world;

use super::super::testing::{Random, bits, cpus, tensor};
use super::super::{KvCache, KvDtype, Tensor};
use super::{AttentionBatch, AttentionParams, paged_attention};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use world::{BLOCK_SIZE, Heads, World};

const DTYPES: [KvDtype; 3] = [KvDtype::F16, KvDtype::Bf16, KvDtype::Int8];

#[test]
fn mixed_batches_are_within_a_hundred_thousandth_of_the_formula_and_the_same_everywhere() {
    let mut random = Random::new(1);
    let all_heads = [
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
    ];
    for (heads, dtype) in all_heads
        .iter()
        .flat_map(|&heads| DTYPES.map(|dtype| (heads, dtype)))
    {
        let world = World::random(heads, dtype, &[300, 1, 33, 17, 70], &mut random);
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
        let got = all[0].to_rows().unwrap();
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
    for dtype in DTYPES {
        let heads = Heads {
            query: 6,
            kv: 2,
            dim: 40,
        };
        let world = World::random(heads, dtype, &[600, 90], &mut Random::new(2));
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
                let part = part.narrow(50, to - from).unwrap();
                assert!(
                    bits(&part) == whole[from * width..to * width],
                    "{dtype}, rows {from}..{to}"
                );
            }
        }
        for row in [0, 15, 16, 255, 256, 300, 511, 599] {
            assert!(
                bits(&world.attend(&[(0, row, row + 1)], &cpu)) == whole[row * width..][..width],
                "{dtype}, row {row}"
            );
        }
    }
}

#[test]
fn a_window_hides_what_is_before_it_and_gives_the_same_bits_in_any_chunks() {
    let heads = Heads {
        query: 6,
        kv: 2,
        dim: 40,
    };
    let width = 240;
    for (dtype, window) in DTYPES
        .into_iter()
        .flat_map(|dtype| [1, 17, 64, 100, 256, 300, 599].map(|window| (dtype, window)))
    {
        let mut world = World::random(heads, dtype, &[600, 90], &mut Random::new(5));
        world.window = Some(window);
        let all: Vec<Tensor> = cpus()
            .iter()
            .map(|cpu| world.attend(&[(0, 0, 600)], cpu))
            .collect();
        assert!(all.iter().all(|one| bits(one) == bits(&all[0])));
        for (position, got) in all[0].to_rows().unwrap().iter().enumerate() {
            if position % 37 != 0 && position != 599 {
                continue;
            }
            for (got, want) in got.iter().zip(world.naive(0, position)) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-5,
                    "window {window}, row {position}: {got} {want}"
                );
            }
        }
        let (whole, cpu) = (bits(&all[0]), Cpu::new(2).unwrap());
        for (from, to) in [(0, 5), (5, 256), (256, 257), (257, 599), (599, 600)] {
            let part = world.attend(&[(1, 40, 90), (0, from, to), (1, 89, 90)], &cpu);
            let part = part.narrow(50, to - from).unwrap();
            assert!(
                bits(&part) == whole[from * width..to * width],
                "{dtype}, window {window}, rows {from}..{to}"
            );
        }
        for row in [0, 16, 255, 256, 300, 355, 511, 599] {
            assert!(
                bits(&world.attend(&[(0, row, row + 1)], &cpu)) == whole[row * width..][..width],
                "{dtype}, window {window}, row {row}"
            );
        }
    }
}

#[test]
fn selected_rows_see_what_they_saw_in_the_batch() {
    let (cu_seqlens_q, context_lens, tables, offsets) = (
        [0, 40, 41],
        [300, 20],
        (0..12).collect::<Vec<u32>>(),
        [0, 10, 11],
    );
    let tables = &tables[..11];
    let batch = AttentionBatch::new(
        &cu_seqlens_q,
        &context_lens,
        tables,
        &offsets,
        12,
        BLOCK_SIZE,
    )
    .unwrap();
    let selected = batch.select(&[40, 0, 17, 39]).unwrap();
    let seen: Vec<_> = selected
        .chunks
        .iter()
        .map(|chunk| (chunk.rows.clone(), chunk.visible, chunk.blocks[0]))
        .collect();
    assert_eq!(
        seen,
        [
            (0..1, 20, 10),
            (1..2, 261, 0),
            (2..3, 278, 0),
            (3..4, 300, 0)
        ]
    );
    let error = batch.select(&[1, 41]).unwrap_err().to_string();
    assert!(error.contains("rows[1] is 41"), "{error}");
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
        let out = world.attend(&[(0, 0, 40)], &cpu).to_rows().unwrap();
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
            let seeing = &whole.to_rows().unwrap()[bad..];
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
fn what_a_token_before_the_window_holds_changes_no_bit_of_a_row() {
    let heads = Heads {
        query: 6,
        kv: 2,
        dim: 24,
    };
    for (bad, window) in [(0, 17), (15, 17), (16, 20), (70, 30), (255, 64)] {
        let mut world = World::random(heads, KvDtype::F16, &[400], &mut Random::new(6));
        world.window = Some(window);
        let after = (bad + window, 400);
        let clean = world.attend(&[(0, after.0, after.1)], &Cpu::new(1).unwrap());
        world.poison(0, bad, 0, 5, f32::NAN);
        world.poison(0, bad, 1, 3, f32::INFINITY);
        for cpu in cpus() {
            let rows = world.attend(&[(0, after.0, after.1)], &cpu);
            assert!(bits(&rows) == bits(&clean), "token {bad}, window {window}");
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
        let params = AttentionParams::default();
        paged_attention(&rows(), &rows(), &cache, &batch, params, &cpu).map_err(|e| e.to_string())
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
