//! `flambeau doctor --gpu`: whether a card computes what the CPU does, and with `--measure` how fast.

mod attention;
mod draws;
mod models;
mod products;
mod rates;
mod report;
mod serving;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;

use super::bench::rng::Rng;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::config::{available_cores, default_threads};
use report::Report;

/// Prints a table, and writes it to `json`. A failure if anything is wrong.
pub(super) fn run(ordinal: usize, measures: bool, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let cuda = Cuda::open(ordinal).context("--gpu")?;
    let cpu = Cpu::new(default_threads(available_cores()))?;
    let mut report = Report::new(&cuda);
    products::check(&mut report, &cuda, &cpu).context("products")?;
    attention::check(&mut report, &cuda, &cpu).context("attention")?;
    draws::check(&mut report, &cuda, &cpu).context("draws")?;
    models::check(&mut report, &cuda, &cpu).context("models")?;
    if measures {
        rates::measure(&mut report, &cuda, &cpu).context("rates")?;
        serving::measure(&mut report, &cuda, &cpu).context("serving")?;
    }
    report.seconds = start.elapsed().as_secs_f64();
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, text + "\n").with_context(|| format!("--json: {path:?}"))?;
    }
    Ok(report.conclude())
}

/// Uniform in -1..1.
fn uniform(random: &mut Rng, len: usize) -> Vec<f32> {
    let mut value = || 2.0 * random.unit() as f32 - 1.0;
    (0..len).map(|_| value()).collect()
}

/// The root of the mean square difference, relative to what is wanted; infinite where something is no number.
fn relative_error(got: &[f32], want: &[f32]) -> f64 {
    let squares = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let wrong = squares(&mut got.iter().zip(want).map(|(a, b)| f64::from(a - b)));
    let size = squares(&mut want.iter().map(|x| f64::from(*x)));
    let error = (wrong / size.max(1e-30)).sqrt();
    match error.is_finite() && got.len() == want.len() {
        true => error,
        false => f64::INFINITY,
    }
}

/// Rows that differ in a bit.
fn num_different(got: &[f32], want: &[f32], width: usize) -> usize {
    let rows = got.chunks(width).zip(want.chunks(width));
    let differ =
        |(a, b): &(&[f32], &[f32])| a.iter().zip(*b).any(|(a, b)| a.to_bits() != b.to_bits());
    rows.filter(differ).count() + got.len().abs_diff(want.len())
}
