//! `flambeau eval`: how well a model foresees a text.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};

use super::opened::{Opened, cpu, show_layers, tokens_of};
use crate::backend::Device;
use crate::config::Quantize;
use crate::model::{Activations, LoadOptions, perplexity};
use crate::ops::KvDtype;

/// Measure a model's perplexity on a text: of quantisations and KV dtypes, whose loss shows in it
#[derive(Debug, Args)]
pub struct EvalCommand {
    /// A card's id, a path, or a hub id, as for serve
    model: String,
    /// The text, a file
    #[arg(long, value_name = "FILE")]
    text: PathBuf,
    /// Tokens a window, of which the second half is scored
    #[arg(long, default_value_t = 512)]
    window: usize,
    /// Windows at most
    #[arg(long, value_name = "N")]
    max_windows: Option<usize>,
    /// What keys and values are rounded to
    #[arg(long, value_enum, default_value_t = Kv::F16)]
    kv_cache_dtype: Kv,
    /// Quantise weights of 16 or 32 bits as they are loaded
    #[arg(long, value_enum)]
    quantize: Option<Quantize>,
    /// Compute with float32 activations and weights: slow, what the others are compared with
    #[arg(long)]
    reference: bool,
    /// Threads that compute [default: as for serve]
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kv {
    F16,
    Bf16,
    Int8,
}

impl EvalCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let opened = Opened::new(&self.model)?;
        if self.window < 4 || self.window > opened.config.context_length {
            anyhow::bail!(
                "--window: {} is not in 4..={}, the model's context",
                self.window,
                opened.config.context_length
            );
        }
        let tokenizer = opened.tokenizer()?;
        let mut tokens = tokens_of(&self.text, &tokenizer)?;
        if let Some(max) = self.max_windows {
            tokens.truncate(max.saturating_mul(self.window));
        }
        let cpu = cpu(self.threads)?;
        let kv_dtype = match self.kv_cache_dtype {
            Kv::F16 => KvDtype::F16,
            Kv::Bf16 => KvDtype::Bf16,
            Kv::Int8 => KvDtype::Int8,
        };
        let options = LoadOptions {
            device: Device::Cpu,
            activations: match self.reference {
                true => Activations::Float,
                false => Activations::Int8,
            },
            mix: self.quantize.map(|to| opened.mix(to)),
            blas: None,
            progress: Some(show_layers),
        };
        let decoder = opened.decoder(options, self.window, kv_dtype, &cpu)?;
        let bos = tokenizer.bos_id().filter(|_| tokenizer.adds_bos());
        let started = Instant::now();
        let score = perplexity(&decoder, &tokens, self.window, bos, |done, all| {
            eprint!("\r{done}/{all} windows");
        });
        eprintln!();
        let score = score?;
        println!(
            "perplexity {:.4} ± {:.4} ({} tokens scored in windows of {}, {:.1} s)",
            score.perplexity(),
            score.standard_error(),
            score.num_tokens,
            self.window,
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }
}
