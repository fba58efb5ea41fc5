//! A report as people read it.

use std::fmt::{Display, Formatter, Result};

use super::report::Report;
use super::stats::Summary;

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let settings = &self.settings;
        let model = settings.model.as_deref().unwrap_or("?");
        writeln!(
            f,
            "{} · {model} · {}",
            settings.url,
            settings.endpoint.path()
        )?;
        match settings.request_rate {
            Some(rate) => writeln!(
                f,
                "open loop: {rate} requests/s (Poisson, seed {}), at most {} in flight",
                settings.seed,
                settings.places()
            )?,
            None => writeln!(f, "closed loop: {} in flight", settings.places())?,
        }
        let mean = |tokens: u64| tokens as f64 / self.completed.max(1) as f64;
        writeln!(f)?;
        line(
            f,
            "requests",
            format_args!("{} completed, {} failed", self.completed, self.failed),
        )?;
        line(f, "duration", format_args!("{:.2} s", self.duration_s))?;
        if let Some(cores) = self.client_cpu_cores {
            line(f, "load generator", format_args!("{cores:.2} cores"))?;
        }
        line(
            f,
            "concurrency reached",
            format_args!(
                "{} at most, {:.1} on average",
                self.max_concurrency, self.mean_concurrency
            ),
        )?;
        line(
            f,
            "tokens a request",
            format_args!(
                "{:.1} prompt, {:.1} output",
                mean(self.prompt_tokens),
                mean(self.output_tokens)
            ),
        )?;
        line(f, "requests/s", format_args!("{:.3}", self.requests_per_s))?;
        line(
            f,
            "output tokens/s",
            format_args!("{:.1}", self.output_tokens_per_s),
        )?;
        line(
            f,
            "total tokens/s",
            format_args!("{:.1}", self.total_tokens_per_s),
        )?;
        writeln!(f)?;
        let columns = ["mean", "P50", "P90", "P95", "P99", "max"]
            .map(|name| format!("{name:>11}"))
            .concat();
        writeln!(f, "{:<20}{columns}", "ms")?;
        row(f, "TTFT", self.ttft_ms)?;
        row(f, "ITL", self.itl_ms)?;
        row(f, "TPOT", self.tpot_ms)?;
        row(f, "E2E", self.e2e_ms)?;
        if settings.request_rate.is_some() {
            row(f, "schedule delay", self.schedule_delay_ms)?;
            row(f, "TTFT from send", self.ttft_from_send_ms)?;
        }
        for (i, note) in self.notes().iter().enumerate() {
            let gap = if i == 0 { "\n" } else { "" };
            writeln!(f, "{gap}{note}")?;
        }
        if !self.failures.is_empty() {
            writeln!(
                f,
                "\nfailed requests (in no figure but concurrency and duration):"
            )?;
        }
        for failure in &self.failures {
            line(
                f,
                &failure.kind,
                format_args!("{} (e.g. {})", failure.count, failure.example),
            )?;
        }
        Ok(())
    }
}

impl Report {
    /// What one must know to read the figures right.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.settings.request_rate.is_some() {
            notes.push(
                "TTFT and E2E run from the intended start: they include the schedule delay.".into(),
            );
        }
        if let Some(ratio) = self
            .tokens_per_chunk
            .filter(|ratio| (ratio - 1.0).abs() >= 0.05)
        {
            notes.push(format!(
                "ITL is per chunk, and a chunk has {ratio:.2} tokens on average: see TPOT for single tokens."
            ));
        }
        if self.replies_without_usage > 0 {
            notes.push(format!(
                "{} replies had no usage: their output tokens are counted as chunks, their prompt tokens not at all.",
                self.replies_without_usage
            ));
        }
        if self.replies_without_content > 0 {
            notes.push(format!(
                "{} replies had no content, so no TTFT.",
                self.replies_without_content
            ));
        }
        notes
    }
}

fn line(f: &mut Formatter<'_>, name: &str, value: std::fmt::Arguments<'_>) -> Result {
    writeln!(f, "{name:<20} {value}")
}

fn row(f: &mut Formatter<'_>, name: &str, summary: Option<Summary>) -> Result {
    write!(f, "{name:<20}")?;
    match summary {
        Some(s) => {
            for value in [s.mean, s.p50, s.p90, s.p95, s.p99, s.max] {
                write!(f, "{value:>11.2}")?;
            }
            writeln!(f)
        }
        None => writeln!(f, "{:>11}", "no sample"),
    }
}
