//! `flambeau doctor`: what was found on this machine, what is picked because of it, and what to do about what is broken.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{gpu_check, size_plan, system};
use crate::backend::cpu::{Cpu, Isa};
use crate::backend::cuda::{Cuda, cards};
use crate::config::{ByteSize, DEFAULT_MODEL, available_cores, default_threads};
use crate::hub::{Card, Hub, HubConfig, human_bytes};

/// Show what was found on this machine and what is picked because of it
#[derive(Debug, Args)]
pub struct DoctorCommand {
    /// Instead, say what of this model fits into memory, from its config.json alone: a folder, a hub id, a card's id or a .gguf file
    #[arg(long, value_name = "MODEL")]
    plan: Option<String>,
    /// How much memory that is, as 80GB [default: what is available]
    #[arg(long, requires = "plan", value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Instead, check that this GPU computes what the CPU does
    #[arg(long, value_name = "ORDINAL", num_args = 0..=1, default_missing_value = "0", conflicts_with = "plan")]
    gpu: Option<usize>,
    /// Then measure how fast it is: kernels, and models of 1B and 8B shapes with random weights
    #[arg(long, requires = "gpu")]
    measure: bool,
    /// Write what --gpu finds to this file, too
    #[arg(long, requires = "gpu", value_name = "FILE")]
    json: Option<PathBuf>,
}

impl DoctorCommand {
    /// Runs the command. The exit code is a failure if something is broken.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(ordinal) = self.gpu {
            return gpu_check::run(ordinal, self.measure, self.json.as_deref());
        }
        let Some(model) = self.plan else {
            return Ok(report());
        };
        let memory = match self
            .memory
            .or_else(|| system::available_memory().map(ByteSize))
        {
            Some(memory) => memory,
            None => anyhow::bail!("--memory: this system does not say how much there is"),
        };
        print!("{}", size_plan::plan(&model, memory)?);
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints a line or two for each thing that `serve` depends on.
fn report() -> ExitCode {
    let mut report = Report::default();
    let cores = available_cores();
    report.processor(cores);
    report.instructions();
    report.row("threads", format_args!("{}", threads(cores)));
    let memory = system::available_memory();
    report.row(
        "memory",
        match memory {
            Some(bytes) => format!("{} available", ByteSize(bytes)),
            None => "unknown on this system".into(),
        },
    );
    report.row("huge pages", match system::huge_pages().as_deref() {
        Some("never") => "never: reading weights from memory is about a tenth slower than with madvise or always".into(),
        Some(setting) => setting.to_owned(),
        None => "unknown on this system".into(),
    });
    report.cache();
    report.cards();
    print!("{}", report.text);
    match report.is_broken {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

/// How many threads are picked, and why.
fn threads(cores: usize) -> String {
    let threads = default_threads(cores);
    match threads == cores {
        true => format!("{threads}: one for each core this process may use"),
        false => format!(
            "{threads}: one for each core this process may use, but one, which is left to HTTP"
        ),
    }
}

#[derive(Default)]
struct Report {
    text: String,
    is_broken: bool,
}

impl Report {
    /// A line; continued where `name` is empty.
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        writeln!(self.text, "{name:<15}{value}").expect("a string takes all text: this is a bug");
    }

    /// Something that does not work, and what to do.
    fn broken(&mut self, name: &str, what: impl std::fmt::Display) {
        self.row(name, format_args!("BROKEN: {what}"));
        self.is_broken = true;
    }

    fn processor(&mut self, cores: usize) {
        let name = system::processor().unwrap_or_else(|| std::env::consts::ARCH.into());
        self.row(
            "processor",
            format_args!("{name}, {cores} cores for this process"),
        );
        let features = features();
        if !features.is_empty() {
            self.row("features", features.join(" "));
        }
    }

    fn cards(&mut self) {
        let cards = match cards() {
            Ok(cards) => cards,
            Err(reason) => return self.row("GPU", format_args!("none: {reason}")),
        };
        if cards.is_empty() {
            self.row("GPU", "none: the driver knows no card");
        }
        for card in cards {
            let name = format!("cuda:{}", card.ordinal);
            let about = format!(
                "{}, {}, compute capability {}.{}, {} multiprocessors",
                card.name,
                ByteSize(card.total_memory as u64),
                card.capability / 10,
                card.capability % 10,
                card.num_multiprocessors
            );
            // Opening loads the kernels.
            match Cuda::open(card.ordinal) {
                Ok(_) => self.row(&name, about),
                Err(error) => self.broken(&name, format_args!("{about}: {error}")),
            }
        }
    }

    fn instructions(&mut self) {
        let used = match Cpu::new(1) {
            Ok(cpu) => cpu.isa(),
            Err(error) => return self.broken("instructions", error),
        };
        for (i, isa) in Isa::ALL.into_iter().enumerate() {
            let state = match isa.usable() {
                Ok(()) if isa == used => "used".into(),
                Ok(()) => "usable".into(),
                Err(reason) => format!("not usable: {reason}"),
            };
            let name = if i == 0 { "instructions" } else { "" };
            self.row(name, format_args!("{isa:?}: {state}"));
        }
    }

    fn cache(&mut self) {
        let config = match HubConfig::from_env() {
            Ok(config) => config,
            Err(error) => return self.broken("cache", error),
        };
        let folder = config.cache_dir.clone();
        match try_to_write(&folder) {
            Ok(()) => self.row("cache", folder.display()),
            Err(error) => self.broken("cache", format_args!(
                "{} cannot be written ({error}); free it, or set FLAMBEAU_CACHE to another folder",
                folder.display()
            )),
        }
        let card = match Card::named(DEFAULT_MODEL) {
            Ok(card) => card,
            Err(error) => return self.broken("default model", error),
        };
        self.row("default model", match Hub::new(config).cached(card) {
            Some(path) => format!("{}, in {}", card.id, path.display()),
            None => format!(
                "{}, not fetched yet ({}): the first `flambeau serve` does, or `flambeau models pull {}`",
                card.id, human_bytes(card.size()), card.id
            ),
        });
    }
}

/// Writes a file into `folder` and removes it.
fn try_to_write(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    fs::write(&probe, "x")?;
    fs::remove_file(&probe)
}

/// The processor's extensions that matter to kernels.
fn features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let all = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avx_vnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512_vnni", is_x86_feature_detected!("avx512vnni")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let all: [(&str, bool); 0] = [];
    all.into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_comes_with_its_reason() {
        assert!(threads(2).starts_with("2: "));
        assert!(threads(16).starts_with("15: ") && threads(16).contains("HTTP"));
    }
}
