//! `flambeau quantize`: a model's weights in fewer bits, as a GGUF file.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context as _;
use clap::Args;

use super::load;
use super::opened::{Opened, cpu, tokens_of};
use crate::backend::cpu::Cpu;
use crate::config::Quantize;
use crate::hub::human_bytes;
use crate::model::gguf::raw;
use crate::model::quantise::{AsGguf, QuantiseJob, RawEntry, entries_of};
use crate::model::{Activations, Importance, perplexity};
use crate::ops::KvDtype;
use crate::text::GgufVocab;

/// Quantise a model into a GGUF file that llama.cpp's programs load, too
#[derive(Debug, Args)]
pub struct QuantizeCommand {
    /// A card's id, a path, or a hub id, as for serve
    input: String,
    /// The file to write
    output: PathBuf,
    /// To what
    #[arg(long = "type", value_enum, default_value_t = Quantize::Q4K)]
    to: Quantize,
    /// A text, a file: what weights meet while the model reads it says which errors matter
    #[arg(long, value_name = "FILE")]
    imatrix: Option<PathBuf>,
    /// Threads that compute [default: as for serve]
    #[arg(long)]
    threads: Option<usize>,
}

/// Tokens of the text that the model reads at once.
const WINDOW: usize = 512;

impl QuantizeCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        if self.imatrix.is_some() && self.to == Quantize::Q8_0 {
            anyhow::bail!("--imatrix: q8_0 rounds every value to the nearest; leave it away");
        }
        let opened = Opened::new(&self.input)?;
        let metadata = opened.checkpoint.metadata();
        let cpu = cpu(self.threads)?;
        let folder = match metadata {
            Some(_) => None,
            None => Some(AsGguf::new(opened.checkpoint.tensors(), &opened.config)?),
        };
        let entries = match (&folder, metadata) {
            (Some(folder), _) => {
                let mut entries = folder.entries(&opened.source.name);
                entries.extend(tokenizer_entries(&opened)?);
                entries
            }
            (None, Some(metadata)) => entries_of(metadata),
            (None, None) => anyhow::bail!("a model is a file or a folder: this is a bug"),
        };
        if self.output.is_dir() {
            anyhow::bail!("{}: is a folder, not a file to be", self.output.display());
        }
        // Takes minutes: what would be refused is by now.
        let importance = match &self.imatrix {
            None => None,
            Some(path) => Some(importance(&opened, path, &cpu).context("--imatrix")?),
        };
        let job = QuantiseJob {
            source: match &folder {
                Some(folder) => folder,
                None => opened.checkpoint.tensors(),
            },
            entries,
            mix: opened.mix(self.to),
            importance: importance.as_ref(),
            cpu: &cpu,
        };
        let started = Instant::now();
        let written = job.write(&self.output, |done, all| eprint!("\r{done}/{all} tensors"));
        eprintln!();
        written.with_context(|| self.output.display().to_string())?;
        let size = std::fs::metadata(&self.output)?.len();
        println!(
            "{}: {} in {:.1} s",
            self.output.display(),
            human_bytes(size),
            started.elapsed().as_secs_f64()
        );
        Ok(())
    }
}

/// What the weights meet while the model reads the text.
fn importance(opened: &Opened, path: &std::path::Path, cpu: &Cpu) -> anyhow::Result<Importance> {
    let tokenizer = opened.tokenizer()?;
    let tokens = tokens_of(path, &tokenizer)?;
    let window = WINDOW.min(opened.config.context_length);
    let mut decoder = opened.decoder(Activations::Int8.into(), window, KvDtype::F16, cpu)?;
    decoder.record_importance();
    let bos = tokenizer.bos_id().filter(|_| tokenizer.adds_bos());
    let read = perplexity(&decoder, &tokens, window, bos, |done, all| {
        eprint!("\r{done}/{all} windows");
    });
    eprintln!();
    let score = read?;
    eprintln!("perplexity before: {:.4}", score.perplexity());
    decoder
        .take_importance()
        .context("importance was recorded: this is a bug")
}

/// What a folder's tokenizer and template are in a GGUF file.
fn tokenizer_entries(opened: &Opened) -> anyhow::Result<Vec<RawEntry<'static>>> {
    let folder = &opened.source.path;
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let tokenizer = opened.tokenizer()?;
    let vocab = GgufVocab::from_json(&json, &tokenizer, opened.config.vocab_size)?;
    let mut entries: Vec<RawEntry<'static>> = Vec::new();
    let mut add = |key: &str, value: Option<Vec<u8>>| {
        if let Some(value) = value {
            entries.push((format!("tokenizer.{key}").into(), value.into()));
        }
    };
    add("ggml.model", Some(raw::str(&vocab.model)));
    add("ggml.pre", vocab.pre.as_deref().map(raw::str));
    add("ggml.tokens", Some(raw::strs(&vocab.tokens)));
    add("ggml.token_type", Some(raw::i32s(&vocab.token_types)));
    let has_scores = !vocab.scores.is_empty();
    add("ggml.scores", has_scores.then(|| raw::f32s(&vocab.scores)));
    add(
        "ggml.merges",
        (!has_scores).then(|| raw::strs(&vocab.merges)),
    );
    add("ggml.bos_token_id", vocab.bos_id.map(raw::u32));
    add("ggml.eos_token_id", vocab.eos_id.map(raw::u32));
    add("ggml.unknown_token_id", vocab.unk_id.map(raw::u32));
    add("ggml.add_bos_token", vocab.add_bos.map(raw::bool));
    add("ggml.add_eos_token", vocab.add_eos.map(raw::bool));
    add(
        "ggml.add_space_prefix",
        vocab.add_space_prefix.map(raw::bool),
    );
    let template = load::template_of_folder(folder)?;
    add("chat_template", template.as_deref().map(raw::str));
    Ok(entries)
}
