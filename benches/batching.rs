//! What batching gains on the real default model: `cargo bench --bench batching`.
//!
//! Closed loop through the engine thread: each client asks for 64 tokens on a prompt of 135 and asks again when it has
//! them. The bar: 16 clients together get at least 1.3 times the tokens a second that one gets. The two are measured in
//! turn, and the best of several rounds are compared: other processes only ever take speed away.

#[path = "../tests/common/mod.rs"]
#[allow(clippy::unwrap_used)]
mod common;

use std::time::Instant;

use common::Engine;
use flambeau::backend::cpu::Cpu;
use flambeau::model::Activations;
use flambeau::ops::KvDtype;
use flambeau::request::{DEFAULT_TENANT, GenerateRequest, Priority, SamplingParams, StopCriteria};
use flambeau::scheduler::SchedulerConfig;

const PROMPT_LEN: usize = 135;
const OUTPUT_LEN: usize = 64;
const NUM_ROUNDS: usize = 5;

/// Prompts of different tokens, so that no two requests share anything.
fn request(number: usize) -> GenerateRequest {
    let token = |i: usize| ((number * 7919 + i * 104_729) % 49_152) as u32;
    GenerateRequest {
        num_begun: 0,
        recalled: None,
        prompt_logprobs: None,
        constraint: None,
        adapter: None,
        tenant: DEFAULT_TENANT.into(),
        priority: Priority::Standard,
        deadline: None,
        prompt: (0..PROMPT_LEN).map(token).collect(),
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens: OUTPUT_LEN,
            ..StopCriteria::default()
        },
    }
}

/// Output tokens a second of `num_clients` clients with `num_requests` requests each.
fn throughput(engine: &Engine, num_clients: usize, num_requests: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..num_clients {
            scope.spawn(move || {
                for i in 0..num_requests {
                    let answer = engine.answer(request(client * num_requests + i));
                    assert_eq!(answer.tokens.len(), OUTPUT_LEN);
                }
            });
        }
    });
    (num_clients * num_requests * OUTPUT_LEN) as f64 / start.elapsed().as_secs_f64()
}

fn best(values: Vec<f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}

fn main() -> anyhow::Result<()> {
    let model = common::load(Activations::Int8, &Cpu::new(2)?);
    println!(
        "{:<10}{:>20}{:>22}{:>8}",
        "threads", "1 client, tok/s", "16 clients, tok/s", "ratio"
    );
    for num_threads in [1, 2] {
        let cpu = Cpu::new(num_threads)?;
        let scheduler = SchedulerConfig {
            max_num_seqs: 32,
            max_num_batched_tokens: 512,
            max_model_len: 1024,
            prefix_cache: false,
            target_itl: None,
            speculation: false,
        };
        let engine = Engine::start(
            &model,
            scheduler,
            common::limits(512, KvDtype::F16),
            &cpu,
            |runner| Box::new(runner),
        );
        throughput(&engine, 1, 1);
        let rounds =
            (0..NUM_ROUNDS).map(|_| (throughput(&engine, 1, 4), throughput(&engine, 16, 1)));
        let (one, sixteen): (Vec<f64>, Vec<f64>) = rounds.unzip();
        let (one, sixteen) = (best(one), best(sixteen));
        println!(
            "{num_threads:<10}{one:>20.1}{sixteen:>22.1}{:>8.2}",
            sixteen / one
        );
    }
    Ok(())
}
