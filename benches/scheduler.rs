//! What a step costs besides the model: `cargo bench --bench scheduler`.
//!
//! The bar: `schedule` and `commit` of 256 sequences together take less than 50 µs. `engine loop` is all that the
//! engine's thread does from the end of one step's computation to the start of the next, reported to readers included.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::Criterion;
use flambeau::engine::{EngineConfig, EngineHandle, Executor, ExecutorError, StepOutput, Ticket};
use flambeau::kv::BlockPool;
use flambeau::request::{
    DEFAULT_TENANT, GenerateRequest, Priority, SampledToken, SamplingParams, StopCriteria,
};
use flambeau::scheduler::{Committed, Scheduler, SchedulerConfig, Sequence, SequenceId, StepPlan};
use flambeau::telemetry::Telemetry;

const NUM_SEQUENCES: usize = 256;
const PROMPT_LEN: usize = 512;
/// Steps until the sequences are made afresh: contexts are of 500 to 1,200 tokens.
const NUM_STEPS: u64 = 256;
const LONG_PROMPT: usize = 4096;
const NUM_TENANTS: usize = 100;
const BLOCK_SIZE: usize = 16;
const NUM_BLOCKS: usize = (NUM_SEQUENCES * 1024 + 2 * LONG_PROMPT) / BLOCK_SIZE;
const TOKEN: Option<SampledToken> = Some(SampledToken {
    token_id: 7,
    logprobs: None,
});

const CONFIG: SchedulerConfig = SchedulerConfig {
    max_num_seqs: NUM_SEQUENCES,
    max_num_batched_tokens: 512,
    max_model_len: 8192,
    prefix_cache: true,
    target_itl: None,
    speculation: true,
};

/// Prompts differ from their first token on, so that nothing hits the prefix cache.
fn request(
    id: u64,
    prompt_len: usize,
    max_tokens: usize,
    sampling: &SamplingParams,
) -> GenerateRequest {
    let first = id as u32 * 100_000;
    GenerateRequest {
        num_begun: 0,
        recalled: None,
        prompt_logprobs: None,
        constraint: None,
        adapter: None,
        tenant: DEFAULT_TENANT.into(),
        priority: Priority::Standard,
        deadline: None,
        prompt: (first..first + prompt_len as u32).collect(),
        sampling: sampling.clone(),
        stop: StopCriteria {
            max_tokens,
            min_tokens: 0,
            stop_token_ids: vec![2],
        },
    }
}

/// One step's work around the model, and how long it took. With `looks_ahead` it is the next step that is planned before the commit.
fn step(scheduler: &mut Scheduler, looks_ahead: bool, committed: &mut Vec<Committed>) -> Duration {
    if looks_ahead && scheduler.plan().is_empty() {
        scheduler.schedule(Duration::ZERO);
    }
    let start = Instant::now();
    black_box(scheduler.schedule(Duration::ZERO));
    let scheduled = start.elapsed();
    let sampled = vec![TOKEN; scheduler.plan().samples.len()];
    committed.clear();
    let start = Instant::now();
    scheduler.commit(sampled, Duration::ZERO, committed);
    scheduled + start.elapsed()
}

/// What the 256 sequences do, and who else is there.
struct Case<'a> {
    name: &'static str,
    sampling: &'a SamplingParams,
    prefix_cache: bool,
    looks_ahead: bool,
    /// One of the sequences is always a long prompt that takes what the decodes leave of the step.
    has_prompts: bool,
    /// Others, of all tenants, that come in the meantime and are admitted as fairness wants it.
    num_waiting: usize,
}

/// `num_steps` steps of decodes.
fn steps(num_steps: u64, case: &Case<'_>) -> Duration {
    let config = SchedulerConfig {
        prefix_cache: case.prefix_cache,
        ..CONFIG
    };
    let mut scheduler = Scheduler::new(config, BlockPool::new(NUM_BLOCKS, BLOCK_SIZE));
    let mut num_added = 0;
    let mut add = |scheduler: &mut Scheduler, tenant: usize, prompt_len, max_tokens| {
        let mut request = request(num_added, prompt_len, max_tokens, case.sampling);
        request.tenant = format!("tenant {tenant}").into();
        let id = SequenceId(num_added);
        let sequence = Sequence::new(id, request, Duration::ZERO, BLOCK_SIZE);
        let added = scheduler.add(sequence, Duration::ZERO);
        added.expect("without a deadline none is refused");
        num_added += 1;
    };
    let num_decodes = NUM_SEQUENCES - usize::from(case.has_prompts);
    (0..num_decodes).for_each(|_| add(&mut scheduler, 0, PROMPT_LEN, 4096));
    let mut committed = Vec::new();
    while committed.len() < num_decodes {
        step(&mut scheduler, case.looks_ahead, &mut committed);
    }
    let is_ahead = !scheduler.plan().is_empty();
    assert_eq!(is_ahead, case.looks_ahead, "{}", case.name);
    (0..case.num_waiting).for_each(|i| add(&mut scheduler, i % NUM_TENANTS, 32, 1));
    let timed = |_| {
        if case.has_prompts && scheduler.num_running() + scheduler.num_waiting() < NUM_SEQUENCES {
            add(&mut scheduler, 0, LONG_PROMPT, 1);
        }
        step(&mut scheduler, case.looks_ahead, &mut committed)
    };
    (0..num_steps).map(timed).sum()
}

fn scheduling(criterion: &mut Criterion) {
    let greedy = SamplingParams::greedy();
    let penalties = SamplingParams {
        repetition_penalty: 1.1,
        ..SamplingParams::greedy()
    };
    let decodes = || Case {
        name: "256 decodes",
        sampling: &greedy,
        prefix_cache: true,
        looks_ahead: false,
        has_prompts: false,
        num_waiting: 0,
    };
    let cases = [
        decodes(),
        Case {
            name: "256 decodes, no prefix cache",
            prefix_cache: false,
            ..decodes()
        },
        Case {
            name: "256 decodes, a step ahead",
            looks_ahead: true,
            ..decodes()
        },
        Case {
            name: "256 decodes with penalties",
            sampling: &penalties,
            ..decodes()
        },
        Case {
            name: "255 decodes and a prompt chunk",
            has_prompts: true,
            ..decodes()
        },
        Case {
            name: "256 decodes, 10,000 waiting",
            num_waiting: 10_000,
            ..decodes()
        },
    ];
    for case in cases {
        criterion.bench_function(&format!("schedule + commit: {}", case.name), |bencher| {
            bencher.iter_custom(|iters| {
                let full = (0..iters / NUM_STEPS).map(|_| steps(NUM_STEPS, &case));
                full.sum::<Duration>() + steps(iters % NUM_STEPS, &case)
            });
        });
    }
}

/// Time between full steps, and how many there were.
#[derive(Default)]
struct Gaps {
    nanos: AtomicU64,
    count: AtomicU64,
}

/// Computes nothing, and measures how long the engine takes from one full step to the next.
struct Instantly {
    /// Taken by the first step, which waits there until every client has asked.
    all_asked: Option<Arc<Barrier>>,
    gaps: Arc<Gaps>,
    last_full: Option<Instant>,
    output: StepOutput,
}

impl Executor for Instantly {
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        if let Some(all_asked) = self.all_asked.take() {
            all_asked.wait();
        }
        let is_full = plan.samples.len() == NUM_SEQUENCES;
        if let Some(last) = self.last_full.take().filter(|_| is_full) {
            self.gaps
                .nanos
                .fetch_add(last.elapsed().as_nanos() as u64, Ordering::Relaxed);
            self.gaps.count.fetch_add(1, Ordering::Relaxed);
        }
        self.last_full = is_full.then(Instant::now);
        Ok(Ticket(0))
    }

    fn draw(&mut self, _ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        self.output.sampled = vec![TOKEN; plan.samples.len()];
        Ok(())
    }

    fn collect(&mut self, _ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        // The clock starts when the output is ready.
        self.last_full = self.last_full.map(|_| Instant::now());
        Ok(std::mem::take(&mut self.output))
    }
}

/// Serves 256 clients, each a task of its own, a whole answer; returns the mean time between steps.
fn serve_once(runtime: &tokio::runtime::Runtime) -> anyhow::Result<Duration> {
    let gaps = Arc::new(Gaps::default());
    let for_executor = Arc::clone(&gaps);
    let all_asked = Arc::new(Barrier::new(2));
    let for_first_step = Arc::clone(&all_asked);
    let config = EngineConfig {
        scheduler: CONFIG,
        num_blocks: NUM_BLOCKS,
        num_host_blocks: 0,
        block_size: BLOCK_SIZE,
        max_waiting: 0,
        has_tenants: false,
    };
    let factory = Box::new(move || {
        let gaps = Arc::clone(&for_executor);
        Ok(Box::new(Instantly {
            all_asked: Some(Arc::clone(&for_first_step)),
            gaps,
            last_full: None,
            output: StepOutput::default(),
        }) as Box<dyn Executor>)
    });
    let (engine, _ended) = EngineHandle::spawn(config, factory, Telemetry::new()?.engine("bench"))?;
    let readers: Vec<_> = (0..NUM_SEQUENCES)
        .map(|i| {
            let request = request(i as u64, PROMPT_LEN, 1024, &SamplingParams::greedy());
            let mut stream = engine.submit(request)?;
            Ok(runtime.spawn(async move { while stream.recv().await.is_some() {} }))
        })
        .collect::<anyhow::Result<_>>()?;
    all_asked.wait();
    for reader in readers {
        runtime.block_on(reader)?;
    }
    let (nanos, count) = (
        gaps.nanos.load(Ordering::Relaxed),
        gaps.count.load(Ordering::Relaxed),
    );
    Ok(Duration::from_nanos(nanos / count.max(1)))
}

fn engine_loop(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build();
    let runtime = runtime.expect("a thread can be started");
    let mut group = criterion.benchmark_group("engine loop");
    group.sample_size(10);
    group.bench_function("256 decodes", |bencher| {
        bencher.iter_custom(|iters| {
            (0..iters)
                .map(|_| serve_once(&runtime).expect("the engine serves all"))
                .sum()
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    scheduling(&mut criterion);
    engine_loop(&mut criterion);
    criterion.final_summary();
}
