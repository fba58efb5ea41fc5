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

/// Steele et al., "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`.
    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// In -1..1.
    fn uniform(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn values(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.uniform()).collect()
    }
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
    rows.filter(differ).count()
}
