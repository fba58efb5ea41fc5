//! The one decoder computes each family and each encoding of weights as its definition says: tiny random models against a
//! float64 forward pass that shares no code with it.
#![allow(clippy::unwrap_used)] // A test may panic.

mod adapters;
mod as_gguf;
mod batches;
mod blocks;
mod broken_folders;
mod broken_packs;
#[cfg(feature = "kernel-shim")]
mod by_blas;
#[path = "../counting_alloc/mod.rs"]
mod counting_alloc;
mod errors;
#[path = "../full_disk/mod.rs"]
mod full_disk;
#[path = "../gguf_writer/mod.rs"]
mod gguf_writer;
mod model;
#[cfg(feature = "kernel-shim")]
mod on_card;
mod quantised;
mod reference;
mod run;
#[cfg(feature = "kernel-shim")]
#[path = "../shim_card/mod.rs"]
mod shim_card;
mod transformers;

use flambeau::model::Activations;
use model::{Model, Pairs, Spec};

/// What float32 arithmetic costs, and a key or value at a tie that rounds to the other float16: relative to the largest
/// logit.
const FLOAT_BOUND: f64 = 3e-4;
/// What int8 activations cost, relative to the largest logit: at most, and in the mean over all logits.
const INT8_BOUNDS: (f64, f64) = (0.04, 0.006);

/// Longer than a span of the attention kernel.
const PROMPT: usize = 270;

/// The largest and the mean difference, relative to the largest logit.
fn differences(got: &[Vec<f32>], want: &[Vec<f64>]) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let largest = want
        .iter()
        .flatten()
        .fold(0.0, |max: f64, x| max.max(x.abs()));
    let pairs = got.iter().flatten().zip(want.iter().flatten());
    let differences: Vec<f64> = pairs
        .map(|(&got, want)| (f64::from(got) - want).abs())
        .collect();
    // A NaN must not hide: `max` would skip it, the sum does not.
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let max = differences.into_iter().fold(0.0, f64::max);
    (max / largest, mean / largest)
}

#[track_caller]
fn check(spec: &Spec, len: usize) {
    let model = Model::random(spec, 1);
    let tokens = run::prompt(&model, len, 2);
    let got = run::alone(&run::decoder(&model, Activations::Float, 2), &tokens);
    let (max, mean) = differences(&got, &reference::logits(&model, &tokens));
    assert!(max <= FLOAT_BOUND && mean.is_finite(), "{max} {mean}");
}

#[test]
fn llama_with_a_tied_head_matches_the_reference() {
    check(&Spec::llama(), PROMPT);
}

#[test]
fn llama_with_a_head_of_its_own_matches_the_reference() {
    let spec = Spec {
        tied: false,
        ..Spec::llama()
    };
    check(&spec, PROMPT);
}

#[test]
fn llama_with_rope_freqs_matches_the_reference() {
    let spec = Spec {
        rope_freqs: true,
        rope_base: 500_000.0,
        ..Spec::llama()
    };
    check(&spec, PROMPT);
}

#[test]
fn llama_with_linear_rope_scaling_matches_the_reference() {
    let spec = Spec {
        linear_scale: Some(4.0),
        ..Spec::llama()
    };
    check(&spec, PROMPT);
}

#[test]
fn llama_with_biases_everywhere_matches_the_reference() {
    let spec = Spec {
        all_biases: true,
        ..Spec::llama()
    };
    check(&spec, PROMPT);
}

#[test]
fn heads_wider_than_hidden_over_heads_match_the_reference() {
    let spec = Spec {
        head_dim: Some(32),
        tied: false,
        ..Spec::llama()
    };
    check(&spec, PROMPT);
}

#[test]
fn one_key_value_head_for_all_and_one_for_each_match_the_reference() {
    for kv_heads in [1, 4] {
        let spec = Spec {
            kv_heads,
            ..Spec::llama()
        };
        check(&spec, 40);
    }
}

#[test]
fn heads_that_turn_in_part_match_the_reference() {
    for spec in [Spec::llama(), Spec::qwen2()] {
        let spec = Spec {
            rotary_dim: Some(10),
            ..spec
        };
        check(&spec, PROMPT);
    }
}

#[test]
fn qwen2_matches_the_reference() {
    check(&Spec::qwen2(), PROMPT);
}

#[test]
fn qwen3_matches_the_reference() {
    check(&Spec::qwen3(), PROMPT);
    let spec = Spec {
        tied: false,
        ..Spec::qwen3()
    };
    check(&spec, PROMPT);
}

/// The smallest shape whose rows are whole blocks of every encoding.
fn encoded(ty: u32) -> Model {
    let spec = Spec {
        ty,
        tied: false,
        hidden: 256,
        inner: 256,
        heads: 8,
        head_dim: Some(32),
        ..Spec::llama()
    };
    Model::random(&spec, 3)
}

const ENCODINGS: [u32; 19] = [
    blocks::F32,
    blocks::F16,
    blocks::BF16,
    blocks::F64,
    blocks::Q4_0,
    blocks::Q4_1,
    blocks::Q5_0,
    blocks::Q5_1,
    blocks::Q8_0,
    blocks::Q2_K,
    blocks::Q3_K,
    blocks::Q4_K,
    blocks::Q5_K,
    blocks::Q6_K,
    blocks::IQ4_NL,
    blocks::IQ4_XS,
    blocks::TQ1_0,
    blocks::TQ2_0,
    blocks::MXFP4,
];

#[test]
fn every_encoding_of_weights_matches_the_reference() {
    for ty in ENCODINGS {
        let model = encoded(ty);
        let tokens = run::prompt(&model, 40, 4);
        let want = reference::logits(&model, &tokens);

        let float = run::alone(&run::decoder(&model, Activations::Float, 2), &tokens);
        let (max, mean) = differences(&float, &want);
        assert!(
            max <= FLOAT_BOUND && mean.is_finite(),
            "type {ty}: {max} {mean}"
        );

        let int8 = run::alone(&run::decoder(&model, Activations::Int8, 2), &tokens);
        let floats = [blocks::F32, blocks::F16, blocks::BF16, blocks::F64];
        if !floats.contains(&ty) {
            let (max, mean) = differences(&int8, &want);
            let bounds = INT8_BOUNDS;
            assert!(
                max <= bounds.0 && mean <= bounds.1,
                "type {ty}: {max} {mean}"
            );
            assert!(int8 != float, "type {ty} has an integer kernel");
        } else {
            assert!(int8 == float, "type {ty} is computed in float32");
        }
    }
}

/// What the comparisons above rest on: each feature changes the reference by far more than their bound.
#[test]
fn the_reference_tells_the_families_apart() {
    let llama = Model::random(&Spec::llama(), 1);
    let tokens = run::prompt(&llama, 40, 2);
    let base = reference::logits(&llama, &tokens);
    let with = |change: fn(&mut Spec)| {
        let mut other = llama.clone();
        change(&mut other.spec);
        let logits = reference::logits(&other, &tokens);
        let logits: Vec<Vec<f32>> = logits
            .into_iter()
            .map(|row| row.into_iter().map(|x| x as f32).collect())
            .collect();
        differences(&logits, &base).0
    };
    for (name, difference) in [
        ("pairs", with(|spec| spec.pairs = Pairs::Halves)),
        ("linear scale", with(|spec| spec.linear_scale = Some(4.0))),
        ("rotary dimension", with(|spec| spec.rotary_dim = Some(10))),
        ("rope base", with(|spec| spec.rope_base = 1e6)),
        ("norm's epsilon", with(|spec| spec.eps = 0.1)),
    ] {
        assert!(difference > 10.0 * FLOAT_BOUND, "{name}: {difference}");
    }
}
