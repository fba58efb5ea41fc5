//! A model that was named on the command line, for the commands that compute without serving.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use super::load;
use crate::backend::cpu::Cpu;
use crate::config::{Quantize, available_cores, default_threads};
use crate::hub::{Hub, HubConfig, ModelSource, TextProgress};
use crate::model::quantise::Mix;
use crate::model::{
    Checkpoint, Decoder, Limits, LoadOptions, ModelConfig, Quantisation, TensorSource, Weights,
};
use crate::ops::KvDtype;
use crate::text::{Specials, Tokenizer};

/// Its files, read but for the weights.
pub(super) struct Opened {
    pub source: ModelSource,
    pub checkpoint: Checkpoint,
    pub config: ModelConfig,
}

impl Opened {
    /// Finds and fetches what `model` names as `serve` does.
    pub(super) fn new(model: &str) -> anyhow::Result<Self> {
        let hub = Hub::new(HubConfig::from_env()?);
        let source = hub.resolve(model, &mut TextProgress::stderr())?;
        let (checkpoint, config) = Checkpoint::open(&source.path)?;
        Ok(Self {
            source,
            checkpoint,
            config,
        })
    }

    pub(super) fn mix(&self, to: Quantize) -> Mix {
        mix(to, &self.config, self.checkpoint.tensors())
    }

    pub(super) fn tokenizer(&self) -> anyhow::Result<Tokenizer> {
        let metadata = self.checkpoint.metadata();
        let folder = metadata.is_none().then_some(self.source.path.as_path());
        load::tokenizer(metadata, folder)
    }

    /// A decoder for one sequence of `window` tokens at a time, in one step.
    pub(super) fn decoder(
        &self,
        options: LoadOptions,
        window: usize,
        kv_dtype: KvDtype,
        cpu: &Cpu,
    ) -> anyhow::Result<Decoder> {
        let weights = Arc::new(self.weights(options, cpu)?);
        self.decoder_of(weights, window, kv_dtype, cpu)
    }

    /// The weights of such decoders.
    pub(super) fn weights(&self, options: LoadOptions, cpu: &Cpu) -> anyhow::Result<Weights> {
        let tensors = self.checkpoint.tensors();
        Ok(Weights::load(tensors, &self.config, options, cpu)?)
    }

    /// Such a decoder, of weights that are there.
    pub(super) fn decoder_of(
        &self,
        weights: Arc<Weights>,
        window: usize,
        kv_dtype: KvDtype,
        cpu: &Cpu,
    ) -> anyhow::Result<Decoder> {
        let limits = Limits {
            max_num_batched_tokens: window,
            max_samples: window,
            max_model_len: window,
            num_blocks: window.div_ceil(BLOCK_SIZE),
            num_host_blocks: 0,
            block_size: BLOCK_SIZE,
            kv_dtype,
        };
        Ok(Decoder::new(
            self.config.clone(),
            weights,
            &limits,
            cpu.clone(),
        )?)
    }
}

/// What each tensor of the model is quantised to. A model whose matrices are quantised already keeps their types when it is loaded.
pub(super) fn mix(to: Quantize, config: &ModelConfig, tensors: &dyn TensorSource) -> Mix {
    Mix {
        target: quantisation(to),
        num_layers: config.layers.len(),
        has_tied_head: !tensors.has_tensor("output.weight"),
    }
}

/// Of such decoders.
const BLOCK_SIZE: usize = 16;

/// The tokens of a text file, in which nothing is special.
pub(super) fn tokens_of(path: &Path, tokenizer: &Tokenizer) -> anyhow::Result<Vec<u32>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(tokenizer.encode(&text, Specials::Plain)?)
}

/// The device, with all cores or as many threads as were asked for.
pub(super) fn cpu(threads: Option<usize>) -> anyhow::Result<Cpu> {
    let threads = threads.unwrap_or_else(|| default_threads(available_cores()));
    Cpu::new(threads).context("threads")
}

/// By the name that was typed.
pub(super) fn quantisation(to: Quantize) -> Quantisation {
    match to {
        Quantize::Q4K => Quantisation::Q4K,
        Quantize::Q4_0 => Quantisation::Q4_0,
        Quantize::Q8_0 => Quantisation::Q8_0,
    }
}

/// A bar on a terminal while weights are loaded; elsewhere nothing, for the log says when they are.
pub(super) fn show_layers(done: usize, all: usize) {
    const WIDTH: usize = 30;
    let mut out = std::io::stderr();
    if !out.is_terminal() {
        return;
    }
    let full = done * WIDTH / all.max(1);
    let bar = format!("{}{}", "#".repeat(full), ".".repeat(WIDTH - full));
    let end = if done == all { "\r\x1b[K" } else { "" };
    // A closed standard error must not fail the loading.
    let _ = write!(out, "\rloading [{bar}] layer {done} of {all}{end}");
}
