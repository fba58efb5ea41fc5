//! What was found, as lines while it is found and as JSON.

use std::process::ExitCode;

use serde::Serialize;

use crate::backend::cuda::Cuda;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    card: String,
    capability: u32,
    memory_bytes: usize,
    version: &'static str,
    checks: Vec<Check>,
    rates: Vec<Rate>,
    serving: Vec<Serving>,
    /// That all of it took.
    pub seconds: f64,
}

/// Something that must not be more than a bound.
#[derive(Debug, Serialize)]
struct Check {
    what: String,
    found: f64,
    bound: f64,
}

/// How fast a kernel is.
#[derive(Debug, Serialize)]
pub(super) struct Rate {
    /// The kernel and the shape.
    pub what: String,
    /// Of a launch.
    pub microseconds: f64,
    /// Bytes that must move, a second.
    pub gb_per_second: f64,
    /// Of them, of what a copy moves on this card.
    pub part_of_copy: f64,
    /// Operations a second.
    pub tflops: f64,
    /// Of them, of the most that cuBLAS computes on this card, where arithmetic is what takes the time and its library is there.
    pub part_of_blas: Option<f64>,
}

/// Streams that are served together.
#[derive(Debug, Serialize)]
pub(super) struct Serving {
    /// Shape and format of the weights.
    pub model: String,
    /// Streams at a time.
    pub num_streams: usize,
    /// Tokens of each prompt.
    pub prompt_tokens: usize,
    /// Output tokens a second of all of them, prompts and all.
    pub tokens_per_second: f64,
    /// Time to the first token, median.
    pub ttft_ms: f64,
    /// Time between tokens, median.
    pub itl_p50_ms: f64,
    /// Of a hundred between tokens, the longest but one.
    pub itl_p99_ms: f64,
    /// Of a step's time, what the host takes to plan, launch and commit it.
    pub host_part: f64,
}

impl Report {
    pub fn new(cuda: &Cuda) -> Self {
        let card = cuda.card();
        println!("{cuda:?}, compute capability {}", card.capability);
        Self {
            card: card.name.clone(),
            capability: card.capability,
            memory_bytes: card.total_memory,
            version: env!("CARGO_PKG_VERSION"),
            checks: Vec::new(),
            rates: Vec::new(),
            serving: Vec::new(),
            seconds: 0.0,
        }
    }

    /// Notes what was found of what must not be more than `bound`.
    pub fn check(&mut self, what: impl Into<String>, found: f64, bound: f64) {
        let check = Check {
            what: what.into(),
            found,
            bound,
        };
        println!(
            "{:<5} {:<64} {found:.2e} (at most {bound:.0e})",
            if check.is_right() { "ok" } else { "WRONG" },
            check.what
        );
        self.checks.push(check);
    }

    pub fn rate(&mut self, rate: Rate) {
        let part_of_blas = rate.part_of_blas.map(|part| 100.0 * part);
        println!(
            "{:<58} {:>10.1} µs {:>8.0} GB/s ({:.0}% of a copy) {:>7.1} TFLOP/s{}",
            rate.what,
            rate.microseconds,
            rate.gb_per_second,
            100.0 * rate.part_of_copy,
            rate.tflops,
            part_of_blas.map_or_else(String::new, |part| format!(" ({part:.0}% of cuBLAS)"))
        );
        self.rates.push(rate);
    }

    pub fn serving(&mut self, serving: Serving) {
        println!(
            "{:<18} {:>4} streams {:>9.0} tokens/s, TTFT {:.1} ms, ITL {:.2} ms (P99 {:.2}), host {:.0}%",
            serving.model,
            serving.num_streams,
            serving.tokens_per_second,
            serving.ttft_ms,
            serving.itl_p50_ms,
            serving.itl_p99_ms,
            100.0 * serving.host_part
        );
        self.serving.push(serving);
    }

    /// Says how it went.
    pub fn conclude(&self) -> ExitCode {
        let num_wrong = self.checks.iter().filter(|check| !check.is_right()).count();
        println!(
            "{} checks in {:.1} s, {num_wrong} wrong",
            self.checks.len(),
            self.seconds
        );
        match num_wrong {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

impl Check {
    fn is_right(&self) -> bool {
        self.found <= self.bound
    }
}
