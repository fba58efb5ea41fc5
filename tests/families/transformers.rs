//! Folders of safetensors against `transformers`: tiny random models and the logits recorded for them
//! (`scripts/make_hf_fixtures.py`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flambeau::backend::cpu::Cpu;
use flambeau::model::{Activations, Checkpoint, Decoder, ModelConfig, Weights};
use safetensors::SafeTensors;

use super::as_gguf;
use super::run::{self, BLOCK_SIZE, Chunk, NUM_BLOCKS};

/// Between two ways to add float32; both round keys and values to float16.
const BOUND: f32 = 1e-3;

const FAMILIES: [&str; 28] = [
    "llama",
    "llama3",
    "llama-linear",
    "llama-yarn",
    "llama-dynamic",
    "mistral",
    "mistral-window",
    "qwen2",
    "qwen2-yarn",
    "qwen2-window",
    "qwen3",
    "smollm3",
    "smollm3-window",
    "phi3",
    "phi3-window",
    "phi3-longrope",
    "gemma2",
    "gemma3",
    "qwen3-moe",
    "qwen3-moe-mixed",
    "mixtral",
    "gpt-oss",
    "gpt-oss-mxfp4",
    "llama-awq",
    "llama-gptq",
    "llama-gptq-order",
    "llama-fp8",
    "llama-fp8-channel",
];

/// Of those that GGUF files can hold: the folder, the architecture, and whether pairs that turn are neighbours there.
const GGUF_FAMILIES: [(&str, &str, bool); 16] = [
    ("llama", "llama", true),
    ("llama-linear", "llama", true),
    ("llama-yarn", "llama", true),
    ("mistral", "llama", true),
    ("mistral-window", "llama", true),
    ("qwen2", "qwen2", false),
    ("qwen3", "qwen3", false),
    ("smollm3", "smollm3", true),
    ("phi3", "phi3", false),
    ("phi3-window", "phi3", false),
    ("phi3-longrope", "phi3", false),
    ("gemma2", "gemma2", false),
    ("gemma3", "gemma3", false),
    ("qwen3-moe", "qwen3moe", false),
    ("mixtral", "llama", true),
    ("gpt-oss-mxfp4", "gpt-oss", false),
];

pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/hf")
        .join(name)
}

/// The recorded tokens, and the logits after each.
pub fn expected(name: &str) -> (Vec<u32>, Vec<Vec<f32>>) {
    let bytes = std::fs::read(folder(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tokens = file.tensor("tokens").unwrap();
    let words = tokens.data().as_chunks::<4>().0.iter();
    let tokens = words.map(|&bytes| u32::from_le_bytes(bytes));
    (tokens.collect(), logits_of(name))
}

/// The recorded logits, `[tokens, V]`.
pub fn logits_of(name: &str) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(folder(name).join("expected.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let logits = file.tensor("logits").unwrap();
    let words = logits.data().as_chunks::<4>().0.iter();
    let values: Vec<f32> = words.map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let rows = values.chunks(logits.shape()[1]);
    rows.map(<[f32]>::to_vec).collect()
}

fn decoder(name: &str) -> Decoder {
    let cpu = Cpu::new(2).unwrap();
    let (checkpoint, config) = Checkpoint::open(&folder(name)).unwrap();
    let weights = Weights::load(checkpoint.tensors(), &config, Activations::Float, &cpu).unwrap();
    let limits = flambeau::model::Limits {
        max_model_len: config.context_length,
        ..run::limits()
    };
    Decoder::new(config, Arc::new(weights), &limits, cpu).unwrap()
}

#[track_caller]
pub fn check(name: &str, got: &[Vec<f32>], want: &[Vec<f32>]) {
    assert_eq!(got.len(), want.len());
    for (row, (got, want)) in got.iter().zip(want).enumerate() {
        for (got, want) in got.iter().zip(want) {
            assert!(
                (got - want).abs() <= BOUND,
                "{name}, row {row}: {got}, not {want}"
            );
        }
    }
}

#[test]
fn every_family_gives_the_logits_of_transformers() {
    for name in FAMILIES {
        let (tokens, want) = expected(name);
        check(name, &run::alone(&decoder(name), &tokens), &want);
    }
}

#[test]
fn the_same_models_as_gguf_files_give_the_same_logits() {
    let cpu = Cpu::new(2).unwrap();
    for (name, arch, has_neighbouring_pairs) in GGUF_FAMILIES {
        let file = as_gguf::open(name, arch, has_neighbouring_pairs);
        let config = ModelConfig::from_gguf(file.metadata()).unwrap();
        let weights = Weights::load(&file, &config, Activations::Float, &cpu).unwrap();
        let limits = flambeau::model::Limits {
            max_model_len: config.context_length,
            ..run::limits()
        };
        let decoder = Decoder::new(config, Arc::new(weights), &limits, cpu.clone()).unwrap();
        let (tokens, want) = expected(name);
        check(name, &run::alone(&decoder, &tokens), &want);
    }
}

#[test]
fn chunks_single_tokens_and_prefix_hits_give_the_logits_of_transformers() {
    let blocks: Vec<u32> = (0..NUM_BLOCKS as u32).rev().collect();
    for name in FAMILIES {
        let (tokens, want) = expected(name);
        let decoder = decoder(name);
        // A chunk of 21, one of 9, then token by token.
        let ranges = [0..21, 21..30].into_iter();
        let ranges = ranges.chain((30..tokens.len()).map(|i| i..i + 1));
        let got = ranges.flat_map(|range| {
            let chunk = Chunk {
                tokens: &tokens,
                range,
                blocks: &blocks,
            };
            run::step(&decoder, &[chunk])
        });
        check(name, &got.collect::<Vec<_>>(), &want);
        // Another that finds the first block computed.
        let others = [&blocks[..1], &blocks[8..]].concat();
        let chunk = Chunk {
            tokens: &tokens,
            range: BLOCK_SIZE..tokens.len(),
            blocks: &others,
        };
        check(name, &run::step(&decoder, &[chunk]), &want[BLOCK_SIZE..]);
    }
}
