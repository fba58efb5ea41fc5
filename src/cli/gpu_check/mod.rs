//! `flambeau doctor --gpu`: whether a card computes what the CPU does, and with `--measure` how fast.

mod additions;
mod attention;
mod cases;
mod draws;
mod experts;
mod models;
mod paged;
mod products;
mod rates;
mod report;
mod serving;
mod small;
mod tokens;
mod turns;
mod weights;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;

use super::bench::rng::Rng;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda, Slice};
use crate::config::{available_cores, default_threads};
use crate::ops::{DType, Tensor};
use report::Report;

/// Prints a table, and writes it to `json`. A failure if anything is wrong.
pub(super) fn run(ordinal: usize, measures: bool, json: Option<&Path>) -> anyhow::Result<ExitCode> {
    let start = Instant::now();
    let cuda = Cuda::open(ordinal).context("--gpu")?;
    let cpu = Cpu::new(default_threads(available_cores()))?;
    let mut report = Report::new(&cuda);
    let blas = Blas::new(&cuda).inspect_err(|error| println!("cuBLAS: passed over: {error}"));
    let blas = blas.ok();
    products::check(&mut report, &cuda, &cpu).context("products")?;
    if let Some(blas) = &blas {
        products::check_blas(&mut report, blas, &cpu).context("cuBLAS")?;
    }
    additions::check(&mut report, &cuda, &cpu).context("additions")?;
    experts::check(&mut report, &cuda, &cpu).context("experts")?;
    small::check(&mut report, &cuda, &cpu).context("norms and activations")?;
    tokens::check(&mut report, &cuda, &cpu).context("tokens")?;
    attention::check(&mut report, &cuda, &cpu).context("attention")?;
    turns::check(&mut report, &cuda, &cpu).context("turns")?;
    draws::check(&mut report, &cuda, &cpu).context("draws")?;
    models::check(&mut report, &cuda, &cpu).context("models")?;
    if measures {
        rates::measure(&mut report, &cuda, blas.as_ref(), &cpu).context("rates")?;
        serving::measure(&mut report, &cuda, blas.as_ref(), &cpu).context("serving")?;
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

/// As `dtype` holds them.
fn rounded(values: &[f32], dtype: DType) -> anyhow::Result<Vec<f32>> {
    let values = Tensor::from_slice(values, (1, values.len()))?;
    Ok(values.to_device(dtype, &Device::Cpu)?.to_vec()?)
}

/// What one rounding to 16 bits changes a number by, of its size, at most.
fn rounding(half: DType) -> f64 {
    match half {
        DType::F16 => 0.5f64.powi(11),
        _ => 0.5f64.powi(8),
    }
}

/// A matrix of what is no number, so that what is not written shows.
fn poison(shape: (usize, usize), dtype: DType, device: &Device) -> anyhow::Result<Tensor> {
    let poison = Tensor::from_slice(&vec![f32::NAN; shape.0 * shape.1], shape)?;
    Ok(poison.to_device(dtype, device)?)
}

/// Numbers in a card's memory.
fn sent(numbers: &[u32], cuda: &Cuda) -> anyhow::Result<Slice> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
    Ok(cuda.upload(&bytes)?)
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
