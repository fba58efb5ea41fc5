//! The `flambeau` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match flambeau::cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("flambeau: {error:#}");
            ExitCode::FAILURE
        }
    }
}
