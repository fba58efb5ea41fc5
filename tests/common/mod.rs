//! What the tests on the real default model share.
#![allow(dead_code)] // Each test binary uses its own part.

use std::path::PathBuf;
use std::sync::Arc;

use flambeau::backend::cpu::Cpu;
use flambeau::hub::{Hub, HubConfig, TextProgress};
use flambeau::model::gguf::GgufFile;
use flambeau::model::{Activations, Decoder, Limits, ModelConfig, Weights};

/// The default model's file, fetched once into the user's cache.
pub fn default_model() -> PathBuf {
    let hub = Hub::new(HubConfig::from_env().unwrap());
    hub.resolve("smollm2-135m-instruct", &mut TextProgress::stderr())
        .unwrap()
        .path
}

/// The default model's configuration and weights.
pub fn load(activations: Activations, cpu: &Cpu) -> (ModelConfig, Arc<Weights>) {
    let file = GgufFile::open(default_model()).unwrap();
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let weights = Weights::load(&file, &config, activations, cpu).unwrap();
    (config, Arc::new(weights))
}

/// A decoder for `num_blocks` blocks of 16 tokens.
pub fn decoder(
    config: &ModelConfig,
    weights: &Arc<Weights>,
    num_blocks: usize,
    cpu: &Cpu,
) -> Decoder {
    let limits = Limits {
        max_num_batched_tokens: 512,
        max_samples: 64,
        max_model_len: num_blocks * 16,
        num_blocks,
        block_size: 16,
    };
    Decoder::new(config.clone(), Arc::clone(weights), &limits, cpu.clone()).unwrap()
}
