//! The scheduler under seeded random load: arrivals, lengths, cancellations and pools far too small, on an executor
//! whose answers depend on every token it reads back from its cache.
#![allow(clippy::unwrap_used)] // A test may panic.

mod rng;

use std::collections::HashMap;
use std::time::Duration;

use flambeau::engine::Executor;
use flambeau::engine::fake::FakeExecutor;
use flambeau::kv::BlockPool;
use flambeau::request::{GenerateRequest, SamplingParams, StopCriteria};
use flambeau::scheduler::{Scheduler, SchedulerConfig, Sequence, SequenceId};
use rng::Rng;

const VOCAB: u32 = 1000;
const STOP: u32 = 7;

struct Open {
    prompt: Vec<u32>,
    max_tokens: usize,
    output: Vec<u32>,
    arrival_step: u64,
}

/// What a lone run would answer.
fn expected(prompt: &[u32], max_tokens: usize, max_model_len: usize) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    loop {
        let next = FakeExecutor::next_token(tokens.iter().copied(), 0, VOCAB);
        tokens.push(next);
        let num_output = tokens.len() - prompt.len();
        if next == STOP || num_output == max_tokens || tokens.len() == max_model_len {
            return tokens.split_off(prompt.len());
        }
    }
}

struct Totals {
    finished: u64,
    cancelled: u64,
    preemptions: u64,
}

fn simulate(
    seed: u64,
    num_requests: u64,
    config: SchedulerConfig,
    num_blocks: usize,
    block_size: usize,
) -> Totals {
    let mut rng = Rng(seed);
    let mut scheduler = Scheduler::new(config, BlockPool::new(num_blocks, block_size));
    let mut executor = FakeExecutor::new(num_blocks, block_size, VOCAB);
    let mut open: HashMap<SequenceId, Open> = HashMap::new();
    let (mut submitted, mut step) = (0u64, 0u64);
    let mut totals = Totals {
        finished: 0,
        cancelled: 0,
        preemptions: 0,
    };
    let mut committed = Vec::new();

    while submitted < num_requests || !open.is_empty() {
        let now = Duration::from_micros(step);
        // Arrivals come in bursts, kept near what can be open, so that the queue is long but bounded.
        while submitted < num_requests && open.len() < 4 * config.max_num_seqs && rng.below(3) > 0 {
            let prompt_len = 1 + rng.below(config.max_model_len / 2);
            let prompt: Vec<u32> = (0..prompt_len)
                .map(|_| rng.below(VOCAB as usize) as u32)
                .collect();
            let max_tokens = 1 + rng.below(24);
            let stop = StopCriteria {
                max_tokens,
                min_tokens: 0,
                stop_token_ids: vec![STOP],
            };
            let request = GenerateRequest {
                prompt: prompt.clone(),
                sampling: SamplingParams::greedy(),
                stop,
            };
            let id = SequenceId(submitted);
            scheduler.add(Sequence::new(id, request, now));
            open.insert(
                id,
                Open {
                    prompt,
                    max_tokens,
                    output: Vec::new(),
                    arrival_step: step,
                },
            );
            submitted += 1;
        }
        if rng.below(20) == 0 && !open.is_empty() {
            // The smallest id of a random residue: HashMap order must not steer a seeded run.
            let residue = rng.next() % 8;
            if let Some(&id) = open.keys().filter(|id| id.0 % 8 == residue).min() {
                scheduler.remove(|candidate| candidate == id);
                open.remove(&id);
                totals.cancelled += 1;
            }
        }

        let plan = scheduler.schedule(now);
        assert!(
            !plan.is_empty() || open.is_empty(),
            "seed {seed}, step {step}: idle with {} open",
            open.len()
        );
        let ticket = executor.launch(plan).unwrap();
        let output = executor.collect(ticket).unwrap();
        scheduler
            .check()
            .unwrap_or_else(|broken| panic!("seed {seed}, step {step}, planned: {broken}"));
        scheduler.commit(output.sampled, now, &mut committed);
        scheduler
            .check()
            .unwrap_or_else(|broken| panic!("seed {seed}, step {step}, committed: {broken}"));
        for event in committed.drain(..) {
            let request = open
                .get_mut(&event.id)
                .expect("an event after the terminal one, or for a cancelled request");
            let token = event.token.expect("the fake bans nothing here");
            request.output.push(token.token_id);
            if event.finish.is_some() {
                let request = open.remove(&event.id).unwrap();
                let alone = expected(&request.prompt, request.max_tokens, config.max_model_len);
                assert_eq!(
                    request.output, alone,
                    "seed {seed}: {:?} answered differently in company",
                    event.id
                );
                totals.finished += 1;
            }
        }
        step += 1;
        let oldest = open.values().map(|r| r.arrival_step).min().unwrap_or(step);
        assert!(step - oldest < 3000, "seed {seed}: a request starves");
    }
    assert_eq!((scheduler.num_running(), scheduler.num_waiting()), (0, 0));
    assert_eq!(scheduler.kv_usage(), 0.0, "seed {seed}: blocks leaked");
    totals.preemptions = scheduler.num_preemptions();
    totals
}

#[test]
fn a_hundred_thousand_requests_lose_nothing_and_answer_as_if_alone() {
    let mut rng = Rng(2026);
    let (mut all, mut preemptions, mut cancelled) = (0, 0, 0);
    for seed in 0..50 {
        let max_num_seqs = 1 + rng.below(24);
        let block_size = [1, 4, 16][rng.below(3)];
        let max_model_len = 16 + rng.below(80);
        let per_sequence = max_model_len.div_ceil(block_size);
        let config = SchedulerConfig {
            max_num_seqs,
            max_num_batched_tokens: max_num_seqs + rng.below(128),
            max_model_len,
        };
        // From a pool that barely holds one sequence to one that holds a few.
        let num_blocks = per_sequence + rng.below(per_sequence * 4);
        let totals = simulate(seed, 2_000, config, num_blocks, block_size);
        all += totals.finished + totals.cancelled;
        preemptions += totals.preemptions;
        cancelled += totals.cancelled;
    }
    assert_eq!(all, 100_000, "every request ends exactly once");
    assert!(
        preemptions > 1_000,
        "the pools were meant to be too small: {preemptions} preemptions"
    );
    assert!(cancelled > 1_000, "{cancelled} cancellations");
}

#[test]
fn decodes_are_never_held_up_by_a_long_prompt() {
    let config = SchedulerConfig {
        max_num_seqs: 4,
        max_num_batched_tokens: 8,
        max_model_len: 512,
    };
    let mut scheduler = Scheduler::new(config, BlockPool::new(64, 16));
    let mut executor = FakeExecutor::new(64, 16, VOCAB);
    let request = |len: usize| GenerateRequest {
        prompt: (0..len as u32).collect(),
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens: 40,
            min_tokens: 40,
            stop_token_ids: vec![],
        },
    };
    scheduler.add(Sequence::new(SequenceId(0), request(4), Duration::ZERO));
    let mut committed = Vec::new();
    for step in 0..40 {
        if step == 1 {
            scheduler.add(Sequence::new(SequenceId(1), request(300), Duration::ZERO));
        }
        let ticket = executor.launch(scheduler.schedule(Duration::ZERO)).unwrap();
        let output = executor.collect(ticket).unwrap();
        committed.clear();
        scheduler.commit(output.sampled, Duration::ZERO, &mut committed);
        assert!(
            committed.iter().any(|event| event.id == SequenceId(0)),
            "step {step} gave the stream no token"
        );
    }
}
