//! The scheduler in virtual time: clients who come, wait, leave and come back, on a machine that takes 4 ms a step and 1 ms a
//! token, and answers by itself.
#![allow(dead_code)] // Not every user needs all of it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use flambeau::kv::BlockPool;
use flambeau::request::{GenerateRequest, Priority, SampledToken, SamplingParams, StopCriteria};
use flambeau::scheduler::{Refusal, Scheduler, SchedulerConfig, Sequence, SequenceId};

use super::rng::Rng;

pub const BLOCK_SIZE: usize = 16;
pub const SECOND: Duration = Duration::from_secs(1);
const STOP: u32 = 2;

/// What such a machine takes for a step.
pub fn step_time(num_tokens: usize) -> Duration {
    Duration::from_millis(4 + num_tokens as u64)
}

/// Somebody who asks once.
#[derive(Clone, Debug)]
pub struct Client {
    pub at: Duration,
    pub tenant: &'static str,
    pub priority: Priority,
    pub prompt_len: usize,
    /// Tokens of the answer, unless `max_tokens` are fewer.
    pub answer_len: usize,
    pub max_tokens: usize,
    pub deadline: Option<Duration>,
    /// Comes back, once refused, when it was told to.
    pub obeys: bool,
}

/// A chat, with an answer of 40 tokens.
pub const CHAT: Client = Client {
    at: Duration::ZERO,
    tenant: "quiet",
    priority: Priority::Standard,
    prompt_len: 120,
    answer_len: usize::MAX,
    max_tokens: 40,
    deadline: None,
    obeys: false,
};

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Fate {
    pub num_refusals: usize,
    pub has_expired: bool,
    /// From its last arrival to the first token, expected and real.
    pub expected: Option<Duration>,
    pub ttft: Option<Duration>,
    /// Between its tokens.
    pub gaps: Vec<Duration>,
    pub num_tokens: usize,
    /// When its last token came.
    pub end: Duration,
}

impl Fate {
    /// Whether its first token came within `ttft`, and no later one more than `itl` after the one before, on average.
    pub fn is_in_time(&self, ttft: Duration, itl: Duration) -> bool {
        let total: Duration = self.gaps.iter().sum();
        self.ttft.is_some_and(|own| own <= ttft) && total <= itl * self.gaps.len() as u32
    }
}

/// Serves all clients to the end; their prompts differ from the first token on.
pub fn serve(config: SchedulerConfig, num_blocks: usize, clients: &[Client]) -> Vec<Fate> {
    serve_with(config, num_blocks, clients, false)
}

/// The same on a machine that is kept a step ahead, where `looks_ahead`.
pub fn serve_with(
    config: SchedulerConfig,
    num_blocks: usize,
    clients: &[Client],
    looks_ahead: bool,
) -> Vec<Fate> {
    let mut scheduler = Scheduler::new(config, BlockPool::new(num_blocks, BLOCK_SIZE));
    let mut fates = vec![Fate::default(); clients.len()];
    let arrivals = clients.iter().enumerate();
    let mut to_come: BinaryHeap<_> = arrivals.map(|(i, c)| Reverse((c.at, i))).collect();
    // Which client a sequence is, and when it came.
    let mut open: HashMap<SequenceId, (usize, Duration)> = HashMap::new();
    let (mut now, mut next_id, mut committed) = (Duration::ZERO, 0, Vec::new());
    loop {
        let is_running = !scheduler.plan().is_empty();
        match to_come.peek() {
            // What is in flight has to end first.
            _ if is_running => {}
            Some(next) if open.is_empty() => now = now.max(next.0.0),
            None if open.is_empty() => break,
            _ => {}
        }
        while let Some(&Reverse((at, i))) = to_come.peek()
            && at <= now
        {
            to_come.pop();
            let id = SequenceId(next_id);
            next_id += 1;
            let sequence = Sequence::new(id, request(i, &clients[i]), at, BLOCK_SIZE);
            match scheduler.add(sequence, now) {
                Ok(()) => {
                    open.insert(id, (i, at));
                }
                Err(refusal) => {
                    fates[i].num_refusals += 1;
                    if let Refusal::Busy { retry_after, .. } = refusal
                        && clients[i].obeys
                    {
                        assert!(retry_after >= SECOND);
                        to_come.push(Reverse((now + retry_after, i)));
                    }
                }
            }
        }
        for id in scheduler.expire(now) {
            let (i, _) = open.remove(&id).expect("who expires has been waiting");
            assert_eq!(fates[i].num_tokens, 0, "who expires has cost nothing");
            fates[i].has_expired = true;
        }
        if !is_running || looks_ahead {
            let is_planned = !scheduler.schedule(now).is_empty();
            if looks_ahead && is_planned && !is_running {
                // The step behind is planned as soon as this one runs.
                continue;
            }
        }
        let plan = scheduler.plan();
        if plan.is_empty() {
            continue;
        }
        let owner = |row: u32| plan.cu_seqlens_q.partition_point(|&start| start <= row) - 1;
        let sampled = plan.samples.iter().map(|row| {
            // One that has ended meanwhile is given a token that nobody reads.
            let is_last = open
                .get(&plan.sequences[owner(row.row_idx)])
                .is_some_and(|&(i, _)| fates[i].num_tokens + 1 == clients[i].answer_len);
            Some(SampledToken {
                token_id: if is_last { STOP } else { 7 },
                logprobs: None,
            })
        });
        let sampled = sampled.collect();
        now += step_time(plan.num_tokens());
        scheduler.commit(sampled, now, &mut committed);
        scheduler.check().expect("every invariant holds");
        for event in committed.drain(..) {
            let (i, arrival) = open[&event.id];
            let fate = &mut fates[i];
            match event.timing {
                Some(timing) => {
                    fate.ttft = Some(now - arrival);
                    fate.expected = timing.expected_ttft;
                }
                None => fate.gaps.push(now - fate.end),
            }
            fate.num_tokens += 1;
            fate.end = now;
            if event.finish.is_some() {
                open.remove(&event.id);
            }
        }
    }
    assert_eq!(scheduler.kv_usage(), 0.0);
    fates
}

fn request(i: usize, client: &Client) -> GenerateRequest {
    let first = i as u32 * 10_000;
    GenerateRequest {
        num_begun: 0,
        recalled: None,
        prompt_logprobs: None,
        constraint: None,
        adapter: None,
        tenant: client.tenant.into(),
        priority: client.priority,
        deadline: client.deadline,
        prompt: (first..first + client.prompt_len as u32).collect(),
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens: client.max_tokens,
            min_tokens: 0,
            stop_token_ids: vec![STOP],
        },
    }
}

/// `num` clients of a kind, `gap` apart on average, at random.
pub fn poisson(rng: &mut Rng, num: usize, gap: Duration, kind: &Client) -> Vec<Client> {
    let mut at = Duration::ZERO;
    let clients = (0..num).map(|_| {
        let uniform = (rng.below(1_000_000) + 1) as f64 / 1e6;
        at += gap.mul_f64(-uniform.ln());
        Client { at, ..kind.clone() }
    });
    clients.collect()
}

/// Gives clients the lengths of chats: most are short, some are long. 220 tokens of prompt and 64 of answer on average.
pub fn with_lengths_of_chats(rng: &mut Rng, mut clients: Vec<Client>) -> Vec<Client> {
    let skewed = |rng: &mut Rng, most: f64| {
        let uniform = rng.below(1000) as f64 / 1000.0;
        1 + (uniform.powi(3) * most) as usize
    };
    for client in &mut clients {
        client.prompt_len = 20 + skewed(rng, 800.0);
        client.answer_len = 1 + skewed(rng, 250.0);
        client.max_tokens = 1000;
    }
    clients
}

pub fn merged(parts: &[&[Client]]) -> Vec<Client> {
    let mut all = parts.concat();
    all.sort_by_key(|client| client.at);
    all
}

pub fn percentile<T: Copy + PartialOrd>(values: impl IntoIterator<Item = T>, percent: usize) -> T {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_by(|a, b| a.partial_cmp(b).expect("no value is NaN"));
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
