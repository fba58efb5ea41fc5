//! The scheduler under seeded random load: arrivals, lengths, common beginnings, cancellations, failed steps and pools far
//! too small, on an executor whose answers depend on every token it reads back from its cache.
#![allow(clippy::unwrap_used)] // A test may panic.

mod rng;

use std::collections::HashMap;
use std::time::Duration;

use flambeau::engine::fake::FakeExecutor;
use flambeau::engine::{Executor, Ticket};
use flambeau::kv::{BlockId, BlockMove, BlockPool};
use flambeau::request::{
    DEFAULT_TENANT, GenerateRequest, Priority, PromptLogprobs, SamplingParams, StopCriteria,
};
use flambeau::scheduler::{
    Committed, DraftSource, Drafter, Scheduler, SchedulerConfig, Sequence, SequenceId,
};
use rng::Rng;

const VOCAB: u32 = 1000;
const STOP: u32 = 7;
/// Every step takes as long.
const STEP: Duration = Duration::from_millis(2);

struct Open {
    prompt: Vec<u32>,
    max_tokens: usize,
    min_tokens: usize,
    output: Vec<u32>,
    arrival_step: u64,
    /// The first token of the prompt that is scored.
    scored_from: Option<usize>,
}

/// What a lone run would answer.
fn expected(
    prompt: &[u32],
    (min_tokens, max_tokens): (usize, usize),
    max_model_len: usize,
) -> Vec<u32> {
    let mut tokens = prompt.to_vec();
    loop {
        let mut next = FakeExecutor::next_token(tokens.iter().copied(), 0, VOCAB);
        if next == STOP && tokens.len() - prompt.len() < min_tokens {
            next += 1;
        }
        tokens.push(next);
        let num_output = tokens.len() - prompt.len();
        if next == STOP || num_output == max_tokens || tokens.len() == max_model_len {
            return tokens.split_off(prompt.len());
        }
    }
}

fn request(prompt: Vec<u32>, max_tokens: usize, tenant: &str) -> GenerateRequest {
    GenerateRequest {
        num_begun: 0,
        recalled: None,
        prompt_logprobs: None,
        constraint: None,
        adapter: None,
        tenant: tenant.into(),
        priority: Priority::Standard,
        deadline: None,
        prompt,
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens,
            min_tokens: 0,
            stop_token_ids: vec![STOP],
        },
    }
}

/// Knows what the fake will say, and tells it more or less well.
#[derive(Debug)]
struct Prophet(Rng);

impl Drafter for Prophet {
    fn draft(
        &mut self,
        _id: SequenceId,
        tokens: &[u32],
        limit: usize,
        draft: &mut Vec<u32>,
    ) -> DraftSource {
        let mut known = tokens.to_vec();
        for _ in 0..self.0.below(limit + 1) {
            let next = FakeExecutor::next_token(known.iter().copied(), 0, VOCAB);
            let is_wrong = self.0.below(8) == 0;
            known.push(if is_wrong { (next + 1) % VOCAB } else { next });
        }
        draft.extend(&known[tokens.len()..]);
        DraftSource::Model
    }
}

#[derive(Default)]
struct Totals {
    finished: u64,
    cancelled: u64,
    failed: u64,
    refused: u64,
    expired: u64,
    preemptions: u64,
    cached_tokens: usize,
    evictions: u64,
    copies: usize,
    saves: u64,
    loads: u64,
    drafted: u64,
    accepted: u64,
    scored: u64,
    /// Steps that were planned while another was in flight.
    ahead: u64,
    crashes: u64,
}

struct Simulation {
    seed: u64,
    rng: Rng,
    config: SchedulerConfig,
    block_size: usize,
    scheduler: Scheduler,
    executor: FakeExecutor,
    /// On the device, and on the host.
    blocks: (usize, usize),
    /// Whether steps are planned while another is in flight, and which is.
    looks_ahead: bool,
    drawn: Option<Ticket>,
    open: HashMap<SequenceId, Open>,
    /// What prompts may begin with: documents, and conversations that have ended.
    beginnings: Vec<Vec<u32>>,
    totals: Totals,
    step: u64,
    next_id: u64,
    committed: Vec<Committed>,
}

impl Simulation {
    fn new(
        seed: u64,
        config: SchedulerConfig,
        (num_blocks, num_host_blocks): (usize, usize),
        block_size: usize,
        looks_ahead: bool,
    ) -> Self {
        let mut rng = Rng(seed);
        let beginnings = (0..4)
            .map(|_| tokens(&mut rng, config.max_model_len / 2))
            .collect();
        Self {
            seed,
            rng,
            config,
            block_size,
            scheduler: Scheduler::new(
                config,
                BlockPool::new(num_blocks, block_size).with_host_arena(num_host_blocks),
            )
            .with_drafter(Box::new(Prophet(Rng(seed)))),
            executor: executor((num_blocks, num_host_blocks), block_size),
            blocks: (num_blocks, num_host_blocks),
            looks_ahead,
            drawn: None,
            open: HashMap::new(),
            beginnings,
            totals: Totals::default(),
            step: 0,
            next_id: 0,
            committed: Vec::new(),
        }
    }

    fn run(mut self, num_requests: u64) -> Totals {
        while self.next_id < num_requests || !self.open.is_empty() || self.drawn.is_some() {
            // Arrivals come in bursts, kept near what can be open, so that the queue is long but bounded.
            while self.next_id < num_requests
                && self.open.len() < 4 * self.config.max_num_seqs
                && self.rng.below(3) > 0
            {
                self.arrive();
            }
            if self.rng.below(20) == 0 {
                self.cancel_one();
            }
            self.step();
            let arrivals = self.open.values().map(|request| request.arrival_step);
            let oldest = arrivals.min().unwrap_or(self.step);
            let (seed, step) = (self.seed, self.step);
            assert!(step - oldest < 3000, "seed {seed}: a request starves");
        }
        let scheduler = &self.scheduler;
        assert_eq!((scheduler.num_running(), scheduler.num_waiting()), (0, 0));
        let seed = self.seed;
        assert_eq!(scheduler.kv_usage(), 0.0, "seed {seed}: blocks leaked");
        self.totals.preemptions = scheduler.num_preemptions();
        self.totals.evictions = scheduler.pool().num_evictions();
        self.totals.saves = scheduler.pool().num_saves();
        self.totals.loads = scheduler.pool().num_loads();
        self.totals.drafted = scheduler.num_drafted();
        self.totals.accepted = scheduler.num_accepted();
        self.totals
    }

    fn arrive(&mut self) {
        let longest = self.config.max_model_len / 2;
        let mut prompt = Vec::new();
        if self.rng.below(2) == 0 {
            let beginning = &self.beginnings[self.rng.below(self.beginnings.len())];
            prompt.extend(beginning);
            prompt.truncate(self.rng.below(longest));
        }
        let len = self.rng.below(longest - prompt.len());
        // At times nothing comes after the beginning.
        if prompt.is_empty() || self.rng.below(4) > 0 {
            prompt.extend(tokens(&mut self.rng, 1 + len));
        }
        let max_tokens = 1 + self.rng.below(24);
        let min_tokens = [0, self.rng.below(max_tokens)][self.rng.below(2)];
        let tenant = ["a", "b"][self.rng.below(2)];
        let id = SequenceId(self.next_id);
        self.next_id += 1;
        let mut request = request(prompt.clone(), max_tokens, tenant);
        request.stop.min_tokens = min_tokens;
        if self.rng.below(3) == 0 {
            request.deadline = Some(STEP * (1 + self.rng.below(200)) as u32);
        }
        let is_scored = self.rng.below(5) == 0;
        let first = [1, 1 + self.rng.below(prompt.len() + 2)][self.rng.below(2)];
        let scored_from = is_scored.then_some(first);
        let num_top = 1;
        request.prompt_logprobs = scored_from.map(|first| PromptLogprobs { first, num_top });
        let sequence = Sequence::new(id, request, self.now(), self.block_size);
        if self.scheduler.add(sequence, self.now()).is_err() {
            self.totals.refused += 1;
            return;
        }
        let open = Open {
            prompt,
            max_tokens,
            min_tokens,
            output: Vec::new(),
            arrival_step: self.step,
            scored_from,
        };
        self.open.insert(id, open);
    }

    fn cancel_one(&mut self) {
        // The smallest id of a random residue: HashMap order must not steer a seeded run.
        let residue = self.rng.next() % 8;
        if let Some(&id) = self.open.keys().filter(|id| id.0 % 8 == residue).min() {
            self.scheduler.cancel(|candidate| candidate == id);
            self.open.remove(&id);
            self.totals.cancelled += 1;
        }
    }

    fn now(&self) -> Duration {
        STEP * self.step as u32
    }

    fn step(&mut self) {
        let now = self.now();
        for id in self.scheduler.expire(now) {
            let request = self.open.remove(&id).unwrap();
            assert!(request.output.is_empty(), "{id:?} was under way");
            self.totals.expired += 1;
        }
        if self.rng.below(500) == 0 {
            self.scheduler.clear_prefix_cache();
        }
        let launched = self.launch(now);
        // What it was to write is not written, or written and not drawn.
        let is_launched = self.rng.below(400) > 0;
        let is_drawn = self.rng.below(400) > 0;
        if launched.is_some() && !is_launched {
            self.executor.spoil(self.scheduler.newest_plan());
        }
        if let Some(ticket) = self.drawn.take() {
            self.collect(ticket);
        }
        // A step behind one that failed is given up with it.
        if let Some(ticket) = launched.filter(|_| !self.scheduler.plan().is_empty()) {
            if !is_launched || !is_drawn {
                self.fail();
            } else {
                self.executor.draw(&ticket, self.scheduler.plan()).unwrap();
                match self.looks_ahead {
                    true => self.drawn = Some(ticket),
                    false => self.collect(ticket),
                }
            }
        }
        self.step += 1;
    }

    fn launch(&mut self, now: Duration) -> Option<Ticket> {
        let is_empty = self.scheduler.schedule(now).is_empty();
        self.check("planned");
        let (seed, step) = (self.seed, self.step);
        assert!(
            !is_empty || self.open.is_empty() || self.drawn.is_some(),
            "seed {seed}, step {step}: idle with {} open",
            self.open.len()
        );
        if is_empty {
            return None;
        }
        let plan = self.scheduler.newest_plan();
        self.totals.ahead += u64::from(!plan.pending.is_empty());
        for &slot in &plan.slot_mapping {
            let block = BlockId(slot / self.block_size as u32);
            let is_shared = self.scheduler.pool().is_written(block);
            assert!(
                !is_shared,
                "seed {seed}, step {step}: {block:?} is written again"
            );
        }
        let is_copy = |block_move: &&BlockMove| matches!(block_move, BlockMove::Copy { .. });
        self.totals.copies += plan.block_moves.iter().filter(is_copy).count();
        Some(self.executor.launch(plan).unwrap())
    }

    fn collect(&mut self, ticket: Ticket) {
        let now = self.now();
        let output = self.executor.collect(ticket).unwrap();
        if self.rng.below(200) == 0 {
            self.fail();
        } else if self.rng.below(400) == 0 {
            self.crash();
        } else {
            self.scheduler
                .commit(output.sampled, now + STEP, &mut self.committed);
            self.take_in();
        }
        self.check("committed");
    }

    /// The oldest step in flight fails, and nobody knows what is where steps in flight write.
    fn fail(&mut self) {
        for id in &self.scheduler.plan().sequences {
            // One that has ended, or was cancelled, may be there as well.
            if self.open.remove(id).is_some() {
                self.totals.failed += 1;
            }
        }
        self.executor.spoil(self.scheduler.plan());
        self.executor.spoil(self.scheduler.newest_plan());
        let now = self.now();
        self.scheduler.abandon_step(now);
        self.check("failed");
    }

    /// Who computes is lost, with all that it held.
    fn crash(&mut self) {
        let now = self.now();
        for id in self.scheduler.lose_cache(now) {
            if self.open.remove(&id).is_some() {
                self.totals.failed += 1;
            }
        }
        self.executor = executor(self.blocks, self.block_size);
        self.totals.crashes += 1;
        self.check("crashed");
    }

    fn check(&self, when: &str) {
        let (seed, step) = (self.seed, self.step);
        self.scheduler
            .check()
            .unwrap_or_else(|broken| panic!("seed {seed}, step {step}, {when}: {broken}"));
    }

    fn take_in(&mut self) {
        for event in std::mem::take(&mut self.committed) {
            let request = self
                .open
                .get_mut(&event.id)
                .expect("an event after the terminal one, or for a cancelled request");
            let token = event.token.expect("the fake bans nothing here");
            request.output.push(token.token_id);
            // The fake's likeliest token is the one that it scores.
            let scored = event.prompt_logprobs.iter().map(|scores| scores.top[0].0);
            if let Some(first) = request.scored_from.filter(|_| event.timing.is_some()) {
                assert!(scored.eq(request.prompt.iter().skip(first).copied()));
                self.totals.scored += 1;
            } else {
                assert_eq!(scored.count(), 0);
            }
            if let Some(timing) = event.timing {
                assert!(timing.num_cached_tokens < request.prompt.len());
                self.totals.cached_tokens += timing.num_cached_tokens;
            }
            if event.finish.is_some() {
                let request = self.open.remove(&event.id).unwrap();
                let max_model_len = self.config.max_model_len;
                let bounds = (request.min_tokens, request.max_tokens);
                let alone = expected(&request.prompt, bounds, max_model_len);
                assert_eq!(
                    request.output, alone,
                    "seed {}: {:?} answered differently in company",
                    self.seed, event.id
                );
                let forgotten = self.rng.below(self.beginnings.len());
                self.beginnings[forgotten] = [request.prompt, request.output].concat();
                self.totals.finished += 1;
            }
        }
    }
}

fn executor((num_blocks, num_host_blocks): (usize, usize), block_size: usize) -> FakeExecutor {
    FakeExecutor::new(num_blocks, block_size, VOCAB).with_host_arena(num_host_blocks)
}

fn tokens(rng: &mut Rng, len: usize) -> Vec<u32> {
    (0..len).map(|_| rng.below(VOCAB as usize) as u32).collect()
}

#[test]
fn a_hundred_thousand_requests_lose_nothing_and_answer_as_if_alone() {
    let mut rng = Rng(2026);
    let mut all = Totals::default();
    // Three times every combination of what can be on or off.
    for seed in 0..96 {
        let is_on = |bit: u64| seed >> bit & 1 == 0;
        let max_num_seqs = 1 + rng.below(24);
        let block_size = [1, 4, 16][rng.below(3)];
        let max_model_len = 16 + rng.below(80);
        let per_sequence = max_model_len.div_ceil(block_size);
        let config = SchedulerConfig {
            max_num_seqs,
            // So that prompts are computed in chunks, or whole.
            max_num_batched_tokens: max_num_seqs + if is_on(0) { rng.below(8) } else { 128 },
            max_model_len,
            prefix_cache: is_on(1),
            target_itl: None,
            speculation: is_on(2),
        };
        // From a pool that barely holds one sequence to one that holds a few.
        let num_blocks = per_sequence + rng.below(per_sequence * 4);
        let num_host_blocks = match is_on(3) {
            true => 1 + rng.below(per_sequence * 8),
            false => 0,
        };
        let blocks = (num_blocks, num_host_blocks);
        let totals = Simulation::new(seed, config, blocks, block_size, is_on(4)).run(1_200);
        if !is_on(4) {
            assert_eq!(totals.ahead, 0);
        }
        if !config.prefix_cache {
            assert_eq!((totals.cached_tokens, totals.copies), (0, 0));
        }
        if !config.speculation {
            assert_eq!(totals.drafted, 0);
        }
        all.finished += totals.finished;
        all.cancelled += totals.cancelled;
        all.failed += totals.failed;
        all.refused += totals.refused;
        all.expired += totals.expired;
        all.preemptions += totals.preemptions;
        all.cached_tokens += totals.cached_tokens;
        all.evictions += totals.evictions;
        all.copies += totals.copies;
        all.saves += totals.saves;
        all.loads += totals.loads;
        all.drafted += totals.drafted;
        all.accepted += totals.accepted;
        all.scored += totals.scored;
        all.ahead += totals.ahead;
        all.crashes += totals.crashes;
    }
    let ended = all.finished + all.cancelled + all.failed + all.refused + all.expired;
    assert_eq!(ended, 96 * 1_200, "every request ends exactly once");
    let Totals {
        cancelled,
        failed,
        refused,
        expired,
        preemptions,
        cached_tokens,
        evictions,
        copies,
        saves,
        loads,
        drafted,
        accepted,
        ahead,
        ..
    } = all;
    println!(
        "{cancelled} cancelled, {failed} failed, {refused} refused, {expired} expired, {preemptions} preemptions, {cached_tokens} tokens cached, {evictions} evictions, {copies} copies, {saves} saves, {loads} loads, {accepted} of {drafted} drafted tokens right, {ahead} steps ahead"
    );
    assert!(preemptions > 1_000, "the pools were meant to be too small");
    assert!(cancelled > 1_000 && failed > 1_000 && all.scored > 1_000);
    assert!(all.crashes > 100);
    assert!(refused > 1_000 && expired > 10 && ahead > 5_000);
    assert!(cached_tokens > 20_000 && evictions > 10_000 && copies > 1_000);
    assert!(saves > 5_000 && loads > 1_000);
    assert!(accepted > 10_000 && drafted > accepted + 1_000);
}

/// Runs steps until all is done, and counts the tokens computed; `served` hears of every token.
fn run(
    scheduler: &mut Scheduler,
    executor: &mut FakeExecutor,
    mut served: impl FnMut(&Committed),
) -> usize {
    let (mut num_computed, mut committed) = (0, Vec::new());
    while !scheduler.schedule(Duration::ZERO).is_empty() {
        num_computed += scheduler.plan().num_tokens();
        let output = executor.step(scheduler.plan()).unwrap();
        scheduler.commit(output.sampled, Duration::ZERO, &mut committed);
        for event in committed.drain(..) {
            served(&event);
        }
    }
    num_computed
}

fn scheduler(max_num_batched_tokens: usize) -> (Scheduler, FakeExecutor) {
    let config = SchedulerConfig {
        max_num_seqs: 4,
        max_num_batched_tokens,
        max_model_len: 512,
        prefix_cache: true,
        target_itl: None,
        speculation: false,
    };
    let scheduler = Scheduler::new(config, BlockPool::new(64, 16));
    (scheduler, FakeExecutor::new(64, 16, VOCAB))
}

fn add(scheduler: &mut Scheduler, id: u64, prompt: &[u32], max_tokens: usize, tenant: &str) {
    let request = request(prompt.to_vec(), max_tokens, tenant);
    let id = SequenceId(id);
    let sequence = Sequence::new(id, request, Duration::ZERO, 16);
    scheduler.add(sequence, Duration::ZERO).unwrap();
}

#[test]
fn a_prompt_known_to_the_last_token_is_computed_from_its_last_token() {
    for len in [64, 65, 71] {
        let (mut scheduler, mut executor) = scheduler(512);
        let prompt: Vec<u32> = (100..100 + len).collect();
        add(&mut scheduler, 0, &prompt, 2, DEFAULT_TENANT);
        assert_eq!(run(&mut scheduler, &mut executor, |_| ()), len as usize + 1);
        // Blocks of 16 are found whole; of the rest, only what a full block begins with.
        let num_cached = if len == 64 { 63 } else { 64 };
        let mut cached = Vec::new();
        add(&mut scheduler, 1, &prompt, 1, DEFAULT_TENANT);
        let num_computed = run(&mut scheduler, &mut executor, |event| {
            cached.extend(event.timing.map(|timing| timing.num_cached_tokens));
        });
        assert_eq!(
            (num_computed, cached),
            (len as usize - num_cached, vec![num_cached])
        );
    }
}

#[test]
fn equal_prompts_that_come_together_are_computed_once() {
    // In one step, and in chunks.
    for max_num_batched_tokens in [512, 40] {
        let (mut scheduler, mut executor) = scheduler(max_num_batched_tokens);
        let prompt: Vec<u32> = (100..300).collect();
        (0..4).for_each(|id| add(&mut scheduler, id, &prompt, 1, DEFAULT_TENANT));
        let num_computed = run(&mut scheduler, &mut executor, |_| ());
        // 200 tokens are 12 blocks and 8 tokens, which each computes itself.
        assert_eq!(
            num_computed,
            200 + 3 * 8,
            "{max_num_batched_tokens} tokens a step"
        );
    }
}

#[test]
fn tenants_share_nothing() {
    let (mut scheduler, mut executor) = scheduler(512);
    let prompt: Vec<u32> = (100..200).collect();
    let mut cached = HashMap::new();
    for (id, tenant) in ["a", "b", "a", "b"].iter().enumerate() {
        add(&mut scheduler, id as u64, &prompt, 1, tenant);
        run(&mut scheduler, &mut executor, |event| {
            cached.insert(event.id.0, event.timing.unwrap().num_cached_tokens);
        });
    }
    let cached: Vec<usize> = (0..4).map(|id| cached[&id]).collect();
    assert_eq!(cached, [0, 0, 96, 96]);
}

/// One that was admitted and got no rows in the failed step, but blocks that the step was to copy and to share.
#[test]
fn a_failed_step_misleads_nobody_who_was_not_in_it() {
    let (mut scheduler, mut executor) = scheduler(40);
    let seed: Vec<u32> = (100..164).collect();
    add(&mut scheduler, 0, &seed, 1, "b");
    run(&mut scheduler, &mut executor, |_| ());
    let long: Vec<u32> = (200..500).collect();
    add(&mut scheduler, 1, &long, 1, "a");
    for _ in 0..3 {
        let output = executor.step(scheduler.schedule(Duration::ZERO)).unwrap();
        scheduler.commit(output.sampled, Duration::ZERO, &mut Vec::new());
    }
    let first: Vec<u32> = (500..600).collect();
    let second = [&seed[..24], &[7, 8, 9]].concat();
    add(&mut scheduler, 2, &first, 1, "b");
    add(&mut scheduler, 3, &second, 1, "b");
    let plan = scheduler.schedule(Duration::ZERO);
    assert_eq!(plan.sequences, [SequenceId(2)]);
    assert_eq!(plan.block_moves.len(), 1);
    scheduler.abandon_step(Duration::ZERO);
    scheduler.check().unwrap();
    let mut answers = HashMap::new();
    run(&mut scheduler, &mut executor, |event| {
        answers.insert(event.id.0, event.token.as_ref().unwrap().token_id);
    });
    let alone = |prompt: &[u32]| expected(prompt, (0, 1), 512)[0];
    assert_eq!(
        answers,
        HashMap::from([(1, alone(&long)), (3, alone(&second))])
    );
}

/// With a token left to compute it is no prompt any more, and the decodes are planned already.
#[test]
fn who_overtakes_a_long_prompt_and_is_cached_to_the_last_token_is_in_the_next_step() {
    let (mut scheduler, mut executor) = scheduler(40);
    let known: Vec<u32> = (100..164).collect();
    add(&mut scheduler, 0, &known, 1, "b");
    run(&mut scheduler, &mut executor, |_| ());
    add(&mut scheduler, 1, &(200..500).collect::<Vec<u32>>(), 1, "a");
    // Until the other tenant has had more.
    for _ in 0..3 {
        let output = executor.step(scheduler.schedule(Duration::ZERO)).unwrap();
        scheduler.commit(output.sampled, Duration::ZERO, &mut Vec::new());
    }
    add(&mut scheduler, 2, &known, 1, "b");
    let plan = scheduler.schedule(Duration::ZERO);
    assert!(plan.sequences.contains(&SequenceId(2)));
}

#[test]
fn a_forgotten_cache_is_computed_again() {
    let (mut scheduler, mut executor) = scheduler(512);
    let prompt: Vec<u32> = (100..200).collect();
    for id in 0..2 {
        add(&mut scheduler, id, &prompt, 1, DEFAULT_TENANT);
        assert_eq!(run(&mut scheduler, &mut executor, |_| ()), 100);
        scheduler.clear_prefix_cache();
        scheduler.check().unwrap();
    }
}

/// The longest step beside eight streams, and how long a prompt of 4,000 tokens took, on a machine that takes 4 ms a step
/// and 1 ms a token, or a little more far into a context.
fn long_prompt_beside_streams(target_itl: Option<Duration>) -> (Duration, Duration) {
    let config = SchedulerConfig {
        max_num_seqs: 16,
        max_num_batched_tokens: 256,
        max_model_len: 8192,
        prefix_cache: true,
        target_itl,
        speculation: false,
    };
    let mut scheduler = Scheduler::new(config, BlockPool::new(1024, 16));
    let mut executor = FakeExecutor::new(1024, 16, VOCAB);
    let add = |scheduler: &mut Scheduler, id: u64, prompt: Vec<u32>, max_tokens: usize| {
        let mut request = request(prompt, max_tokens, DEFAULT_TENANT);
        request.stop.stop_token_ids.clear();
        let id = SequenceId(id);
        let sequence = Sequence::new(id, request, Duration::ZERO, 16);
        scheduler.add(sequence, Duration::ZERO).unwrap();
    };
    for id in 0..8 {
        let prompt = (0..100).map(|i| (id * 100 + i) as u32).collect();
        add(&mut scheduler, id, prompt, 2000);
    }
    let (mut now, mut longest, mut committed) = (Duration::ZERO, Duration::ZERO, Vec::new());
    let mut arrival = None;
    for step in 0.. {
        if step == 100 {
            add(&mut scheduler, 8, (5000..9000).collect(), 1);
            arrival = Some(now);
        }
        let plan = scheduler.schedule(now);
        let far: u32 = plan.positions.iter().map(|position| position / 16).sum();
        let micros = 4000 + 1000 * plan.num_tokens() as u64 + u64::from(far);
        let time = Duration::from_micros(micros);
        let output = executor.step(plan).unwrap();
        now += time;
        committed.clear();
        scheduler.commit(output.sampled, now, &mut committed);
        let Some(arrival) = arrival else { continue };
        longest = longest.max(time);
        if committed.iter().any(|event| event.id == SequenceId(8)) {
            return (longest, now - arrival);
        }
    }
    unreachable!("the prompt is served at some time")
}

#[test]
fn with_a_target_a_long_prompt_stretches_no_step_beyond_it_and_still_advances() {
    let target = Duration::from_millis(30);
    let (longest, ttft) = long_prompt_beside_streams(Some(target));
    assert!(longest <= target.mul_f64(1.1), "a step took {longest:?}");
    // Eight decodes leave 18 ms of 30, so 4,000 tokens at 1.1 ms take 245 steps.
    assert!(ttft < Duration::from_secs(8), "{ttft:?}");
    let (longest, faster) = long_prompt_beside_streams(None);
    assert!(
        longest > 5 * target && faster < ttft,
        "{longest:?}, {faster:?}"
    );
    // However tight it is, prompts advance.
    let (_, slowest) = long_prompt_beside_streams(Some(Duration::from_millis(1)));
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}

#[test]
fn decodes_are_never_held_up_by_a_long_prompt() {
    let (mut scheduler, mut executor) = scheduler(8);
    let add = |scheduler: &mut Scheduler, id: u64, len: u32| {
        let mut request = request((100..100 + len).collect(), 40, DEFAULT_TENANT);
        request.stop.stop_token_ids.clear();
        let sequence = Sequence::new(SequenceId(id), request, Duration::ZERO, 16);
        scheduler.add(sequence, Duration::ZERO).unwrap();
    };
    add(&mut scheduler, 0, 4);
    let mut committed = Vec::new();
    for step in 0..40 {
        if step == 1 {
            add(&mut scheduler, 1, 300);
        }
        let output = executor.step(scheduler.schedule(Duration::ZERO)).unwrap();
        committed.clear();
        scheduler.commit(output.sampled, Duration::ZERO, &mut committed);
        assert!(
            committed.iter().any(|event| event.id == SequenceId(0)),
            "step {step} gave the stream no token"
        );
    }
}

/// The rows of each prompt in the first step, before anything is known of the machine: 1 ms a step and 0.2 ms a row.
fn rows_of_the_first_step(prompts: &[usize]) -> Vec<u32> {
    let (mut scheduler, _) = scheduler(512);
    for (id, &len) in prompts.iter().enumerate() {
        let first = 1000 * id as u32;
        let prompt: Vec<u32> = (first..first + len as u32).collect();
        add(&mut scheduler, id as u64, &prompt, 40, DEFAULT_TENANT);
    }
    let plan = scheduler.schedule(Duration::ZERO);
    let bounds = plan.cu_seqlens_q.windows(2);
    bounds.map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn prompts_share_a_step_as_far_as_that_saves_something() {
    // 8 ms, of which the step's own millisecond is an eighth, are 35 rows.
    assert_eq!(rows_of_the_first_step(&[10, 10, 10]), [10, 10, 10]);
    assert_eq!(rows_of_the_first_step(&[10, 20, 30, 10]), [10, 20, 5]);
    // Whoever came first is held up by nobody.
    assert_eq!(rows_of_the_first_step(&[60, 5]), [60]);
}
