//! Same answer, whoever shares the batch: on the real model and through the real engine thread, a request gives the
//! same tokens and the same log-probabilities, bit for bit, alone and in any company.
//!
//! The company is seeded: before each step the test decides who arrives and who leaves, while the engine waits at a
//! gate. A seed thus tells a whole run, and nothing depends on the time of day.
#![allow(clippy::unwrap_used)] // A test may panic.

mod common;
mod rng;

use std::collections::HashMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use common::{Answer, Engine};
use flambeau::backend::cpu::{Cpu, Isa};
use flambeau::engine::{EventStream, Executor, ExecutorError, StepOutput, Ticket};
use flambeau::kv::BlockPool;
use flambeau::model::{Activations, Limits, ModelConfig, Runner, Weights};
use flambeau::ops::KvDtype;
use flambeau::request::{
    DEFAULT_TENANT, FinishReason, GenerateRequest, Priority, PromptLogprobs, Recalled,
    SamplingParams, StopCriteria,
};
use flambeau::scheduler::{
    DraftSource, DraftTotals, Drafter, LookupFirst, PromptLookup, Scheduler, SchedulerConfig,
    Sequence, SequenceId, StepPlan,
};
use rng::Rng;

const MAX_MODEL_LEN: usize = 352;
const VOCAB_SIZE: usize = 49_152;
const NUM_REQUESTS: usize = 32;

fn token_ids(rng: &mut Rng, len: usize) -> Vec<u32> {
    (0..len).map(|_| rng.below(VOCAB_SIZE) as u32).collect()
}

/// English, as token ids.
fn text() -> Vec<u32> {
    let path = format!(
        "{}/tests/data/golden/smollm2_q4_1_reference_long.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let golden: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    serde_json::from_value(golden["cases"][0]["prompt_token_ids"].clone()).unwrap()
}

/// Every second one is greedy, every second pair is English (else random tokens); penalties, filters, log-probabilities
/// and stop tokens each on some.
fn requests() -> Vec<GenerateRequest> {
    let (text, mut rng) = (text(), Rng(1));
    let request = |i: usize| {
        let len = if i % 8 == 7 {
            200 + rng.below(101)
        } else {
            5 + rng.below(60)
        };
        let start = rng.below(text.len() - len);
        let random = token_ids(&mut rng, len);
        let mut sampling = SamplingParams {
            logprobs: (!i.is_multiple_of(3)).then_some(i as u32 % 6),
            seed: rng.next(),
            ..SamplingParams::greedy()
        };
        if i % 2 == 1 {
            sampling.temperature = 0.8 + 0.1 * rng.below(5) as f32;
            match i / 2 % 4 {
                0 => sampling.top_p = 0.9,
                1 => sampling.top_k = 40,
                2 => (sampling.min_p, sampling.top_p) = (0.02, 0.95),
                _ => {}
            }
        }
        match i % 7 {
            0 => sampling.repetition_penalty = 1.2,
            3 => (sampling.presence_penalty, sampling.frequency_penalty) = (0.5, 0.3),
            5 => sampling.logit_bias = vec![(28, -3.0), (30, 2.0)],
            _ => {}
        }
        GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: (i % 8 == 5).then(|| PromptLogprobs::of_all(2)),
            constraint: None,
            adapter: None,
            tenant: DEFAULT_TENANT.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt: if (i / 2).is_multiple_of(2) {
                text[start..start + len].to_vec()
            } else {
                random
            },
            sampling,
            stop: StopCriteria {
                max_tokens: 16 + rng.below(33),
                min_tokens: 4,
                // The end of a message, a full stop, a comma.
                stop_token_ids: if i % 4 == 2 { vec![2, 30, 28] } else { vec![] },
            },
        }
    };
    (0..NUM_REQUESTS).map(request).collect()
}

static MODEL: LazyLock<(ModelConfig, Arc<Weights>)> =
    LazyLock::new(|| common::load(Activations::Int8, &Cpu::new(2).unwrap()));

fn alone(requests: &[GenerateRequest], kv_dtype: KvDtype) -> Vec<Answer> {
    common::alone(
        &MODEL,
        requests,
        common::limits(MAX_MODEL_LEN / 16, kv_dtype),
    )
}

/// What the requests answer one after the other with drafts of `drafter`, without the engine's thread, and what became of the drafts; `beside` is done
/// while a step runs. Here a step takes 10 ms and 0.1 ms a row, for whether drafts pay must not depend on who else uses the machine.
fn drafted(
    requests: Vec<GenerateRequest>,
    drafter: Box<dyn Drafter>,
    mut beside: impl FnMut(),
) -> (Vec<Answer>, [DraftTotals; DraftSource::ALL.len()]) {
    let config = SchedulerConfig {
        speculation: true,
        ..common::one_by_one(MAX_MODEL_LEN)
    };
    let limits = common::limits(MAX_MODEL_LEN / 16, KvDtype::F16);
    let cpu = Cpu::new(1).unwrap();
    let pool = BlockPool::new(limits.num_blocks, limits.block_size);
    let mut scheduler = Scheduler::new(config, pool).with_drafter(drafter);
    let mut runner = Runner::new(common::decoder(&MODEL, &limits, &cpu), cpu).unwrap();
    let (mut now, mut committed) = (Duration::ZERO, Vec::new());
    let mut answer = |request: GenerateRequest| {
        let sequence = Sequence::new(SequenceId(0), request, now, limits.block_size);
        scheduler.add(sequence, now).unwrap();
        let mut answer = Answer::default();
        while answer.finish.is_none() {
            let plan = scheduler.schedule(now);
            let output = runner.step(plan).unwrap();
            now += Duration::from_micros(10_000 + 100 * plan.num_tokens() as u64);
            beside();
            scheduler.commit(output.sampled, now, &mut committed);
            for event in committed.drain(..) {
                answer.finish = event.finish;
                if !event.prompt_logprobs.is_empty() {
                    answer.prompt_logprobs = event.prompt_logprobs;
                }
                answer.tokens.extend(event.token);
            }
        }
        answer
    };
    let answers = requests.into_iter().map(&mut answer).collect();
    (
        answers,
        DraftSource::ALL.map(|source| scheduler.drafts(source)),
    )
}

#[test]
fn a_prompt_is_scored_as_its_tokens_were_when_they_were_drawn() {
    let mut asked = requests()[8].clone();
    asked.sampling.logprobs = Some(3);
    let answer = &alone(std::slice::from_ref(&asked), KvDtype::F16)[0];
    let again = GenerateRequest {
        prompt: [asked.prompt.clone(), answer.token_ids()].concat(),
        prompt_logprobs: Some(PromptLogprobs::of_all(3)),
        ..asked.clone()
    };
    let scores = &alone(std::slice::from_ref(&again), KvDtype::F16)[0].prompt_logprobs;
    assert_eq!(scores.len(), asked.prompt.len() + answer.tokens.len() - 1);
    let drawn = || answer.tokens.iter().map(|token| token.logprobs.as_ref());
    assert!(
        scores[asked.prompt.len() - 1..]
            .iter()
            .map(Some)
            .eq(drawn())
    );
    // Also where only those of the answer are scored, after a prompt that is cached.
    let from_answer = GenerateRequest {
        prompt_logprobs: Some(PromptLogprobs {
            first: asked.prompt.len(),
            num_top: 3,
        }),
        ..again
    };
    let (scored, _) = drafted(vec![asked, from_answer], Box::new(PromptLookup), || ());
    assert!(scored[1].prompt_logprobs.iter().map(Some).eq(drawn()));
}

static ALONE: LazyLock<Vec<Answer>> = LazyLock::new(|| alone(&requests(), KvDtype::F16));

#[test]
fn an_answer_that_somebody_else_has_begun_goes_on_as_it_would_have() {
    let (mut begun, mut whole) = (Vec::new(), Vec::new());
    // Penalties, filters, noise, least numbers of tokens and stop tokens are all among them.
    for (request, answer) in requests().into_iter().zip(&*ALONE).take(16) {
        let ids = answer.token_ids();
        for num_begun in [1, ids.len() / 2, ids.len() - 1] {
            whole.push((&answer.tokens[num_begun..], answer.finish));
            begun.push(GenerateRequest {
                prompt: [&request.prompt, &ids[..num_begun]].concat(),
                num_begun,
                prompt_logprobs: None,
                ..request.clone()
            });
        }
    }
    let rest = alone(&begun, KvDtype::F16);
    for (i, (rest, (tokens, finish))) in rest.iter().zip(whole).enumerate() {
        assert_eq!((&rest.tokens[..], rest.finish), (tokens, finish), "{i}");
    }
}

/// A step's sequences, and from which position to which it computes them.
type Rows = Vec<(SequenceId, u32, u32)>;

/// Holds every step until the test has said who comes and goes.
struct Gated {
    runner: Runner,
    gate: SyncSender<Rows>,
}

impl Executor for Gated {
    fn launch(&mut self, plan: &StepPlan) -> Result<Ticket, ExecutorError> {
        let sequences = plan.sequences.iter().enumerate();
        let rows = sequences.map(|(s, &id)| {
            let start = plan.positions[plan.cu_seqlens_q[s] as usize];
            (id, start, plan.context_lens[s])
        });
        // Without a buffer, sending is meeting: once to say that a step is due, once to be let through. When the test
        // has left, the gate is open.
        let due = self.gate.send(rows.collect());
        let _ = due.and_then(|()| self.gate.send(Vec::new()));
        self.runner.launch(plan)
    }

    fn draw(&mut self, ticket: &Ticket, plan: &StepPlan) -> Result<(), ExecutorError> {
        self.runner.draw(ticket, plan)
    }

    fn collect(&mut self, ticket: Ticket) -> Result<StepOutput, ExecutorError> {
        self.runner.collect(ticket)
    }
}

/// Somebody else, who leaves after some steps, before an answer is complete.
struct Passer {
    stream: EventStream,
    patience: usize,
}

impl Passer {
    fn arrive(rng: &mut Rng, engine: &Engine) -> Self {
        let len = 1 + rng.below(40);
        let request = GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: None,
            constraint: None,
            adapter: None,
            tenant: DEFAULT_TENANT.into(),
            priority: Priority::Standard,
            deadline: None,
            prompt: token_ids(rng, len),
            sampling: SamplingParams {
                temperature: rng.below(2) as f32,
                ..SamplingParams::greedy()
            },
            stop: StopCriteria {
                max_tokens: 100,
                ..StopCriteria::default()
            },
        };
        Self {
            stream: engine.handle.submit(request).unwrap(),
            patience: 1 + rng.below(20),
        }
    }

    /// Whether this step is one too many.
    fn leaves(&mut self) -> bool {
        while let Some(event) = self.stream.try_recv() {
            assert!(!event.is_terminal(), "nobody ended this: {event:?}");
        }
        self.patience -= 1;
        self.patience == 0
    }
}

struct Company {
    answers: Vec<Answer>,
    /// As `/metrics` counts them, everybody's.
    num_preemptions: u64,
    /// Times one of the requests lost its blocks and was computed again.
    num_recomputed: usize,
    /// Others who left.
    num_left: usize,
}

/// Serves `requests` together, arriving in a random order, among others who come and leave.
fn in_company(
    requests: &[GenerateRequest],
    limits: Limits,
    (prefix_cache, speculation): (bool, bool),
    cpu: &Cpu,
    seed: u64,
) -> Company {
    let mut rng = Rng(seed);
    let max_num_seqs = 16 + rng.below(17);
    let config = SchedulerConfig {
        max_num_seqs,
        max_num_batched_tokens: max_num_seqs + rng.below(100),
        max_model_len: MAX_MODEL_LEN,
        prefix_cache,
        target_itl: None,
        speculation,
    };
    let (gate_keeper, gate) = sync_channel(0);
    let engine = Engine::start(&MODEL, config, limits, cpu, move |runner| {
        Box::new(Gated {
            runner,
            gate: gate_keeper.clone(),
        })
    });
    let mut to_come: Vec<usize> = (0..requests.len()).collect();
    let mut open: Vec<(usize, EventStream)> = Vec::new();
    let mut answers = vec![Answer::default(); requests.len()];
    // One of them is always there, so that the engine never waits for work while the test waits for a step.
    let mut passers = vec![Passer::arrive(&mut rng, &engine)];
    // Sequences are named in the order of their arrival.
    let mut num_arrived = 1;
    let mut num_computed: HashMap<SequenceId, u32> = HashMap::new();
    let (mut num_recomputed, mut num_left) = (0, 0);

    while !(to_come.is_empty() && open.is_empty()) {
        for (id, start, end) in gate.recv().unwrap() {
            if let Some(computed) = num_computed.get_mut(&id) {
                num_recomputed += usize::from(start < *computed);
                *computed = end;
            }
        }
        open.retain_mut(|(i, stream)| {
            answers[*i].drain(stream);
            answers[*i].finish.is_none()
        });
        while !to_come.is_empty() && rng.below(3) > 0 {
            let i = to_come.swap_remove(rng.below(to_come.len()));
            open.push((i, engine.handle.submit(requests[i].clone()).unwrap()));
            num_computed.insert(SequenceId(num_arrived), 0);
            num_arrived += 1;
        }
        let before = passers.len();
        passers.retain_mut(|passer| !passer.leaves());
        num_left += before - passers.len();
        while passers.is_empty() || (passers.len() < 4 && rng.below(4) == 0) {
            passers.push(Passer::arrive(&mut rng, &engine));
            num_arrived += 1;
        }
        gate.recv().unwrap();
    }
    drop((gate, passers));
    Company {
        answers,
        num_preemptions: common::metric(&engine.stop(), "flambeau_num_preemptions_total") as u64,
        num_recomputed,
        num_left,
    }
}

/// Token ids and, as bits, log-probabilities.
type Bits = Vec<(u32, Option<(u32, Vec<(u32, u32)>)>)>;

fn bits(answer: &Answer) -> Bits {
    let tokens = answer.tokens.iter();
    let bits = tokens.map(|token| {
        let logprobs = token.logprobs.as_ref().map(|logprobs| {
            let top = logprobs
                .top
                .iter()
                .map(|&(id, logprob)| (id, logprob.to_bits()));
            (logprobs.chosen.to_bits(), top.collect())
        });
        (token.token_id, logprobs)
    });
    bits.collect()
}

fn assert_same(company: &[Answer], label: &str) {
    for (i, (ours, alone)) in company.iter().zip(ALONE.iter().cycle()).enumerate() {
        assert_eq!(
            ours.token_ids(),
            alone.token_ids(),
            "{label}: tokens of request {i}"
        );
        assert_eq!(
            bits(ours),
            bits(alone),
            "{label}: log-probabilities of request {i}"
        );
        assert_eq!(ours.finish, alone.finish, "{label}: request {i}");
    }
}

#[test]
fn the_requests_are_of_every_kind() {
    let stopped = ALONE
        .iter()
        .filter(|a| a.finish == Some(FinishReason::Stop))
        .count();
    assert!(
        (2..NUM_REQUESTS / 2).contains(&stopped),
        "{stopped} ended by a stop token"
    );
    let mut lengths: Vec<usize> = requests().iter().map(|r| r.prompt.len()).collect();
    lengths.sort();
    assert!(
        lengths[0] < 10 && lengths[NUM_REQUESTS - 1] > 256,
        "{lengths:?}"
    );
    let mut firsts: Vec<u32> = ALONE
        .iter()
        .map(|answer| answer.tokens[0].token_id)
        .collect();
    firsts.sort();
    firsts.dedup();
    assert!(firsts.len() > 10, "the answers hardly differ: {firsts:?}");
}

#[test]
fn company_chunks_and_preemption_change_no_token_and_no_logprob() {
    let requests = requests();
    for (seed, num_threads) in [(1, 1), (2, 2)] {
        let cpu = Cpu::new(num_threads).unwrap();
        let label = format!("seed {seed}, threads: {num_threads}");
        let Company {
            answers,
            num_preemptions,
            num_recomputed,
            num_left,
        } = in_company(
            &requests,
            common::limits(28, KvDtype::F16),
            (false, false),
            &cpu,
            seed,
        );
        println!(
            "{label}: {num_preemptions} preemptions, {num_recomputed} recomputed, {num_left} left"
        );
        assert_same(&answers, &label);
        assert!(
            num_preemptions >= 5 && num_recomputed >= 3,
            "the pool was meant to be too small"
        );
        assert!(num_left >= 20, "others were meant to leave");
    }
}

#[test]
fn a_full_batch_changes_no_token_and_no_logprob() {
    let company = in_company(
        &requests(),
        common::limits(640, KvDtype::F16),
        (false, false),
        &Cpu::new(2).unwrap(),
        4,
    );
    assert_same(&company.answers, "roomy pool");
    assert_eq!(
        company.num_preemptions, 0,
        "the pool was meant to be large enough"
    );
}

/// Every request comes twice, and half of the prompts begin as another one does.
#[test]
fn cached_prefixes_change_no_token_and_no_logprob() {
    let requests = [requests(), requests()].concat();
    for (seed, num_blocks, num_threads) in [(7, 28, 2), (8, 640, 1)] {
        let cpu = Cpu::new(num_threads).unwrap();
        let limits = common::limits(num_blocks, KvDtype::F16);
        let company = in_company(&requests, limits, (true, true), &cpu, seed);
        assert_same(&company.answers, &format!("{num_blocks} blocks"));
        let cached: Vec<usize> = company
            .answers
            .iter()
            .map(|a| a.num_cached_tokens)
            .collect();
        println!("{num_blocks} blocks: {cached:?} tokens were cached");
        if num_blocks == 28 {
            assert!(
                company.num_preemptions >= 5,
                "the pool was meant to be too small"
            );
        }
        let num_warm = cached.iter().filter(|&&num_cached| num_cached > 0).count();
        assert!(num_warm >= 5, "prompts were meant to be found in the cache");
    }
}

/// Prompts that say something twice and begin to say it again.
#[test]
fn speculation_changes_no_token_and_no_logprob() {
    let repeat = |mut request: GenerateRequest| {
        let once = request.prompt;
        request.prompt = [&once[..], &once, &once[..once.len() / 2]].concat();
        request
    };
    let short = requests().into_iter().filter(|r| r.prompt.len() < 100);
    let requests: Vec<GenerateRequest> = short.map(repeat).collect();
    let plain = alone(&requests, KvDtype::F16);
    let (drafted, [drafts, ..]) = drafted(requests, Box::new(PromptLookup), || {});
    assert_equals_plain(&drafted, &plain);
    println!("{drafts:?}");
    assert!(drafts.num_accepted > 100 && drafts.num_drafted > drafts.num_accepted + 20);
}

/// The answers themselves, with a token changed, left out or added here and there.
#[test]
fn a_recalled_answer_changes_no_token_and_no_logprob() {
    let short = requests().into_iter().filter(|r| r.prompt.len() < 100);
    let mut requests: Vec<GenerateRequest> = short.collect();
    let plain = alone(&requests, KvDtype::F16);
    let mut rng = Rng(3);
    for (request, answer) in requests.iter_mut().zip(&plain) {
        let mut guess = Vec::new();
        for id in answer.token_ids() {
            match rng.below(16) {
                0 => guess.push(id + 1),
                1 => guess.extend([id, id]),
                2 => {}
                _ => guess.push(id),
            }
        }
        let recalled = Recalled::default();
        recalled.tell(guess);
        request.recalled = Some(recalled);
    }
    let (drafted, [.., drafts]) = drafted(requests, Box::new(PromptLookup), || {});
    assert_equals_plain(&drafted, &plain);
    println!("{drafts:?}");
    assert!(drafts.num_accepted > 300 && drafts.num_drafted > drafts.num_accepted + 50);
}

fn assert_equals_plain(drafted: &[Answer], plain: &[Answer]) {
    for (i, (drafted, plain)) in drafted.iter().zip(plain).enumerate() {
        assert_eq!(bits(drafted), bits(plain), "request {i}");
        assert_eq!(drafted.finish, plain.finish, "request {i}");
    }
}

/// The model drafts for itself, greedily: it is right where the request is greedy without penalties, and elsewhere often not.
#[test]
fn drafts_of_a_model_change_no_token_and_no_logprob() {
    let short = requests().into_iter().filter(|r| r.prompt.len() < 100);
    let requests: Vec<GenerateRequest> = short.collect();
    let plain = alone(&requests, KvDtype::F16);
    let cpu = Cpu::new(1).unwrap();
    let (drafter, mut worker, mut runner) = common::draft_model(&MODEL, (2, MAX_MODEL_LEN), &cpu);
    // Of what the worker could do beside a step it does more or less.
    let mut rng = Rng(2);
    let beside = || {
        for _ in 0..rng.below(6) {
            worker.step(&mut runner).unwrap();
        }
    };
    let (drafted, [_, drafts, _]) = drafted(requests, Box::new(LookupFirst(drafter)), beside);
    assert_equals_plain(&drafted, &plain);
    println!("{drafts:?}");
    assert!(drafts.num_accepted > 100 && drafts.num_drafted > drafts.num_accepted + 20);
}

#[test]
fn scalar_kernels_give_the_same_bits() {
    let cpu = Cpu::with_isa(2, Isa::Scalar).unwrap();
    let requests = requests();
    let mut shortest: Vec<usize> = (0..NUM_REQUESTS).collect();
    shortest.sort_by_key(|&i| requests[i].prompt.len() + requests[i].stop.max_tokens);
    let shortest = &shortest[..3];
    let some: Vec<GenerateRequest> = shortest.iter().map(|&i| requests[i].clone()).collect();
    let company = in_company(
        &some,
        common::limits(44, KvDtype::F16),
        (true, true),
        &cpu,
        5,
    );
    for (answer, &i) in company.answers.iter().zip(shortest) {
        assert_eq!(bits(answer), bits(&ALONE[i]), "request {i}");
    }
}

#[test]
fn an_int8_cache_gives_the_same_bits_in_company() {
    let requests = requests();
    let some = [0, 1, 7, 10, 15];
    let some: Vec<GenerateRequest> = some.iter().map(|&i| requests[i].clone()).collect();
    let alone = alone(&some, KvDtype::Int8);
    let cpu = Cpu::new(2).unwrap();
    let company = in_company(
        &some,
        common::limits(44, KvDtype::Int8),
        (true, true),
        &cpu,
        6,
    );
    for (i, (answer, alone)) in company.answers.iter().zip(&alone).enumerate() {
        assert_eq!(bits(answer), bits(alone), "request {i}");
    }
    let f16 = &ALONE[7];
    assert_ne!(bits(&alone[2]), bits(f16), "int8 was meant to show");
}
