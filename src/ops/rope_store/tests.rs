use half::f16;

use super::super::testing::{Random, bits, cpus, tensor, view};
use super::super::{KvCache, KvDtype, RopeStyle, RopeTable, Slots, Tensor, Vector};
use super::{QkNorm, rope_store};
use crate::backend::Device;
use crate::backend::cpu::Cpu;

const HEAD_DIM: usize = 16;
const ROTARY_DIM: usize = 12;
const NUM_HEADS: usize = 5;
const NUM_KV_HEADS: usize = 2;
const WIDTH: usize = (NUM_HEADS + 2 * NUM_KV_HEADS) * HEAD_DIM;
const NUM_BLOCKS: usize = 10;
const BLOCK_SIZE: usize = 32;

fn cache(dtype: KvDtype) -> KvCache {
    let device = Device::Cpu;
    KvCache::new(
        dtype,
        NUM_BLOCKS,
        NUM_KV_HEADS,
        BLOCK_SIZE,
        HEAD_DIM,
        &device,
    )
    .unwrap()
}

fn factors() -> Vec<f32> {
    (0..ROTARY_DIM / 2).map(|i| 1.0 + i as f32).collect()
}

fn table(style: RopeStyle) -> RopeTable {
    let factors = factors();
    RopeTable::new(
        HEAD_DIM,
        ROTARY_DIM,
        10_000.0,
        Some(&factors),
        2.0,
        1000,
        style,
    )
    .unwrap()
}

/// A head by the formulas, in f64.
fn naive(head: &[f32], weight: Option<&[f32]>, position: u32, style: RopeStyle) -> Vec<f64> {
    let mut head: Vec<f64> = head.iter().map(|&x| f64::from(x)).collect();
    if let Some(weight) = weight {
        let mean = head.iter().map(|x| x * x).sum::<f64>() / head.len() as f64;
        for (x, &w) in head.iter_mut().zip(weight) {
            *x = *x / (mean + 1e-5).sqrt() * f64::from(w);
        }
    }
    for (i, &factor) in factors().iter().enumerate() {
        let frequency = 10_000f64.powf(-2.0 * i as f64 / ROTARY_DIM as f64) / f64::from(factor);
        let (sin, cos) = (f64::from(position) / 2.0 * frequency).sin_cos();
        let (p, q) = match style {
            RopeStyle::Half => (i, i + ROTARY_DIM / 2),
            RopeStyle::Interleaved => (2 * i, 2 * i + 1),
        };
        (head[p], head[q]) = (head[p] * cos - head[q] * sin, head[q] * cos + head[p] * sin);
    }
    head
}

#[test]
fn heads_are_normalised_and_turned_and_land_rounded_in_their_slots() {
    let num_rows = 300;
    let mut random = Random::new(5);
    let x = random.floats(num_rows * WIDTH, 2.0);
    let positions: Vec<u32> = (0..num_rows).map(|_| random.below(1000) as u32).collect();
    let mut slots: Vec<u32> = (0..(NUM_BLOCKS * BLOCK_SIZE) as u32).collect();
    (1..slots.len()).for_each(|i| slots.swap(i, random.below(i + 1)));
    let slots = &slots[..num_rows];
    let mut weight = || Vector::from(random.floats(HEAD_DIM, 2.0));
    let (q_weight, k_weight) = (weight(), weight());
    let norm = QkNorm {
        q: &q_weight,
        k: &k_weight,
        eps: 1e-5,
    };
    for (style, norm) in [
        (RopeStyle::Interleaved, None),
        (RopeStyle::Half, None),
        (RopeStyle::Half, Some(norm)),
    ] {
        let mut all = Vec::new();
        for cpu in cpus() {
            let cache = cache(KvDtype::F16);
            let (buffer, qkv) = view(&x, (num_rows, WIDTH));
            let checked = Slots::new(slots, NUM_BLOCKS * BLOCK_SIZE).unwrap();
            rope_store(
                &qkv,
                &cache,
                &positions,
                &checked,
                norm,
                Some(&table(style)),
                &cpu,
            )
            .unwrap();
            buffer.assert_margins_untouched();
            let stored = cache.data.cpu("cache").unwrap();
            let stored = stored.flatten_all().unwrap().to_vec1::<f16>().unwrap();
            let mut num_stored = 0;
            for (row, got) in qkv.to_rows().unwrap().iter().enumerate() {
                let x = &x[row * WIDTH..][..WIDTH];
                let (block, offset) = (
                    slots[row] as usize / BLOCK_SIZE,
                    slots[row] as usize % BLOCK_SIZE,
                );
                for (head, x) in x.chunks(HEAD_DIM).enumerate() {
                    let got = &got[head * HEAD_DIM..][..HEAD_DIM];
                    let weight = norm.map(|norm| if head < NUM_HEADS { norm.q } else { norm.k });
                    let is_value = head >= NUM_HEADS + NUM_KV_HEADS;
                    let want = match is_value {
                        true => x.iter().map(|&x| f64::from(x)).collect(),
                        false => naive(x, weight.map(|weight| &**weight), positions[row], style),
                    };
                    for (got, want) in got.iter().zip(&want) {
                        assert!((f64::from(*got) - want).abs() < 2e-6, "{got} {want}");
                    }
                    if head < NUM_HEADS {
                        continue;
                    }
                    // [block, (K, V), head, ...]: keys [tile, D, 16], values [token, D].
                    let part =
                        (block * 2 * NUM_KV_HEADS + head - NUM_HEADS) * BLOCK_SIZE * HEAD_DIM;
                    for (d, got) in got.iter().enumerate() {
                        let at = match is_value {
                            true => offset * HEAD_DIM + d,
                            false => (offset / 16 * HEAD_DIM + d) * 16 + offset % 16,
                        };
                        assert_eq!(stored[part + at], f16::from_f32(*got));
                        num_stored += usize::from(*got != 0.0);
                    }
                }
            }
            let num_nonzero = stored.iter().filter(|x| **x != f16::ZERO).count();
            assert!(num_nonzero <= num_stored, "other slots were written");
            all.push((
                bits(&qkv),
                stored.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            ));
        }
        assert!(
            all.iter().all(|one| one == &all[0]),
            "instructions and threads change no bit"
        );
    }
}

#[test]
fn what_does_not_fit_is_an_error_naming_it() {
    let cpu = Cpu::new(1).unwrap();
    let table = table(RopeStyle::Half);
    let cache = cache(KvDtype::Int8);
    let store = |qkv: &Tensor, positions: &[u32], num_slots: usize, norm: Option<QkNorm<'_>>| {
        let slots = Slots::new(&[0, 1], num_slots).unwrap();
        rope_store(qkv, &cache, positions, &slots, norm, Some(&table), &cpu)
            .map_err(|error| error.to_string())
    };
    let num_slots = NUM_BLOCKS * BLOCK_SIZE;
    let qkv = tensor(&[0.5; 2 * WIDTH], (2, WIDTH));
    let short = QkNorm {
        q: &vec![1.0; HEAD_DIM].into(),
        k: &vec![1.0; 8].into(),
        eps: 1e-5,
    };
    store(&qkv, &[0, 999], num_slots, None).unwrap();
    for (result, what) in [
        (
            store(&qkv, &[0, 1000], num_slots, None),
            "positions[1] is 1000",
        ),
        (store(&qkv, &[0], num_slots, None), "rope_store: qkv"),
        (store(&qkv, &[0, 1], 48, None), "48 slots"),
        (
            store(&qkv, &[0, 1], num_slots, Some(short)),
            "norm must have 16",
        ),
        (
            store(&tensor(&[0.5; 80], (2, 40)), &[0, 1], num_slots, None),
            "whole heads",
        ),
    ] {
        let error = result.unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    let other = RopeTable::new(8, 8, 1e4, None, 1.0, 8, RopeStyle::Half).unwrap();
    let slots = Slots::new(&[0, 1], num_slots).unwrap();
    let error = rope_store(&qkv, &cache, &[0, 1], &slots, None, Some(&other), &cpu).unwrap_err();
    assert!(error.to_string().contains("heads of 8"), "{error}");
}
