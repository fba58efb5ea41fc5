//! A file that this decoder does not compute is refused by key or tensor: never a panic, never an allocation that the
//! file's size does not warrant.

use flambeau::backend::cpu::Cpu;
use flambeau::model::{Activations, Decoder, ModelConfig};

use super::counting_alloc::peak_during;
use super::gguf_writer::array;
use super::model::{Entry, Model, Spec, TensorData, f32_entry, str_entry, u32_entry};
use super::run::{limits, open, try_load};

/// The message a damaged model is refused with, if it is; loading it may take no more memory than its size warrants.
fn load(model: &Model) -> Result<(), String> {
    let cpu = Cpu::new(1).unwrap();
    let warranted = 16 * model.to_gguf().len();
    let (loaded, peak) = peak_during(|| try_load(model, Activations::Float, &cpu));
    assert!(peak <= warranted, "{peak} bytes, {warranted} are warranted");
    loaded.map(|_| ()).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(model: &Model, part: &str) {
    let message = load(model).expect_err("the model is accepted");
    assert!(message.contains(part), "\"{part}\" is not in: {message}");
}

fn with_entry(spec: &Spec, name: &str, entry: Entry) -> Model {
    let mut model = Model::random(spec, 1);
    model.entries.insert(model.key(name), entry);
    model
}

fn families() -> [Spec; 4] {
    let untied = Spec {
        tied: false,
        rope_freqs: true,
        ..Spec::llama()
    };
    [Spec::llama(), untied, Spec::qwen2(), Spec::qwen3()]
}

const SIZES: [&str; 8] = [
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "rope.dimension_count",
    "context_length",
];

#[test]
fn undamaged_families_are_accepted() {
    for spec in families() {
        load(&Model::random(&spec, 1)).unwrap();
    }
}

#[test]
fn each_missing_tensor_is_named() {
    // Without these a file is another model, not a broken one.
    let optional = ["output.weight", "rope_freqs.weight"];
    for spec in families() {
        let model = Model::random(&spec, 1);
        for name in model.tensors.keys() {
            let mut damaged = model.clone();
            damaged.tensors.remove(name);
            match optional.contains(&&**name) {
                true => load(&damaged).unwrap(),
                false => refused(&damaged, name),
            }
        }
    }
}

#[test]
fn each_tensor_of_another_shape_is_named() {
    for spec in families() {
        let model = Model::random(&spec, 1);
        for name in model.tensors.keys() {
            let mut damaged = model.clone();
            let tensor = damaged.tensors.get_mut(name).unwrap();
            // A row less, or a value.
            let last = tensor.dims.last_mut().unwrap();
            let kept = tensor.bytes.len() / *last as usize * (*last as usize - 1);
            *last -= 1;
            tensor.bytes.truncate(kept);
            refused(&damaged, name);

            let mut damaged = model.clone();
            let tensor = damaged.tensors.get_mut(name).unwrap();
            tensor.dims.push(1);
            refused(&damaged, name);
        }
    }
}

#[test]
fn each_tensor_nothing_reads_is_named() {
    let extra = TensorData {
        dims: vec![16],
        ty: 0,
        bytes: vec![0; 64],
        values: Vec::new(),
    };
    for name in [
        "blk.0.ffn_gate_exps.weight",
        "blk.0.attn_norm.bias",
        "blk.0.attn_q_norm.weight",
        "blk.2.attn_norm.weight",
        "output.bias",
        "rope_factors_long.weight",
        "token_types.weight",
    ] {
        let mut model = Model::random(&Spec::llama(), 1);
        model.tensors.insert(name.to_owned(), extra.clone());
        refused(&model, name);
        // Of a type that is not supported either.
        model.tensors.get_mut(name).unwrap().ty = 40;
        refused(&model, name);
    }
    let mut model = Model::random(&Spec::llama(), 1);
    let hostile = format!("\u{1b}[2J\n{}", "x".repeat(5000));
    model.tensors.insert(hostile, extra);
    let message = load(&model).unwrap_err();
    assert!(
        message.len() < 500 && !message.contains(char::is_control),
        "{message}"
    );
}

#[test]
fn absurd_sizes_are_refused_by_key() {
    for spec in families() {
        for name in SIZES {
            for value in [0, u32::MAX as usize] {
                let model = with_entry(&spec, name, u32_entry(value));
                refused(&model, &model.key(name));
            }
            let model = with_entry(&spec, name, str_entry("many"));
            refused(&model, &model.key(name));
            let model = with_entry(&spec, name, (9, array(4, 1, &[1, 0, 0, 0])));
            refused(&model, &model.key(name));
        }
    }
}

/// Sizes that are possible but not this file's: the key is at fault, or the first tensor that has another shape.
#[test]
fn sizes_that_contradict_the_tensors_are_refused() {
    for spec in families() {
        for name in SIZES {
            for value in [1, 2, 3, 7, 8, 24, 256, 1000, 1024, 4096, 1 << 20] {
                let model = with_entry(&spec, name, u32_entry(value));
                if model.entries == Model::random(&spec, 1).entries {
                    continue;
                }
                let Err(message) = load(&model) else {
                    // No tensor's shape follows from these.
                    assert!(["context_length", "rope.dimension_count"].contains(&name));
                    continue;
                };
                let key = model.key(name);
                let is_precise = ["blk.", "token_embd", "output", "rope_freqs", "attention."]
                    .iter()
                    .any(|part| message.contains(part));
                assert!(
                    message.contains(&key) || is_precise,
                    "{key} = {value}: {message}"
                );
            }
        }
    }
}

#[test]
fn heads_that_do_not_divide_are_refused_by_key() {
    let model = with_entry(&Spec::llama(), "attention.head_count_kv", u32_entry(3));
    refused(&model, "llama.attention.head_count_kv: 3 does not divide");
    let model = with_entry(&Spec::llama(), "attention.head_count", u32_entry(6));
    refused(&model, "llama.attention.head_count: 6 heads do not divide");
    let model = with_entry(&Spec::qwen3(), "attention.value_length", u32_entry(16));
    refused(&model, "qwen3.attention.value_length");
    let model = with_entry(&Spec::qwen2(), "rope.dimension_count", u32_entry(5));
    refused(&model, "qwen2.rope.dimension_count: 5 is odd");
}

#[test]
fn each_required_key_is_named_when_it_is_missing() {
    let required = [
        "block_count",
        "embedding_length",
        "feed_forward_length",
        "attention.head_count",
        "attention.layer_norm_rms_epsilon",
        "context_length",
    ];
    let model = Model::random(&Spec::qwen2(), 1);
    for key in required.map(|name| model.key(name)) {
        let mut damaged = model.clone();
        damaged.entries.remove(&key);
        refused(&damaged, &key);
    }
    let mut damaged = model.clone();
    damaged.entries.remove("general.architecture");
    refused(&damaged, "general.architecture");
}

#[test]
fn a_vocabulary_is_counted_or_told() {
    let mut model = Model::random(&Spec::llama(), 1);
    let tokens = "tokenizer.ggml.tokens".to_owned();
    model.entries.insert(tokens.clone(), (9, array(8, 0, &[])));
    refused(&model, &tokens);
    // A list of another type is an error, not a missing list.
    let told = (model.key("vocab_size"), u32_entry(96));
    model.entries.extend([told]);
    model.entries.insert(tokens.clone(), (9, array(4, 0, &[])));
    refused(&model, &tokens);
    model.entries.remove(&tokens);
    load(&model).unwrap();
    model.entries.remove("llama.vocab_size");
    refused(&model, "llama.vocab_size");
}

#[test]
fn what_the_decoder_does_not_compute_is_refused_by_key() {
    let mut model = Model::random(&Spec::llama(), 1);
    let architecture = "general.architecture".to_owned();
    model.entries.insert(architecture, str_entry("mamba"));
    refused(&model, "general.architecture: \"mamba\" is not supported");
    for (name, entry) in [
        ("attention.causal", (7, vec![0])),
        ("rope.scaling.type", str_entry("spiral")),
    ] {
        let model = with_entry(&Spec::llama(), name, entry);
        refused(&model, &model.key(name));
    }
}

#[test]
fn what_experts_need_is_named_when_it_is_missing() {
    let mut model = with_entry(&Spec::llama(), "expert_count", u32_entry(8));
    refused(&model, "llama.expert_used_count");
    let top_k = (model.key("expert_used_count"), u32_entry(9));
    model.entries.extend([top_k]);
    refused(&model, "llama.expert_used_count: 9 is not in 1..=8");
    let top_k = (model.key("expert_used_count"), u32_entry(2));
    model.entries.extend([top_k]);
    refused(&model, "blk.0.ffn_gate_inp.weight");
}

#[test]
fn what_a_rope_scaling_needs_is_named_when_it_is_missing() {
    let scaled = |name| with_entry(&Spec::llama(), "rope.scaling.type", str_entry(name));
    refused(&scaled("longrope"), "rope_factors_long.weight");
    let mut model = scaled("yarn");
    refused(&model, "llama.rope.scaling.factor");
    let factor = (model.key("rope.scaling.factor"), f32_entry(4.0));
    model.entries.extend([factor]);
    refused(&model, "llama.rope.scaling.original_context_length");
}

#[test]
fn numbers_that_are_not_positive_are_refused_by_key() {
    for name in [
        "attention.layer_norm_rms_epsilon",
        "rope.freq_base",
        "rope.scaling.factor",
        "rope.scale_linear",
    ] {
        for value in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let model = with_entry(&Spec::qwen2(), name, f32_entry(value));
            refused(&model, &model.key(name));
        }
    }
    let mut model = with_entry(&Spec::llama(), "rope.scaling.type", str_entry("linear"));
    refused(&model, "\"llama.rope.scaling.factor\" is missing");
    model
        .entries
        .insert(model.key("rope.scaling.type"), str_entry("none"));
    load(&model).unwrap();
}

#[test]
fn frequencies_that_are_not_positive_are_an_error_of_the_decoder() {
    let spec = Spec {
        rope_freqs: true,
        ..Spec::llama()
    };
    let mut model = Model::random(&spec, 1);
    let freqs = model.tensors.get_mut("rope_freqs.weight").unwrap();
    freqs.bytes[4..8].copy_from_slice(&0.0f32.to_le_bytes());
    let cpu = Cpu::new(1).unwrap();
    let (config, weights) = try_load(&model, Activations::Float, &cpu).unwrap();
    let Err(error) = Decoder::new(config, weights.into(), &limits(), cpu) else {
        panic!("a frequency is divided by zero");
    };
    assert!(error.to_string().contains("freq_factors[1]"), "{error}");
}

fn config(model: &Model) -> ModelConfig {
    ModelConfig::from_gguf(open(model).metadata()).unwrap()
}

#[test]
fn a_factor_without_a_type_means_linear_scaling() {
    for (name, other) in [("rope.scaling.factor", 2.0), ("rope.scale_linear", 8.0)] {
        let mut model = with_entry(&Spec::llama(), name, f32_entry(other));
        assert_eq!(config(&model).ropes[0].linear_scale, f64::from(other));
        model
            .entries
            .insert(model.key("rope.scaling.type"), str_entry("none"));
        assert_eq!(config(&model).ropes[0].linear_scale, 1.0);
    }
}

#[test]
fn a_sliding_window_of_zero_is_none() {
    for (window, expected) in [(0, None), (128, Some(128)), (4096, Some(4096))] {
        let model = with_entry(
            &Spec::llama(),
            "attention.sliding_window",
            u32_entry(window),
        );
        let config = config(&model);
        assert_eq!(config.context_length, 1024);
        assert!(config.layers.iter().all(|layer| layer.window == expected));
    }
}
