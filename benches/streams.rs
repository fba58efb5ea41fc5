//! A crowd of event streams through the whole HTTP stack, on an executor that costs next to nothing:
//! `cargo bench --bench streams [-- STREAMS [TOKENS]]`.
//!
//! The clients are a process of their own, so that the server's memory is counted alone. Both share the machine's
//! cores: tokens/s is what server, kernel and clients do together. Two rounds:
//!
//! 1. Each step takes 100 ms; once every stream has had its first token, the resident set is read. Counted is all that
//!    the server process holds for its streams (connection, buffers, task, request, sequence, pending tokens), not the
//!    kernel's socket buffers. Then all clients leave at once.
//! 2. Steps take no time. Measured are tokens/s from the first request to the last `[DONE]`, and the time from each
//!    request to its first content as the client sees it; all requests come at once.
#![allow(unsafe_code)] // Only to raise the limit of open files.

#[path = "../tests/http/client.rs"]
mod client;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use client::Client;
use flambeau::engine::fake::FakeExecutor;
use flambeau::engine::{EngineConfig, EngineHandle};
use flambeau::scheduler::SchedulerConfig;
use flambeau::server::{
    Adapters, AppState, Models, SamplingDefaults, ServedModel, ServerOptions, serve,
};
use flambeau::telemetry::{RequestLog, Telemetry, Tier};
use flambeau::text::{GgufVocab, Tokenizer};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::net::TcpSocket;

/// Tells a process of this binary that it is the clients: the address, the round, and the counts.
const CLIENTS: &str = "--clients";
const PROMPT_TOKENS: usize = 16;
const BLOCK_SIZE: usize = 16;

fn main() -> anyhow::Result<()> {
    // Cargo passes `--bench`.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    raise_file_limit()?;
    let runtime = tokio::runtime::Runtime::new()?;
    match args.as_slice() {
        [flag, addr, round, streams, tokens] if flag == CLIENTS => runtime.block_on(clients(
            addr.parse()?,
            round,
            streams.parse()?,
            tokens.parse()?,
        )),
        _ => {
            let number =
                |i: usize, default| args.get(i).map_or(Ok(default), |arg| arg.parse::<usize>());
            runtime.block_on(run(number(0, 2000)?, number(1, 64)?))
        }
    }
}

async fn run(streams: usize, tokens: usize) -> anyhow::Result<()> {
    let step_us = Arc::new(AtomicU64::new(0));
    let (addr, engine) = start(streams, tokens, Arc::clone(&step_us)).await?;
    // Fills the pools that are there whatever the load.
    finish(spawn_clients(addr, "timed", 8, tokens)?).await?;

    step_us.store(100_000, Ordering::Relaxed);
    let before = resident_bytes()?;
    let mut held = spawn_clients(addr, "held", streams, tokens)?;
    let (held, open) = tokio::task::spawn_blocking(move || {
        let line = read_line(&mut held);
        (held, line)
    })
    .await?;
    ensure!(open? == "open", "the clients could not open their streams");
    ensure!(
        engine.num_open() == streams,
        "only {} streams are open, the others have ended: ask for more tokens",
        engine.num_open()
    );
    let after = resident_bytes()?;
    finish(held).await?;
    step_us.store(0, Ordering::Relaxed);
    let left = Instant::now();
    engine.drained().await;
    let freed = left.elapsed();

    let report = finish(spawn_clients(addr, "timed", streams, tokens)?).await?;
    println!("{streams} streams of {tokens} tokens, prompts of {PROMPT_TOKENS}");
    println!(
        "memory a stream: {:.1} KiB (resident set {:.1} → {:.1} MiB with all streams open)",
        after.saturating_sub(before) as f64 / 1024.0 / streams as f64,
        before as f64 / 1048576.0,
        after as f64 / 1048576.0
    );
    println!(
        "all clients left at once: everything was free {:.0} ms later",
        freed.as_secs_f64() * 1e3
    );
    println!("{report}");
    Ok(())
}

/// A server with room for all streams at once.
async fn start(
    streams: usize,
    tokens: usize,
    step_us: Arc<AtomicU64>,
) -> anyhow::Result<(SocketAddr, EngineHandle)> {
    let max_model_len = PROMPT_TOKENS + tokens;
    let config = EngineConfig {
        scheduler: SchedulerConfig {
            max_num_seqs: streams,
            max_num_batched_tokens: streams.max(4096),
            max_model_len,
            prefix_cache: true,
            target_itl: None,
            speculation: true,
        },
        num_blocks: streams * max_model_len.div_ceil(BLOCK_SIZE),
        num_host_blocks: 0,
        block_size: BLOCK_SIZE,
        max_waiting: 64,
        has_tenants: false,
    };
    let factory = move || {
        let step_us = Arc::clone(&step_us);
        let fake = FakeExecutor::new(config.num_blocks, BLOCK_SIZE, 128);
        let step = Box::new(move |_: &_| {
            std::thread::sleep(Duration::from_micros(step_us.load(Ordering::Relaxed)));
            Ok(())
        });
        Ok(Box::new(fake.with_hook(step)) as _)
    };
    let telemetry = Telemetry::new()?;
    let (engine, ended) = EngineHandle::spawn(config, Box::new(factory), telemetry.engine("fake"))?;
    let state = AppState {
        answers: None,
        semantic: None,
        embeddings: None,
        models: Models::new(
            Arc::new(ServedModel {
                weights: [0; 32],
                aliases: Vec::new(),
                grammars: std::sync::OnceLock::new(),
                compiles: std::sync::Arc::new(tokio::sync::Semaphore::new(2)),
                adapters: Adapters::new(Box::new(|_| Err("none here".into()))),
                name: "fake".into(),
                tokenizer: Arc::new(tokenizer()?),
                chat_template: Err("the bench sends no chats".into()),
                defaults: SamplingDefaults::default(),
                default_deadline: None,
                max_model_len,
                engine: engine.clone(),
                metrics: telemetry.requests("fake", Tier::Primary),
                probe: Default::default(),
            }),
            Vec::new(),
            Vec::new(),
        ),
        tiers: None,
        routing: None,
        tenants: Default::default(),
        options: Arc::new(ServerOptions {
            request_log: RequestLog::off(),
            ..ServerOptions::default()
        }),
        prometheus: telemetry.handle(),
        started: SystemTime::now(),
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    // All clients connect at once: with the usual backlog of 1024 the kernel drops some, and its retries, after
    // seconds, would be what is measured.
    let listener = socket.listen(streams.try_into()?)?;
    let addr = listener.local_addr()?;
    tokio::spawn(serve(listener, state, vec![ended], std::future::pending()));
    Ok((addr, engine))
}

/// ASCII, a character a token, so that every token makes an event.
fn tokenizer() -> anyhow::Result<Tokenizer> {
    let printable = (b'!'..=b'~').map(|byte| char::from(byte).to_string());
    let other = (0..34).map(|i| char::from_u32(0x100 + i).unwrap_or_default().to_string());
    Ok(Tokenizer::from_gguf(GgufVocab {
        model: "gpt2".into(),
        pre: Some("smollm".into()),
        tokens: printable.chain(other).collect(),
        ..GgufVocab::default()
    })?)
}

/// One stream of the crowd: time to its first content, and how many tokens came in all.
async fn stream(
    addr: SocketAddr,
    tokens: usize,
    until_end: bool,
) -> anyhow::Result<(Client, Duration, usize)> {
    let body =
        json!({"prompt": vec![1; PROMPT_TOKENS], "max_tokens": tokens, "stream": true}).to_string();
    let mut client = Client::connect(addr).await?;
    let sent = Instant::now();
    client
        .send("POST", "/v1/completions", &[], body.as_bytes())
        .await?;
    let head = client.head().await?;
    ensure!(head.status == 200, "status {}", head.status);
    let first = client.event().await?.context("a stream without events")?;
    ensure!(first.starts_with("data: {"), "{first}");
    let ttft = sent.elapsed();
    let mut events = 1;
    if until_end {
        let rest = client.events().await?;
        ensure!(
            rest.last().is_some_and(|event| event == "data: [DONE]"),
            "cut short"
        );
        events += rest.len() - 1;
    }
    Ok((client, ttft, events))
}

/// The clients' process.
async fn clients(
    addr: SocketAddr,
    round: &str,
    streams: usize,
    tokens: usize,
) -> anyhow::Result<()> {
    let start = Instant::now();
    let is_timed = round == "timed";
    let tasks =
        (0..streams).map(|_| async move { tokio::spawn(stream(addr, tokens, is_timed)).await? });
    let all: Vec<(Client, Duration, usize)> = try_join_all(tasks).await?;
    if is_timed {
        let elapsed = start.elapsed().as_secs_f64();
        let total: usize = all.iter().map(|(_, _, events)| events).sum();
        ensure!(total == streams * tokens, "{total} tokens came");
        let mut ttft: Vec<f64> = all
            .iter()
            .map(|(_, ttft, _)| ttft.as_secs_f64() * 1e3)
            .collect();
        ttft.sort_unstable_by(f64::total_cmp);
        let quantile = |q: f64| ttft[((ttft.len() - 1) as f64 * q).round() as usize];
        println!(
            "{:.0} tokens/s in {elapsed:.2} s; time to first token P50 {:.0} ms, P99 {:.0} ms",
            total as f64 / elapsed,
            quantile(0.5),
            quantile(0.99)
        );
    } else {
        println!("open");
        std::io::stdout().flush()?;
        // Until the server's process has seen enough.
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

fn spawn_clients(
    addr: SocketAddr,
    round: &str,
    streams: usize,
    tokens: usize,
) -> anyhow::Result<Child> {
    let args = [
        CLIENTS,
        &addr.to_string(),
        round,
        &streams.to_string(),
        &tokens.to_string(),
    ]
    .map(str::to_owned);
    let mut command = Command::new(std::env::current_exe()?);
    Ok(command
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?)
}

fn read_line(child: &mut Child) -> anyhow::Result<String> {
    let mut line = String::new();
    let stdout = child.stdout.as_mut().context("no pipe from the clients")?;
    BufReader::new(stdout).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Lets the clients end (their input is closed) and gives back what they said.
async fn finish(child: Child) -> anyhow::Result<String> {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    ensure!(
        output.status.success(),
        "the clients failed: {}",
        output.status
    );
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// `VmRSS` of this process.
fn resident_bytes() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("no VmRSS in /proc/self/status")?;
    Ok(kib.parse::<u64>()? * 1024)
}

/// A stream is a file on both sides.
fn raise_file_limit() -> anyhow::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid `rlimit` that the call fills.
    let read = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    ensure!(read == 0, "getrlimit failed");
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is a valid `rlimit` that the call reads.
    let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    ensure!(set == 0, "setrlimit failed");
    Ok(())
}
