//! What became of it: a table to read, and the student's README.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::bar::human_time;
use super::choice::spelt;
use super::text::replace;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::cli::opened::Opened;
use crate::cli::system;
use crate::config::{ByteSize, Quantize};
use crate::model::distill::{self, HeldOut, Speed};
use crate::model::{Activations, LoadOptions, Weights};
use crate::ops::KvDtype;

/// What was measured.
pub(super) struct Report<'a> {
    pub teacher: &'a Opened,
    pub kept: &'a [usize],
    pub num_trained: usize,
    /// That the student was trained on, those that it met again included.
    pub tokens: usize,
    pub distinct_tokens: usize,
    pub by_teacher: bool,
    pub seed: u64,
    pub before: HeldOut,
    pub after: HeldOut,
    pub seconds: f64,
    pub speeds: Vec<(&'static str, Speed)>,
}

/// The teacher's speed as it is, and the student's as it may be served, measured in turns on `tokens`, one sequence.
pub(super) fn speeds(
    teacher: &Opened,
    weights: Arc<Weights>,
    student: &Path,
    tokens: &[u32],
    cpu: &Cpu,
) -> anyhow::Result<Vec<(&'static str, Speed)>> {
    // As a path, whatever else has that name.
    let student = Opened::new(&student.canonicalize()?.to_string_lossy())?;
    let window = tokens.len();
    let mut decoders = vec![teacher.decoder_of(weights, window, KvDtype::F16, cpu)?];
    let kinds = [Quantize::Q8_0, Quantize::Q4_0];
    for to in kinds {
        let options = LoadOptions {
            device: Device::Cpu,
            activations: Activations::Int8,
            mix: Some(student.mix(to)),
            blas: None,
            progress: None,
        };
        decoders.push(student.decoder(options, window, KvDtype::F16, cpu)?);
    }
    let names = ["teacher", "student, q8_0", "student, q4_0"];
    let speeds = distill::speeds(&decoders, tokens)?;
    Ok(names.into_iter().zip(speeds).collect())
}

impl Report<'_> {
    /// The student's README.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let teacher = &self.teacher.source.name;
        let licence = match self.teacher.source.card {
            Some(card) => format!(" Its weights are under {}.", card.licence),
            None => String::new(),
        };
        let text = format!(
            "# A student of {teacher}\n\n\
             Made by `flambeau distill`: {} of the {} layers of {teacher}, trained on its logits.{licence}\n\n\
             ```text\n{self}\n```\n\n\
             KL is the mean divergence of the student's distribution of the next token from the teacher's, in nats. Agreement is the part \
             of positions where both have the same likeliest token: how often a greedy draft of the student would be accepted. Both are \
             of text that it was not trained on.\n",
            self.kept.len(),
            self.teacher.config.layers.len(),
        );
        replace(path, text.as_bytes())
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.by_teacher {
            "written by the teacher"
        } else {
            "of --text"
        };
        writeln!(f, "a student of {}", self.teacher.source.name)?;
        writeln!(
            f,
            "layers        {} of {}: {}",
            self.kept.len(),
            self.teacher.config.layers.len(),
            spelt(self.kept)
        )?;
        writeln!(
            f,
            "trained       {:.1} million numbers on {} tokens ({} distinct, {from}), seed {}, {}",
            self.num_trained as f64 / 1e6,
            self.tokens,
            self.distinct_tokens.min(self.tokens),
            self.seed,
            human_time(self.seconds),
        )?;
        if let Some(resident) = system::resident() {
            writeln!(f, "memory        {} at most", ByteSize(resident.peak))?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "{:<14}{:>12}{:>12}   ({} held-out tokens)",
            "", "KL", "agreement", self.after.num_tokens
        )?;
        for (name, told) in [("untrained", self.before), ("trained", self.after)] {
            writeln!(
                f,
                "{name:<14}{:>12.3}{:>11.1}%",
                told.kl,
                100.0 * told.agreement
            )?;
        }
        writeln!(f)?;
        write!(
            f,
            "{:<14}{:>12}{:>12}   (tokens/s, one sequence)",
            "", "prefill", "decode"
        )?;
        for (name, speed) in &self.speeds {
            write!(
                f,
                "\n{name:<14}{:>12.0}{:>12.0}",
                speed.prefill, speed.decode
            )?;
        }
        Ok(())
    }
}
