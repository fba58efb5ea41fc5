//! Tenants and classes under pressure, in virtual time: a machine that takes 4 ms a step and 1 ms a token.
#![allow(clippy::unwrap_used)] // A test may panic.

mod rng;

use std::collections::HashMap;
use std::time::Duration;

use flambeau::kv::BlockPool;
use flambeau::request::{GenerateRequest, Priority, SampledToken, SamplingParams, StopCriteria};
use flambeau::scheduler::{Scheduler, SchedulerConfig, Sequence, SequenceId};
use rng::Rng;

const BLOCK_SIZE: usize = 16;

/// A request to come.
#[derive(Clone)]
struct Arrival {
    at: Duration,
    tenant: &'static str,
    priority: Priority,
    prompt_len: usize,
    max_tokens: usize,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
struct Served {
    ttft: Duration,
    end: Duration,
}

/// Serves all arrivals, which are in order of time.
fn serve(arrivals: &[Arrival], max_num_seqs: usize, num_blocks: usize) -> Vec<Served> {
    let config = SchedulerConfig {
        max_num_seqs,
        max_num_batched_tokens: 256,
        max_model_len: 1024,
        prefix_cache: true,
        target_itl: Some(Duration::from_millis(40)),
    };
    let mut scheduler = Scheduler::new(config, BlockPool::new(num_blocks, BLOCK_SIZE));
    let mut served: HashMap<SequenceId, Served> = HashMap::new();
    let (mut now, mut next, mut num_open) = (Duration::ZERO, 0, 0);
    let mut committed = Vec::new();
    while next < arrivals.len() || num_open > 0 {
        if num_open == 0 {
            now = now.max(arrivals[next].at);
        }
        while let Some(arrival) = arrivals.get(next).filter(|arrival| arrival.at <= now) {
            // Prompts differ from their first token on.
            let first = next as u32 * 10_000;
            let request = GenerateRequest {
                tenant: arrival.tenant.into(),
                priority: arrival.priority,
                prompt: (first..first + arrival.prompt_len as u32).collect(),
                sampling: SamplingParams::greedy(),
                stop: StopCriteria {
                    max_tokens: arrival.max_tokens,
                    ..StopCriteria::default()
                },
            };
            let id = SequenceId(next as u64);
            scheduler.add(Sequence::new(id, request, arrival.at, BLOCK_SIZE));
            next += 1;
            num_open += 1;
        }
        let plan = scheduler.schedule(now);
        let num_samples = plan.samples.len();
        now += Duration::from_millis(4 + plan.num_tokens() as u64);
        let token = SampledToken {
            token_id: 1,
            logprobs: None,
        };
        scheduler.commit(vec![Some(token); num_samples], now, &mut committed);
        scheduler.check().unwrap();
        for event in committed.drain(..) {
            let arrival = arrivals[event.id.0 as usize].at;
            let first = Served {
                ttft: now - arrival,
                end: now,
            };
            served.entry(event.id).or_insert(first).end = now;
            num_open -= usize::from(event.finish.is_some());
        }
    }
    assert_eq!(scheduler.kv_usage(), 0.0);
    (0..arrivals.len() as u64)
        .map(|id| served[&SequenceId(id)])
        .collect()
}

/// `num` requests of one kind with exponential gaps.
fn poisson(rng: &mut Rng, num: usize, gap: Duration, kind: &Arrival) -> Vec<Arrival> {
    let mut at = Duration::ZERO;
    let arrivals = (0..num).map(|_| {
        let uniform = (rng.below(1_000_000) + 1) as f64 / 1e6;
        at += gap.mul_f64(-uniform.ln());
        Arrival { at, ..kind.clone() }
    });
    arrivals.collect()
}

fn merged(parts: &[&[Arrival]]) -> Vec<Arrival> {
    let mut all = parts.concat();
    all.sort_by_key(|arrival| arrival.at);
    all
}

fn percentile(values: impl Iterator<Item = Duration>, percent: usize) -> Duration {
    let mut values: Vec<Duration> = values.collect();
    values.sort();
    values[(values.len() * percent / 100).min(values.len() - 1)]
}

/// The 99th percentile of a tenant's times to first token.
fn p99(arrivals: &[Arrival], served: &[Served], tenant: &str) -> Duration {
    let both = arrivals.iter().zip(served);
    let own = both.filter(|(arrival, _)| arrival.tenant == tenant);
    percentile(own.map(|(_, served)| served.ttft), 99)
}

const CHAT: Arrival = Arrival {
    at: Duration::ZERO,
    tenant: "quiet",
    priority: Priority::Standard,
    prompt_len: 120,
    max_tokens: 40,
};

#[test]
fn a_flood_at_most_doubles_the_wait_of_another_tenant() {
    let mut rng = Rng(5);
    // Each takes about 164 ms alone, so this is a quarter of the machine.
    let quiet = poisson(&mut rng, 300, Duration::from_millis(660), &CHAT);
    let flood = Arrival {
        tenant: "flood",
        ..CHAT
    };
    let end = quiet.last().unwrap().at;
    let flood = poisson(&mut rng, 3000, end / 3000, &flood);
    let alone = p99(&quiet, &serve(&quiet, 16, 2048), "quiet");
    let both = merged(&[&quiet, &flood]);
    let beside = p99(&both, &serve(&both, 16, 2048), "quiet");
    println!("P99 of the quiet tenant: alone {alone:?}, beside a flood {beside:?}");
    assert!(
        beside <= 2 * alone,
        "{beside:?} beside a flood, {alone:?} alone"
    );
}

#[test]
fn tenants_that_want_more_than_there_is_get_equal_shares() {
    let mut rng = Rng(6);
    let of = |rng: &mut Rng, tenant, prompt_len| {
        let kind = Arrival {
            tenant,
            prompt_len,
            ..CHAT
        };
        // 400 requests of 160 tokens, or 200 of 280, in 20 s: three times what the machine can do.
        let num = 64_000 / (prompt_len + 40);
        poisson(rng, num, Duration::from_secs(20) / num as u32, &kind)
    };
    let (short, long) = (of(&mut rng, "short", 120), of(&mut rng, "long", 240));
    let both = merged(&[&short, &long]);
    let served = serve(&both, 16, 2048);
    // While both have work: the tokens of what was finished.
    let tokens = |tenant: &str| -> usize {
        let finished = both.iter().zip(&served);
        let finished = finished.filter(|(arrival, served)| {
            arrival.tenant == tenant && served.end < Duration::from_secs(20)
        });
        finished
            .map(|(arrival, _)| arrival.prompt_len + arrival.max_tokens)
            .sum()
    };
    let (short, long) = (tokens("short") as f64, tokens("long") as f64);
    println!("tokens: short {short}, long {long}");
    assert!(
        (short / long - 1.0).abs() < 0.1,
        "{short} and {long} tokens"
    );
}

#[test]
fn whoever_was_alone_for_long_owes_nothing_to_a_newcomer() {
    // "old" has the machine for itself for a while, then both want all of it.
    let of = |tenant, at, num| {
        let kind = Arrival {
            tenant,
            at: Duration::from_secs(at),
            ..CHAT
        };
        vec![kind; num]
    };
    let arrivals = [of("old", 0, 300), of("new", 100, 100), of("old", 100, 100)].concat();
    let served = serve(&arrivals, 16, 2048);
    let of_old = &served[400..];
    let first = of_old.iter().map(|served| served.ttft).min().unwrap();
    // Not after the newcomer's last, which is 17 s later.
    assert!(first < Duration::from_secs(5), "{first:?}");
}

#[test]
fn batch_work_gives_way_and_is_done_at_last() {
    let mut rng = Rng(7);
    let batch = Arrival {
        priority: Priority::Batch,
        prompt_len: 400,
        max_tokens: 200,
        ..CHAT
    };
    let batch = vec![batch; 40];
    let urgent = Arrival {
        priority: Priority::Interactive,
        ..CHAT
    };
    let urgent = poisson(&mut rng, 100, Duration::from_millis(700), &urgent);
    // Blocks for six of the batch: it fills the cache, and gives it back.
    let alone = serve(&urgent, 8, 240);
    let both = merged(&[&batch, &urgent]);
    let served = serve(&both, 8, 240);
    let ttft = |arrivals: &[Arrival], served: &[Served]| {
        let both = arrivals.iter().zip(served);
        let urgent = both.filter(|(arrival, _)| arrival.priority == Priority::Interactive);
        percentile(urgent.map(|(_, served)| served.ttft), 95)
    };
    let (alone, beside) = (ttft(&urgent, &alone), ttft(&both, &served));
    println!("P95 of urgent requests: alone {alone:?}, beside batch work {beside:?}");
    assert!(
        beside <= 2 * alone + Duration::from_millis(80),
        "{beside:?}, {alone:?}"
    );
    let last = served.iter().map(|served| served.end).max().unwrap();
    assert!(
        last < Duration::from_secs(120),
        "the batch took until {last:?}"
    );
}

#[test]
fn whoever_waits_long_is_served_whatever_comes_after() {
    // Interactive work for twice what the machine can do, and one batch request that was there first.
    let mut rng = Rng(8);
    let urgent = Arrival {
        priority: Priority::Interactive,
        ..CHAT
    };
    let urgent = poisson(&mut rng, 1000, Duration::from_millis(80), &urgent);
    let batch = Arrival {
        priority: Priority::Batch,
        ..CHAT
    };
    let both = merged(&[&[batch], &urgent]);
    let served = serve(&both, 8, 240);
    // Two classes below, it is level after two minutes, and then the first to have come.
    let ttft = served[0].ttft;
    assert!(ttft < Duration::from_secs(125), "{ttft:?}");
}
