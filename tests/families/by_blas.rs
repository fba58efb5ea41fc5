//! The decoder on a card whose matrices of floats cuBLAS multiplies: the shim's, whose sums depend on how many rows there are.
#![allow(unsafe_code)]

use std::process::Command;
use std::sync::Arc;

use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::model::{Activations, Checkpoint, Decoder, Limits, LoadOptions, Weights};
use flambeau::ops::KvDtype;
use flambeau::scheduler::SchedulerConfig;

use super::blocks::{BF16, F16, F32};
use super::model::{Model, Spec};
use super::on_card::{
    answers, bits, difference, loaded, on_card, on_cpu, requests, spec, with_wider_heads,
};
use super::run::{self, Chunk, alone, limits, prompt, step};
use super::shim_card::{shim_blas, shim_card};

fn options() -> LoadOptions {
    let cuda = shim_card();
    LoadOptions {
        blas: Some(shim_blas(&cuda)),
        device: Device::Cuda(cuda),
        ..Activations::Int8.into()
    }
}

/// The same by our kernels alone.
fn in_tiles() -> LoadOptions {
    LoadOptions {
        blas: None,
        ..options()
    }
}

/// With a head that cuBLAS multiplies, too.
fn untied(ty: u32) -> Spec {
    Spec {
        ty,
        tied: false,
        ..spec()
    }
}

fn by_blas(model: &Model, kv_dtype: KvDtype) -> Decoder {
    loaded(model, options(), kv_dtype).0
}

#[test]
fn card_gives_by_blas_the_logits_of_the_cpu_within_the_rounding_of_bfloat16() {
    let wide_heads = |spec: Spec| Spec {
        head_dim: Some(64),
        hidden: 128,
        ..spec
    };
    for (spec, kv_dtype) in [
        (untied(BF16), KvDtype::Bf16),
        (untied(F16), KvDtype::F16),
        // Rounded to bfloat16.
        (untied(F32), KvDtype::Bf16),
        // With biases of some projections and of all, and a head that is in tiles.
        (
            Spec {
                ty: BF16,
                ..wide_heads(Spec::qwen2())
            },
            KvDtype::Bf16,
        ),
        (
            Spec {
                ty: F16,
                all_biases: true,
                ..spec()
            },
            KvDtype::Int8,
        ),
    ] {
        let model = Model::random(&spec, 3);
        let tokens = prompt(&model, 40, 1);
        let want = alone(&on_cpu(&model, kv_dtype), &tokens);
        let got = alone(&by_blas(&model, kv_dtype), &tokens);
        let ours = alone(&on_card(&model, kv_dtype), &tokens);
        let wrong = difference(&got, &want);
        // Of int8, the least difference can move a value by a step.
        let bound = if kv_dtype == KvDtype::Int8 {
            0.04
        } else {
            0.02
        };
        assert!(wrong < bound, "{kv_dtype}: {wrong}");
        // Of 16 bits, most sums are rounded to the same.
        assert!(spec.tied || bits(&got) != bits(&ours), "{kv_dtype}");
    }
}

#[test]
fn card_keeps_of_what_blas_multiplies_no_tiles_and_leaves_it_nothing_that_is_quantised() {
    // Tiles of its matrices are filled up.
    let odd = Spec {
        ty: BF16,
        hidden: 136,
        ..spec()
    };
    let float = Model::random(&odd, 4);
    let num_bytes = |options| {
        let (_, _, weights) = loaded(&float, options, KvDtype::Bf16);
        weights.num_bytes()
    };
    assert!(num_bytes(options()) < num_bytes(in_tiles()));
    let quantised = Model::random(&Spec { ty: 8, ..spec() }, 4);
    let tokens = prompt(&quantised, 40, 1);
    let got = alone(&by_blas(&quantised, KvDtype::Bf16), &tokens);
    assert!(bits(&got) == bits(&alone(&on_card(&quantised, KvDtype::Bf16), &tokens)));
}

#[test]
fn card_replays_steps_by_blas_with_the_bits_of_those_that_are_launched() {
    let model = Model::random(&untied(BF16), 6);
    let decoder = by_blas(&model, KvDtype::Bf16);
    let tokens = [prompt(&model, 64, 1), prompt(&model, 64, 2)];
    let blocks: Vec<u32> = (0..run::NUM_BLOCKS as u32).rev().collect();
    let tables = [&blocks[..8], &blocks[8..16]];
    let chunk = |s: usize, range| Chunk {
        tokens: &tokens[s],
        range,
        blocks: tables[s],
    };
    step(&decoder, &[chunk(0, 0..40), chunk(1, 0..50)]);
    let num_recorded = decoder.num_recorded();
    // As they are; and three rows, which are computed as four.
    for (i, rows) in [1, 2, 3].into_iter().enumerate() {
        let chunks = || {
            let mut chunks = vec![chunk(0, 40..41)];
            if rows > 1 {
                chunks.push(chunk(1, 50..49 + rows));
            }
            chunks
        };
        // Launched when they come first, recorded and replayed when they come again.
        let launched = step(&decoder, &chunks());
        for _ in 0..2 {
            assert!(
                bits(&step(&decoder, &chunks())) == bits(&launched),
                "{rows}"
            );
            assert_eq!(decoder.num_recorded(), num_recorded + i + 1);
        }
    }
    // A row's bits are not those of the same row among others.
    let one = step(&decoder, &[chunk(0, 40..41)]);
    let two = step(&decoder, &[chunk(0, 40..41), chunk(1, 50..51)]);
    assert!(bits(&one) != bits(&two[..1]));
    assert!(difference(&one, &two[..1]) < 0.02);
}

#[test]
fn card_routes_rows_by_routers_of_blas_to_experts_of_ours() {
    for name in ["qwen3-moe", "mixtral", "gpt-oss"] {
        let folder = with_wider_heads(name);
        let (checkpoint, config) = Checkpoint::open(folder.path()).unwrap();
        let decoder = |options: LoadOptions| {
            let cpu = Cpu::new(2).unwrap();
            let weights = Weights::load(checkpoint.tensors(), &config, options, &cpu).unwrap();
            let limits = Limits {
                max_model_len: config.context_length,
                kv_dtype: KvDtype::Bf16,
                ..limits()
            };
            Decoder::new(config.clone(), Arc::new(weights), &limits, cpu).unwrap()
        };
        let tokens: Vec<u32> = (0..100).map(|i| i * 31 % 64).collect();
        let want = alone(&decoder(Activations::Float.into()), &tokens);
        let wrong = |options| difference(&alone(&decoder(options), &tokens), &want);
        let (wrong, ours) = (wrong(options()), wrong(in_tiles()));
        // A router's other rounding sends a row to another expert at times, as ours does.
        assert!(wrong < 1.25 * ours + 0.005, "{name}: {wrong} {ours}");
    }
}

#[test]
fn card_answers_by_blas_in_company_with_drafts_preemption_and_a_step_ahead() {
    let model = Model::random(&Spec { ty: F16, ..spec() }, 5);
    let config = SchedulerConfig {
        max_num_seqs: 8,
        max_num_batched_tokens: 32,
        max_model_len: 256,
        prefix_cache: true,
        target_itl: None,
        speculation: true,
    };
    for looks_ahead in [false, true] {
        let mut runs = (0..2).map(|_| {
            let decoder = by_blas(&model, KvDtype::F16);
            answers(decoder, requests(&model), config, 20, looks_ahead)
        });
        let ((first, events), (second, _)) = (runs.next().unwrap(), runs.next().unwrap());
        assert!(first.iter().all(|answer| answer.len() == 24));
        assert!(events.num_preemptions > 0 && events.num_loads > 0);
        assert_eq!(events.num_ahead > 20, looks_ahead);
        // The same steps give the same bits.
        assert_eq!(first, second);
    }
}

/// Says that a process is one of its own.
const ALONE: &str = "FLAMBEAU_TEST_ALONE";

#[test]
fn card_computes_by_our_kernels_without_looking_for_blas() {
    if std::env::var_os(ALONE).is_none() {
        let name = "by_blas::card_computes_by_our_kernels_without_looking_for_blas";
        let mut process = Command::new(std::env::current_exe().unwrap());
        let done = process.args(["--exact", name]).env(ALONE, "1").output();
        let done = done.unwrap();
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let is_loaded = || {
        let flags = libc::RTLD_NOW | libc::RTLD_NOLOAD;
        // SAFETY: nothing is loaded that is not there already.
        unsafe { !libc::dlopen(c"libcublas.so".as_ptr(), flags).is_null() }
    };
    let model = Model::random(&Spec { ty: BF16, ..spec() }, 3);
    alone(&on_card(&model, KvDtype::Bf16), &prompt(&model, 10, 1));
    assert!(!is_loaded());
    alone(&by_blas(&model, KvDtype::Bf16), &prompt(&model, 10, 1));
    assert!(is_loaded());
}
