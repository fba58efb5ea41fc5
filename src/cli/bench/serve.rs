//! `flambeau bench serve`: the flags, and the run from them to a report.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, ValueEnum, value_parser};
use serde::Serialize;

use super::arrival::Poisson;
use super::client::{client, first_model};
use super::drive::{Target, drive};
use super::prompts::{Body, Prompts};
use super::report::Report;

/// Measure a server that speaks OpenAI's streaming protocol.
///
/// Without --request-rate the loop is closed: each of --concurrency clients sends its next request when it has its
/// last reply, so a slow server is asked less. With it the loop is open: requests come at random times (Poisson) at
/// that rate, whether or not the server keeps up, and latencies run from the time a request was meant to be sent.
/// The exit code is not zero when any request failed.
#[derive(Clone, Parser, Serialize)]
pub struct ServeBench {
    /// The server's root, with or without /v1
    #[arg(long)]
    pub url: String,
    /// The model to ask for [default: the first of /v1/models]
    #[arg(long)]
    pub model: Option<String>,
    /// The endpoint to post to
    #[arg(long, value_enum, default_value_t = Endpoint::Chat)]
    pub endpoint: Endpoint,
    /// Requests in flight: exactly so many in closed loop, at most so many in open loop (default there: no cap)
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000), required_unless_present = "request_rate")]
    pub concurrency: Option<u32>,
    /// Requests to measure
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000_000))]
    pub num_prompts: u32,
    /// Requests per second in open loop, with Poisson arrivals
    #[arg(long, value_parser = request_rate)]
    pub request_rate: Option<f64>,
    /// Words of a synthetic prompt, each about a token; they differ from request to request [default: 128]
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub input_len: Option<u32>,
    /// Words put before each synthetic prompt that are the same in all of them
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub shared_prefix: u32,
    /// A file of prompts instead, one {"prompt": …} (text or token ids) or {"messages": […]} a line; taken in order, and
    /// again from the start when they run out
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input_len", "shared_prefix"])]
    pub dataset: Option<PathBuf>,
    /// Output tokens asked for, as max_tokens [default: the server's]
    #[arg(long, value_parser = value_parser!(u32).range(1..))]
    pub output_len: Option<u32>,
    /// Ask the server to generate all of --output-len
    #[arg(long, requires = "output_len")]
    pub ignore_eos: bool,
    /// The sampling temperature [default: the server's]
    #[arg(long, value_parser = temperature, allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// A key to send as bearer token; env:NAME takes it from the environment
    #[arg(long)]
    #[serde(skip)]
    pub api_key: Option<String>,
    /// Requests sent first, at the same concurrency, that are not measured
    #[arg(long, default_value_t = 0, value_parser = value_parser!(u32).range(0..=1_000_000))]
    pub warmup: u32,
    /// Seconds a request may take from sending it to the end of its reply
    #[arg(long, default_value_t = 600.0, value_parser = timeout)]
    pub timeout: f64,
    /// Write the report as JSON to a file, or with - to standard output (the table then goes to standard error)
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub json: Option<PathBuf>,
    /// Write what became of each request to a file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub samples: Option<PathBuf>,
    /// Fixes the arrivals and the synthetic prompts; another seed gives prompts that no cache has seen
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// What requests are posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoint {
    /// /v1/chat/completions
    Chat,
    /// /v1/completions
    Completions,
}

impl Endpoint {
    /// The endpoint's path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }
}

impl ServeBench {
    /// Measures, prints the table and writes the JSON. The exit code is a failure if any request failed.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        let (json, samples) = (self.json.clone(), self.samples.clone());
        let report = self.measure().await?;
        if let Some(path) = samples {
            let lines = (report.samples.iter()).map(serde_json::to_string);
            let lines = lines.collect::<Result<Vec<_>, _>>()?;
            std::fs::write(&path, lines.join("\n") + "\n")
                .with_context(|| format!("--samples: can't write {}", path.display()))?;
        }
        match json {
            Some(path) if path == Path::new("-") => {
                write!(std::io::stderr(), "{report}")?;
                writeln!(
                    std::io::stdout(),
                    "{}",
                    serde_json::to_string_pretty(&report)?
                )?;
            }
            json => {
                write!(std::io::stdout(), "{report}")?;
                if let Some(path) = json {
                    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)
                        .with_context(|| format!("--json: can't write {}", path.display()))?;
                }
            }
        }
        Ok(if report.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Sends the load and sums it up. An error means that nothing was measured: bad settings, no server, or a warm-up
    /// request that failed. Requests that fail later are part of the report.
    pub async fn measure(mut self) -> anyhow::Result<Report> {
        let api_key = self.api_key.as_deref().map(resolve_key).transpose()?;
        let timeout = Duration::from_secs_f64(self.timeout);
        let client = client(&self.url, api_key.as_deref(), timeout, self.places()).await?;
        let prompts = match &self.dataset {
            Some(path) => Prompts::from_file(path, self.endpoint)?,
            None => Prompts::Synthetic {
                num_words: *self.input_len.get_or_insert(128),
                num_shared_words: self.shared_prefix,
                seed: self.seed,
            },
        };
        let model = match self.model.take() {
            Some(model) => model,
            None => first_model(&client, timeout).await?,
        };
        self.model = Some(model.clone());
        let body = Body {
            endpoint: self.endpoint,
            model,
            max_tokens: self.output_len,
            ignore_eos: self.ignore_eos,
            temperature: self.temperature,
        };
        let target = Target {
            client: Arc::new(client),
            path: self.endpoint.path(),
            timeout,
        };
        let bodies =
            |indices: std::ops::Range<u32>| indices.map(|i| body.of(prompts.get(i.into())));
        // The warm-up takes the prompts after the measured ones, so that it fills no prefix cache for these.
        let measured = self.num_prompts;
        let warmup = drive(
            &target,
            bodies(measured..measured + self.warmup),
            None,
            self.places(),
        )
        .await?;
        if let Some(failure) = warmup
            .outcomes
            .into_iter()
            .find_map(|outcome| outcome.result.err())
        {
            return Err(failure).context("a warm-up request failed, so nothing was measured");
        }
        let arrivals = self.request_rate.map(|rate| Poisson::new(rate, self.seed));
        let run = drive(&target, bodies(0..measured), arrivals, self.places()).await?;
        Ok(Report::new(self, &run))
    }

    /// The most requests in flight.
    pub(super) fn places(&self) -> u32 {
        self.concurrency.unwrap_or(self.num_prompts)
    }
}

pub(in crate::cli) fn resolve_key(key: &str) -> anyhow::Result<String> {
    match key.strip_prefix("env:") {
        Some(name) => std::env::var(name)
            .with_context(|| format!("--api-key: the environment variable `{name}` can't be read")),
        None => Ok(key.to_owned()),
    }
}

fn request_rate(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1e6)
}

fn temperature(text: &str) -> Result<f64, String> {
    number(text, 0.0, 100.0)
}

fn timeout(text: &str) -> Result<f64, String> {
    number(text, 0.001, 1e6)
}

fn number(text: &str, min: f64, max: f64) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (min..=max).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {min} to {max}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<ServeBench, String> {
        let words = ["serve", "--url", "http://127.0.0.1:1"]
            .into_iter()
            .chain(args.split_whitespace());
        ServeBench::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_flags_parse_with_their_defaults() {
        let bench =
            parse("--concurrency 4 --num-prompts 8").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (bench.places(), bench.endpoint, bench.input_len),
            (4, Endpoint::Chat, None)
        );
        assert_eq!((bench.warmup, bench.timeout, bench.seed), (0, 600.0, 0));
    }

    #[test]
    fn an_open_loop_without_a_cap_has_a_place_for_every_request() {
        let bench =
            parse("--request-rate 2.5 --num-prompts 8").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bench.places(), 8);
    }

    #[test]
    fn a_bad_flag_is_an_error_naming_it() {
        for (args, says) in [
            ("--num-prompts 8", "--concurrency"),
            ("--concurrency 0 --num-prompts 8", "--concurrency"),
            ("--concurrency 1 --num-prompts 0", "--num-prompts"),
            ("--num-prompts 8 --request-rate 0", "--request-rate"),
            ("--num-prompts 8 --request-rate inf", "--request-rate"),
            (
                "--num-prompts 8 --request-rate 1 --timeout NaN",
                "--timeout",
            ),
            (
                "--num-prompts 8 --request-rate 1 --temperature -1",
                "--temperature",
            ),
            (
                "--num-prompts 8 --request-rate 1 --dataset x --input-len 3",
                "--input-len",
            ),
            (
                "--num-prompts 8 --request-rate 1 --ignore-eos",
                "--output-len",
            ),
        ] {
            let error = parse(args).err().unwrap();
            assert!(error.contains(says), "{args}: {error}");
        }
    }

    #[test]
    fn the_key_is_in_no_report() {
        let bench = parse("--request-rate 1 --num-prompts 8 --api-key hush")
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(!serde_json::to_string(&bench).unwrap().contains("hush"));
    }

    #[test]
    fn a_key_from_an_unset_variable_is_an_error_naming_it() {
        let error = resolve_key("env:FLAMBEAU_TEST_UNSET").unwrap_err();
        assert!(error.to_string().contains("FLAMBEAU_TEST_UNSET"));
        assert_eq!(resolve_key("k").unwrap(), "k");
    }
}
