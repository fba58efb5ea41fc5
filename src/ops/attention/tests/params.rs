use super::super::super::testing::{Random, bits, cpus, tensor};
use super::super::super::{KvCache, KvDtype, Tensor};
use super::super::{AttentionBatch, AttentionParams, paged_attention};
use super::world::{Heads, World};
use crate::backend::Device;
use crate::backend::cpu::Cpu;

#[test]
fn caps_and_sinks_are_the_formula_and_give_the_same_bits_in_any_chunks() {
    let heads = Heads {
        query: 6,
        kv: 2,
        dim: 40,
    };
    let width = 240;
    let sinks = vec![0.3, -2.0, 5.0, 0.0, 30.0, -80.0];
    for (window, softcap, sinks) in [
        (None, Some(1.5), None),
        (None, None, Some(sinks.clone())),
        (Some(128), Some(0.5), Some(sinks)),
    ] {
        let mut world = World::random(heads, KvDtype::F16, &[600], &mut Random::new(7));
        (world.window, world.softcap, world.sinks) = (window, softcap, sinks);
        let all: Vec<Tensor> = cpus()
            .iter()
            .map(|cpu| world.attend(&[(0, 0, 600)], cpu))
            .collect();
        assert!(all.iter().all(|one| bits(one) == bits(&all[0])));
        let rows = all[0].to_rows().unwrap();
        for (position, got) in rows.iter().enumerate().step_by(37) {
            for (got, want) in got.iter().zip(world.naive(0, position)) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-5,
                    "{:?}, row {position}: {got} {want}",
                    world.softcap
                );
            }
        }
        let (whole, cpu) = (bits(&all[0]), Cpu::new(2).unwrap());
        for (from, to) in [(0, 5), (5, 256), (256, 257), (257, 599), (599, 600)] {
            let part = world.attend(&[(0, from, to)], &cpu);
            assert!(bits(&part) == whole[from * width..to * width]);
        }
    }
}

#[test]
fn parameters_out_of_range_are_errors_naming_them() {
    let cpu = Cpu::new(1).unwrap();
    let batch = AttentionBatch::new(&[0, 1], &[1], &[0], &[0, 1], 1, 16).unwrap();
    let cache = KvCache::new(KvDtype::F16, 1, 1, 16, 8, &Device::Cpu).unwrap();
    let row = || tensor(&[0.0; 8], (1, 8));
    let params = AttentionParams::default();
    for (params, what) in [
        (
            AttentionParams {
                window: Some(0),
                ..params
            },
            "window",
        ),
        (
            AttentionParams {
                softcap: Some(0.0),
                ..params
            },
            "softcap",
        ),
        (
            AttentionParams {
                sinks: Some(&vec![0.0; 2].into()),
                ..params
            },
            "sinks must have 1",
        ),
    ] {
        let error = paged_attention(&row(), &row(), &cache, &batch, params, &cpu).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
