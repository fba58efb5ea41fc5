//! `flambeau distill`: a faster model of the same tokenizer, cut from another and taught by it.

mod bar;
mod choice;
mod folder;
mod record;
mod report;
mod teacher_text;
mod text;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Args;

use super::opened::{Opened, cpu};
use crate::backend::cpu::Cpu;
use crate::hub::ModelSource;
use crate::model::distill::{
    Data, HeldOut, Schedule, Split, Student, Teacher, TrainSettings, Trainer, block_influence,
    check_supported, load_state, most_influential, save_state, use_threads,
};
use crate::model::{Activations, Weights};
use crate::ops::KvDtype;
use crate::text::Tokenizer;
use bar::Bar;
use choice::LayerChoice;
use record::Record;
use report::Report;

/// Make a faster model: some of a model's layers, taught by all of them
///
/// The student has some of the teacher's layers. It is trained to give the teacher's distribution of the next token (the KL divergence
/// over the whole vocabulary, AdamW in float32; the embedding and the LM head stay), and written as a folder that `serve --model` takes.
/// Held-out text, on which it is never trained, says how close it has come.
///
/// A run that was interrupted goes on where it was (at most two minutes earlier) when the same command is given again, and ends with the
/// same bits.
///
/// Teachers are dense models of the families Llama (Mistral and SmolLM2 among them), Qwen 2 and Qwen 3, from GGUF files or folders.
#[derive(Debug, Args)]
pub struct DistillCommand {
    /// The model to learn from: a card's id, a path, or a hub id, as for serve
    #[arg(long, value_name = "MODEL")]
    teacher: String,
    /// How many of its layers stay, or which (0-9,25-29). Of a number the first and the last do, and those between that change what
    /// passes through them the most (block influence, arXiv 2403.03853, over 2,048 tokens of the text)
    #[arg(long, value_name = "N|LIST")]
    layers: LayerChoice,
    /// The folder to write; what training needs until it ends is in its .training
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Text to read, files; without any the teacher answers questions on a list of subjects, sampled at temperature 1
    #[arg(long, value_name = "FILE", num_args = 1..)]
    text: Vec<PathBuf>,
    /// Tokens to train on; a text that has fewer is read again
    #[arg(long, value_name = "N", default_value_t = 65_536)]
    tokens: usize,
    /// Tokens a sequence
    #[arg(long, value_name = "N", default_value_t = 256)]
    sequence_length: usize,
    /// Sequences a step
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch_size: usize,
    /// At its highest: it rises over the first tenth of the steps and falls to a tenth of it
    #[arg(long, value_name = "RATE", default_value_t = 5e-4)]
    learning_rate: f64,
    /// Of the order of the text, and of what the teacher writes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads that compute; the result is the same for any number [default: as for serve]
    #[arg(long)]
    threads: Option<usize>,
}

/// Between two states of the training on disk.
const SAVE_EVERY: Duration = Duration::from_secs(120);
/// Tokens that a layer's influence is measured with.
const INFLUENCE_TOKENS: usize = 2048;
const TRAINING: &str = ".training";

impl DistillCommand {
    /// Runs the command.
    pub fn run(self) -> anyhow::Result<()> {
        let opened = Opened::new(&self.teacher)?;
        self.check(&opened)?;
        let cpu = cpu(self.threads)?;
        use_threads(cpu.num_threads())?;
        let folder = self.output.join(TRAINING);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let _lock = self.locked(&folder)?;
        let mut record = Record::open(&folder.join("run.json"))?;
        if record.is_new() && self.state().exists() {
            bail!(
                "--output: {} has a run's state, but not what the run was begun with: take another folder, or remove it",
                folder.display()
            );
        }
        let weights = Arc::new(opened.weights(Activations::Int8.into(), &cpu)?);
        let tokenizer = opened.tokenizer()?;
        let text = self.tokens(&opened, &tokenizer, &weights, &mut record, &cpu)?;
        let bos = tokenizer.bos_id().filter(|_| tokenizer.adds_bos());
        let Some(split) = Split::new(&text, self.sequence_length, bos) else {
            bail!(
                "--text: {} tokens make no two sequences of {} (--sequence-length)",
                text.len(),
                self.sequence_length
            );
        };
        let kept = match record.kept() {
            Some(kept) => kept,
            None => record.keep(self.kept(&opened, &split, &cpu)?)?,
        };
        let started = Instant::now();
        let (trainer, before) = self.train(&opened, &weights, &split, &kept, &mut record, &cpu)?;
        let after = measured(&trainer, &split)?;
        if !after.kl.is_finite() {
            bail!(
                "the student's divergence is {}: take a lower --learning-rate, and another --output",
                after.kl
            );
        }
        let num_steps = trainer.progress().1;
        let student = trainer.into_student();
        folder::write(&self.output, &opened, &student, &tokenizer, &kept, &cpu)?;
        let report = Report {
            teacher: &opened,
            kept: &kept,
            num_trained: student.num_trained(),
            tokens: num_steps * self.batch_size * self.sequence_length,
            distinct_tokens: split.train.len() * self.sequence_length,
            by_teacher: self.text.is_empty(),
            seed: self.seed,
            before,
            after,
            seconds: started.elapsed().as_secs_f64(),
            speeds: report::speeds(&opened, weights, &self.output, &split.held_out[0], &cpu)?,
        };
        report.write(&self.output.join("README.md"))?;
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
        println!("{}: {report}", self.output.display());
        Ok(())
    }

    /// Refuses what cannot be done, before anything is.
    fn check(&self, opened: &Opened) -> anyhow::Result<()> {
        let context = opened.config.context_length;
        for (flag, value, range) in [
            ("--sequence-length", self.sequence_length, 48..=context),
            ("--batch-size", self.batch_size, 1..=1 << 16),
            ("--tokens", self.tokens, 1..=1 << 40),
        ] {
            if !range.contains(&value) {
                bail!(
                    "{flag}: {value} is not in {}..={}",
                    range.start(),
                    range.end()
                );
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate < 1.0) {
            bail!(
                "--learning-rate: {} is not between 0 and 1",
                self.learning_rate
            );
        }
        self.layers.check(opened.config.layers.len())?;
        check_supported(&opened.config)?;
        self.check_output()
    }

    /// How far the training is, for a run that goes on.
    fn state(&self) -> PathBuf {
        self.output.join(TRAINING).join("state.safetensors")
    }

    /// Keeps `folder` from other runs as long as it is held.
    fn locked(&self, folder: &Path) -> anyhow::Result<File> {
        let path = folder.join("lock");
        let lock = File::create(&path).with_context(|| path.display().to_string())?;
        match lock.try_lock() {
            Ok(()) => Ok(lock),
            Err(TryLockError::WouldBlock) => bail!(
                "--output: another run writes to {}: wait for it, or take another folder",
                self.output.display()
            ),
            Err(TryLockError::Error(error)) => Err(error).context(path.display().to_string()),
        }
    }

    /// A folder that is not there, or has nothing in it, or a run that is to go on: nobody's files are replaced.
    fn check_output(&self) -> anyhow::Result<()> {
        let output = &self.output;
        let is_ours = output.join(TRAINING).join("run.json").exists();
        // As it is when it was interrupted before there was anything to record.
        let is_begun = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.file_name() == TRAINING)
        };
        let has_others = match fs::read_dir(output) {
            Ok(mut entries) => !entries.all(is_begun),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => {
                return Err(error).with_context(|| format!("--output: {}", output.display()));
            }
        };
        if has_others && !is_ours {
            bail!(
                "--output: {} has other files in it; take a folder that is new, or empty",
                output.display()
            );
        }
        Ok(())
    }

    /// All text, to train on and to measure by; the record must be of the same.
    fn tokens(
        &self,
        opened: &Opened,
        tokenizer: &Tokenizer,
        weights: &Arc<Weights>,
        record: &mut Record,
        cpu: &Cpu,
    ) -> anyhow::Result<Vec<u32>> {
        let own = match self.text.is_empty() {
            true => None,
            false => Some(text::read(&self.text, tokenizer)?),
        };
        record.check(&[
            ("--teacher", identity(&opened.source)?),
            ("--layers", self.layers.to_string()),
            ("--text", text::digest(own.as_deref())),
            ("--tokens", self.tokens.to_string()),
            ("--sequence-length", self.sequence_length.to_string()),
            ("--batch-size", self.batch_size.to_string()),
            ("--learning-rate", self.learning_rate.to_string()),
            ("--seed", self.seed.to_string()),
        ])?;
        if let Some(own) = own {
            return Ok(own);
        }
        let path = self.output.join(TRAINING).join("teacher_text");
        if path.exists() {
            return text::load(&path);
        }
        let length = self.sequence_length;
        // And what is held out.
        let wanted = (self.num_steps() * self.batch_size + 16) * length;
        let written = teacher_text::write(opened, tokenizer, weights, wanted, self.seed, cpu)?;
        record.save()?;
        text::save(&written, &path)?;
        Ok(written)
    }

    fn num_steps(&self) -> usize {
        self.tokens.div_ceil(self.batch_size * self.sequence_length)
    }

    /// The layers that stay.
    fn kept(&self, opened: &Opened, split: &Split, cpu: &Cpu) -> anyhow::Result<Vec<usize>> {
        let count = match &self.layers {
            LayerChoice::These(layers) => return Ok(layers.clone()),
            LayerChoice::Count(count) => *count,
        };
        let length = self.sequence_length;
        let num = INFLUENCE_TOKENS.div_ceil(length).min(split.train.len());
        let mut bar = Bar::new("measuring layers");
        let influence = block_influence(
            opened.checkpoint.tensors(),
            &opened.config,
            &split.train[..num].concat(),
            length,
            cpu,
            |done, all| bar.show(done, all, ""),
        )?;
        bar.end();
        let kept = most_influential(&influence, count);
        let shown: Vec<String> = influence.iter().map(|x| format!("{x:.3}")).collect();
        eprintln!("influence of layers: {}", shown.join(" "));
        eprintln!("layers that stay: {}", choice::spelt(&kept));
        Ok(kept)
    }

    /// Trains to the end; gives also what the student was like before.
    fn train(
        &self,
        opened: &Opened,
        weights: &Arc<Weights>,
        split: &Split,
        kept: &[usize],
        record: &mut Record,
        cpu: &Cpu,
    ) -> anyhow::Result<(Trainer, HeldOut)> {
        let length = self.sequence_length;
        let tensors = opened.checkpoint.tensors();
        let student = Student::new(tensors, &opened.config, kept, length, cpu)?;
        let decoder = opened.decoder_of(Arc::clone(weights), length, KvDtype::F16, cpu)?;
        let settings = TrainSettings {
            batch_size: self.batch_size,
            schedule: Schedule {
                learning_rate: self.learning_rate,
                num_steps: self.num_steps(),
            },
        };
        let data = Data::new(split.train.clone(), self.seed);
        let mut trainer = Trainer::new(student, Teacher::new(decoder), data, settings);
        let before = match record.before() {
            Some(before) => before,
            None => record.set_before(measured(&trainer, split)?)?,
        };
        let state = self.state();
        if state.exists() {
            load_state(&mut trainer, &state)?;
            let (done, all) = trainer.progress();
            eprintln!("going on after step {done} of {all}");
        }
        self.steps(&mut trainer, &state)?;
        Ok((trainer, before))
    }

    fn steps(&self, trainer: &mut Trainer, state: &Path) -> anyhow::Result<()> {
        let (first, num_steps) = trainer.progress();
        let (started, mut saved) = (Instant::now(), Instant::now());
        let mut bar = Bar::new("training");
        let mut smoothed: Option<f64> = None;
        for i in first..num_steps {
            let loss = trainer.step()?;
            let mean = smoothed.map_or(loss, |mean| mean + 0.1 * (loss - mean));
            smoothed = Some(mean);
            let here = (i + 1 - first) as f64;
            let pace = started.elapsed().as_secs_f64() / here;
            let told = format!(
                "KL {mean:.3}  {:.0} tokens/s  {} left",
                (self.batch_size * self.sequence_length) as f64 / pace,
                bar::human_time(pace * (num_steps - 1 - i) as f64)
            );
            bar.show(i + 1, num_steps, &told);
            if saved.elapsed() >= SAVE_EVERY || i + 1 == num_steps {
                save_state(trainer, state)?;
                saved = Instant::now();
            }
        }
        bar.end();
        Ok(())
    }
}

/// What tells a teacher's files from others: their place, size and age.
fn identity(source: &ModelSource) -> anyhow::Result<String> {
    let path = source
        .path
        .canonicalize()
        .with_context(|| source.path.display().to_string())?;
    let weights = fs::metadata(&path).with_context(|| path.display().to_string())?;
    let age = weights
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let seconds = age.map_or(0, |age| age.as_secs());
    Ok(format!(
        "{} ({} bytes of {seconds})",
        path.display(),
        weights.len()
    ))
}

fn measured(trainer: &Trainer, split: &Split) -> anyhow::Result<HeldOut> {
    let mut bar = Bar::new("measuring");
    let told = trainer.measure(&split.held_out, |done, all| bar.show(done, all, ""))?;
    bar.end();
    Ok(told)
}
