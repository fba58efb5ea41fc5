//! The command line: one module a subcommand. The only layer that may see all the others.

mod adapters;
pub mod bench;
mod cache;
mod caches;
mod card_watch;
mod device;
mod distill;
mod doctor;
mod drafts;
mod embeddings;
pub mod eval;
mod generation;
mod gpu_check;
pub mod load;
mod loaded;
mod memory_plan;
pub mod models;
mod on_demand;
mod opened;
mod planned;
mod policy;
pub mod quantize;
mod remote;
mod routing;
pub mod serve;
mod served_weights;
mod signals;
mod size_plan;
mod system;
mod weights_digest;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A self-hosted inference server for open models
#[derive(Parser)]
#[command(name = "flambeau", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a model over an OpenAI-compatible API
    Serve(Box<serve::ServeCommand>),
    /// List, fetch and show models
    Models(models::ModelsCommand),
    Quantize(quantize::QuantizeCommand),
    Eval(eval::EvalCommand),
    Distill(distill::DistillCommand),
    Doctor(doctor::DoctorCommand),
    Cache(cache::CacheCommand),
    /// Measure servers
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    Serve(bench::ServeBench),
}

impl Cli {
    /// Runs the command that was typed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
        };
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Models(models) => models.run().map(|()| ExitCode::SUCCESS),
            Command::Quantize(quantize) => quantize.run().map(|()| ExitCode::SUCCESS),
            Command::Eval(eval) => eval.run().map(|()| ExitCode::SUCCESS),
            Command::Distill(distill) => distill.run().map(|()| ExitCode::SUCCESS),
            Command::Doctor(doctor) => doctor.run(),
            Command::Cache(cache) => runtime()?.block_on(cache.run()).map(|()| ExitCode::SUCCESS),
            Command::Bench(Bench::Serve(bench)) => runtime()?.block_on(bench.run()),
        }
    }
}
