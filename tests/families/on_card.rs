//! The decoder on a card: the shim's, whose kernels run on the CPU.

use std::sync::Arc;

use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::model::{Activations, Decoder, Limits, LoadOptions, ModelConfig, Weights};
use flambeau::ops::KvDtype;

use super::model::{Model, Spec};
use super::run::{self, Chunk, alone, limits, open, prompt, step};
use super::shim_card::shim_device;

/// A Llama whose heads cards compute.
fn spec() -> Spec {
    Spec {
        head_dim: Some(64),
        hidden: 128,
        vocab: 128,
        ..Spec::llama()
    }
}

fn load(model: &Model, device: Device) -> (ModelConfig, Arc<Weights>) {
    let file = open(model);
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let options = LoadOptions {
        device,
        ..Activations::Int8.into()
    };
    let weights = Weights::load(&file, &config, options, &Cpu::new(2).unwrap()).unwrap();
    (config, Arc::new(weights))
}

fn on_card(model: &Model, kv_dtype: KvDtype) -> Decoder {
    let (config, weights) = load(model, shim_device());
    let limits = Limits {
        kv_dtype,
        ..limits()
    };
    Decoder::new(config, weights, &limits, Cpu::new(1).unwrap()).unwrap()
}

fn bits(rows: &[Vec<f32>]) -> Vec<Vec<u32>> {
    let bits = |row: &Vec<f32>| row.iter().map(|x| x.to_bits()).collect();
    rows.iter().map(bits).collect()
}

/// The root of the mean square difference, relative to the logits'.
fn difference(got: &[Vec<f32>], want: &[Vec<f32>]) -> f64 {
    let squares = |f: &dyn Fn(f32, f32) -> f32| -> f64 {
        let pairs = got.iter().flatten().zip(want.iter().flatten());
        pairs.map(|(a, b)| f64::from(f(*a, *b)).powi(2)).sum()
    };
    (squares(&|a, b| a - b) / squares(&|_, b| b)).sqrt()
}

#[test]
fn card_gives_the_logits_of_the_cpu_within_the_rounding_of_bfloat16() {
    for (spec, bound) in [
        (spec(), 0.015),
        // Quantised to Q8_0 and Q4_K.
        (Spec { ty: 8, ..spec() }, 0.015),
        (
            Spec {
                ty: 12,
                hidden: 256,
                inner: 256,
                heads: 4,
                ..spec()
            },
            0.015,
        ),
        // Biases, norms of heads, other pairs.
        (
            Spec {
                head_dim: Some(64),
                hidden: 128,
                ..Spec::qwen3()
            },
            0.02,
        ),
        (
            Spec {
                head_dim: Some(128),
                ..Spec::qwen2()
            },
            0.015,
        ),
    ] {
        let model = Model::random(&spec, 3);
        let cpu = run::decoder(&model, Activations::Float, 1);
        let tokens = prompt(&model, 40, 1);
        let want = alone(&cpu, &tokens);
        for kv_dtype in [KvDtype::Bf16, KvDtype::F16, KvDtype::Int8] {
            let got = alone(&on_card(&model, kv_dtype), &tokens);
            let difference = difference(&got, &want);
            let bound = bound + if kv_dtype == KvDtype::Int8 { 0.005 } else { 0.0 };
            assert!(difference < bound, "{kv_dtype}: {difference}");
        }
    }
}

#[test]
fn card_gives_a_row_the_same_bits_alone_in_chunks_and_in_company() {
    let model = Model::random(&spec(), 4);
    let decoder = on_card(&model, KvDtype::Bf16);
    let (a, b) = (prompt(&model, 300, 1), prompt(&model, 37, 2));
    let blocks: Vec<u32> = (0..run::NUM_BLOCKS as u32).rev().collect();
    let (of_a, of_b) = blocks.split_at(24);
    let whole = alone(&decoder, &a);
    let chunk = |tokens, range, blocks| Chunk {
        tokens,
        range,
        blocks,
    };
    let mut parts = step(&decoder, &[chunk(&a, 0..1, of_a)]);
    parts.extend(step(&decoder, &[chunk(&a, 1..33, of_a)]));
    let mixed = step(
        &decoder,
        &[chunk(&a, 33..290, of_a), chunk(&b, 0..37, of_b)],
    );
    parts.extend_from_slice(&mixed[..257]);
    for at in 290..300 {
        parts.extend(step(&decoder, &[chunk(&a, at..at + 1, of_a)]));
    }
    assert!(bits(&parts) == bits(&whole));
    assert!(bits(&mixed[257..]) == bits(&alone(&decoder, &b)));
}
