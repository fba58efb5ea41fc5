//! Streams that are served together, by models of random weights in the shapes of real ones: scheduler, decoder and drawing as they
//! serve, without a network.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use super::super::bench::Summary;
use super::super::memory_plan::weight_bytes;
use super::models::random_model;
use super::report::{Report, Serving};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda};
use crate::config::ByteSize;
use crate::engine::Executor;
use crate::kv::BlockPool;
use crate::model::gguf::GgmlType;
use crate::model::{
    Activations, Decoder, Encoding, Limits, LoadOptions, ModelConfig, Runner, Weights, llama_of,
};
use crate::ops::KvDtype;
use crate::request::{GenerateRequest, SamplingParams};
use crate::scheduler::{Scheduler, SchedulerConfig, Sequence, SequenceId};

const PROMPT: usize = 512;
const OUTPUT: usize = 128;
const BLOCK_SIZE: usize = 16;
const MOST_STREAMS: usize = 256;

/// With `blas`, models of 16 bits also as it multiplies them.
pub(super) fn measure(
    report: &mut Report,
    cuda: &Cuda,
    blas: Option<&Blas>,
    cpu: &Cpu,
) -> Result<()> {
    let bf16 = Encoding::Ggml(GgmlType::BF16);
    let by_blas = blas.map(|blas| ("BF16 by cuBLAS", bf16, Some(blas)));
    let small = llama_of(16, (2048, 8192), (32, 8, 64), 128_256);
    let large = llama_of(32, (4096, 14_336), (32, 8, 128), 128_256);
    for (size, config) in [("1B", small), ("8B", large)] {
        let formats = [
            ("BF16", bf16, None),
            ("FP8", Encoding::Fp8, None),
            ("Q4_K", Encoding::Ggml(GgmlType::Q4K), None),
        ];
        for (format, encoding, blas) in formats.into_iter().chain(by_blas) {
            let name = format!("{size} {format}");
            let model = random_model(&config, encoding, cpu);
            let tokens = MOST_STREAMS * (PROMPT + OUTPUT + BLOCK_SIZE);
            let cache = (tokens * config.kv_bytes_per_token(KvDtype::Bf16)) as u64;
            // And as much as a tenth for what a step takes.
            let needed = (weight_bytes(&model, None, true) + cache) / 9 * 10;
            let (free, _) = cuda.memory()?;
            if (free as u64) < needed {
                println!("{name}: passed over, {} are free", ByteSize(free as u64));
                continue;
            }
            let options = LoadOptions {
                device: Device::Cuda(cuda.clone()),
                blas: blas.cloned(),
                ..Activations::Int8.into()
            };
            let weights = Arc::new(Weights::load(&model, &config, options, cpu)?);
            for num_streams in [1, 8, 64, MOST_STREAMS] {
                let served = serve(&name, &config, &weights, num_streams, cpu)?;
                report.serving(served);
            }
        }
    }
    Ok(())
}

/// Serves all streams at once, to the end.
fn serve(
    model: &str,
    config: &ModelConfig,
    weights: &Arc<Weights>,
    num_streams: usize,
    cpu: &Cpu,
) -> Result<Serving> {
    let scheduling = SchedulerConfig {
        max_num_seqs: MOST_STREAMS,
        max_num_batched_tokens: 2048,
        max_model_len: PROMPT + OUTPUT + 1,
        prefix_cache: false,
        target_itl: None,
        speculation: false,
    };
    let num_blocks = num_streams * (PROMPT + OUTPUT + 1).div_ceil(BLOCK_SIZE) + 1;
    let limits = Limits {
        max_num_batched_tokens: scheduling.max_num_batched_tokens,
        max_samples: scheduling.max_samples(),
        max_model_len: scheduling.max_model_len,
        num_blocks,
        num_host_blocks: 0,
        block_size: BLOCK_SIZE,
        kv_dtype: KvDtype::Bf16,
    };
    let decoder = Decoder::new(config.clone(), Arc::clone(weights), &limits, cpu.clone())?;
    let mut runner = Runner::new(decoder, cpu.clone())?;
    // A step is recorded when its kind comes for the second time.
    for _ in 0..2 {
        run(&mut runner, scheduling, num_blocks, num_streams)?;
    }
    let times = run(&mut runner, scheduling, num_blocks, num_streams)?;
    let num_tokens = num_streams * OUTPUT;
    let summaries = (Summary::of(times.first_tokens), Summary::of(times.gaps));
    let (Some(first), Some(between)) = summaries else {
        bail!("{model}: no tokens came");
    };
    Ok(Serving {
        model: model.to_owned(),
        num_streams,
        prompt_tokens: PROMPT,
        tokens_per_second: num_tokens as f64 / times.total.as_secs_f64(),
        ttft_ms: first.p50,
        itl_p50_ms: between.p50,
        itl_p99_ms: between.p99,
        host_part: times.host.as_secs_f64() / times.total.as_secs_f64(),
    })
}

struct Times {
    /// Of each stream.
    first_tokens: Vec<Duration>,
    /// Between tokens.
    gaps: Vec<Duration>,
    /// That planning, launching and committing took.
    host: Duration,
    total: Duration,
}

fn run(
    runner: &mut Runner,
    config: SchedulerConfig,
    num_blocks: usize,
    num_streams: usize,
) -> Result<Times> {
    let mut scheduler = Scheduler::new(config, BlockPool::new(num_blocks, BLOCK_SIZE));
    for i in 0..num_streams {
        let id = SequenceId(i as u64);
        let sequence = Sequence::new(id, request(i), Duration::ZERO, BLOCK_SIZE);
        let added = scheduler.add(sequence, Duration::ZERO);
        added.map_err(|refusal| anyhow!("{refusal:?}"))?;
    }
    let (start, mut host) = (Instant::now(), Duration::ZERO);
    let mut last: HashMap<SequenceId, Duration> = HashMap::new();
    let (mut first_tokens, mut gaps) = (Vec::new(), Vec::new());
    let (mut drawn, mut committed, mut num_open) = (None, Vec::new(), num_streams);
    while num_open > 0 {
        let begun = Instant::now();
        let plan = scheduler.schedule(start.elapsed());
        let launches = !plan.is_empty();
        let launched = launches.then(|| runner.launch(plan)).transpose()?;
        host += begun.elapsed();
        if let Some(ticket) = drawn.take() {
            let output = runner.collect(ticket)?;
            let done = Instant::now();
            scheduler.commit(output.sampled, start.elapsed(), &mut committed);
            host += done.elapsed();
        }
        let now = start.elapsed();
        for event in committed.drain(..) {
            match last.insert(event.id, now) {
                None => first_tokens.push(now),
                Some(before) => gaps.push(now - before),
            }
            num_open -= usize::from(event.finish.is_some() || event.token.is_none());
        }
        if let Some(ticket) = launched {
            let begun = Instant::now();
            runner.draw(&ticket, scheduler.plan())?;
            host += begun.elapsed();
            drawn = Some(ticket);
        }
    }
    Ok(Times {
        first_tokens,
        gaps,
        host,
        total: start.elapsed(),
    })
}

fn request(i: usize) -> GenerateRequest {
    let prompt = (0..PROMPT).map(|at| (i * 7919 + at * 31) as u32 % 128_000);
    GenerateRequest {
        sampling: SamplingParams {
            temperature: 1.0,
            seed: i as u64,
            ..SamplingParams::greedy()
        },
        ..GenerateRequest::greedy(prompt.collect(), OUTPUT)
    }
}
