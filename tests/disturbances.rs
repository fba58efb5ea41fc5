//! Clients who leave, deadlines that pass, blocks that run out: whoever is served all the same hears what it would have heard
//! alone, bit for bit, and nothing is left behind. Through the real engine thread, on a tiny random model in every combination of
//! what can be on or off, and on the default model.
#![allow(clippy::unwrap_used)] // A test may panic.

#[allow(dead_code)]
#[path = "families/blocks.rs"]
mod blocks;
mod common;
mod gguf_writer;
#[allow(dead_code)]
#[path = "families/model.rs"]
mod model;
mod rng;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use common::{Answer, Engine};
use flambeau::backend::cpu::Cpu;
use flambeau::engine::{EngineError, Event, EventStream, Executor, ExecutorError};
use flambeau::model::gguf::GgufFile;
use flambeau::model::{Activations, Limits, ModelConfig, Weights};
use flambeau::ops::KvDtype;
use flambeau::request::{DEFAULT_TENANT, GenerateRequest, Priority, SamplingParams, StopCriteria};
use flambeau::scheduler::{Drafter, LookupFirst, PromptLookup, SchedulerConfig};
use rng::Rng;

const MAX_MODEL_LEN: usize = 256;
const NUM_REQUESTS: usize = 48;
/// Clients at a time.
const NUM_CLIENTS: usize = 24;

type LoadedModel = (ModelConfig, Arc<Weights>);

fn tiny(seed: u64) -> LoadedModel {
    let spec = model::Spec {
        vocab: 512,
        ..model::Spec::llama()
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let bytes = model::Model::random(&spec, seed).to_gguf();
    file.write_all(&bytes).unwrap();
    let file = GgufFile::open(file.path()).unwrap();
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let weights = Weights::load(&file, &config, Activations::Int8, &Cpu::new(1).unwrap());
    (config, Arc::new(weights.unwrap()))
}

/// Prompts that begin alike, and some that repeat themselves; greedy and sampled.
fn requests(vocab_size: usize) -> Vec<GenerateRequest> {
    let mut rng = Rng(1);
    let tokens = |rng: &mut Rng, len: usize| -> Vec<u32> {
        (0..len).map(|_| rng.below(vocab_size) as u32).collect()
    };
    let beginnings: Vec<Vec<u32>> = (0..4).map(|_| tokens(&mut rng, 64)).collect();
    let request = |i: usize| {
        let mut prompt = beginnings[rng.below(4)].clone();
        prompt.truncate(rng.below(64));
        let len = 1 + rng.below(30);
        prompt.extend(tokens(&mut rng, len));
        if i.is_multiple_of(3) {
            prompt.extend_from_within(..);
        }
        GenerateRequest {
            num_begun: 0,
            recalled: None,
            prompt_logprobs: None,
            constraint: None,
            adapter: None,
            tenant: DEFAULT_TENANT.into(),
            priority: [Priority::Standard, Priority::Interactive, Priority::Batch][rng.below(3)],
            deadline: None,
            prompt,
            sampling: SamplingParams {
                temperature: rng.below(2) as f32 * 0.9,
                repetition_penalty: if i.is_multiple_of(5) { 1.1 } else { 1.0 },
                seed: rng.next(),
                logprobs: Some(1),
                ..SamplingParams::greedy()
            },
            stop: StopCriteria {
                max_tokens: 4 + rng.below(24),
                ..StopCriteria::default()
            },
        }
    };
    (0..NUM_REQUESTS).map(request).collect()
}

fn limits(num_blocks: usize, num_host_blocks: usize) -> Limits {
    Limits {
        num_host_blocks,
        max_model_len: MAX_MODEL_LEN,
        ..common::limits(num_blocks, KvDtype::F16)
    }
}

/// What is on, of chunks, prefix cache, speculation and offload.
#[derive(Clone, Copy, Debug)]
struct Features([bool; 4]);

impl Features {
    fn combinations() -> impl Iterator<Item = Self> {
        (0..16).map(|bits| Self([0, 1, 2, 3].map(|i| bits >> i & 1 == 1)))
    }
}

/// A client: which request it has, and after how many tokens it leaves.
struct Client {
    i: usize,
    leaves_after: Option<usize>,
    has_deadline: bool,
    stream: EventStream,
    answer: Answer,
}

#[derive(Debug, Default)]
struct Outcomes {
    served: usize,
    left: usize,
    too_late: usize,
    preemptions: u64,
    offloaded: u64,
    accepted: u64,
}

fn lookup() -> Box<dyn Drafter> {
    Box::new(PromptLookup)
}

/// Drafts of a model on a thread of its own.
fn drafts_of(model: &LoadedModel) -> Box<dyn Drafter> {
    let cpu = Cpu::new(1).unwrap();
    let (drafter, worker, runner) = common::draft_model(model, (3, MAX_MODEL_LEN), &cpu);
    let mut runner = Some(runner);
    let factory = move || {
        let runner = runner.take().ok_or(ExecutorError("one is enough".into()))?;
        Ok(Box::new(runner) as Box<dyn Executor>)
    };
    worker.spawn("draft", Box::new(factory)).unwrap();
    Box::new(LookupFirst(drafter))
}

/// Serves `num` clients, drawn from `requests`, in a pool far too small.
fn disturbed(
    (model, drafter): (&LoadedModel, Box<dyn Drafter>),
    requests: &[GenerateRequest],
    expected: &[Answer],
    features: Features,
    num: usize,
    seed: u64,
) -> Outcomes {
    let mut rng = Rng(seed);
    let [has_chunks, prefix_cache, speculation, has_offload] = features.0;
    let config = SchedulerConfig {
        max_num_seqs: 12,
        max_num_batched_tokens: if has_chunks { 20 } else { 512 },
        prefix_cache,
        speculation,
        ..common::one_by_one(MAX_MODEL_LEN)
    };
    let cpu = Cpu::new(2).unwrap();
    let limits = limits(24, if has_offload { 64 } else { 0 });
    let wrap = |runner| -> Box<dyn Executor> { Box::new(runner) };
    let engine = Engine::start_with(drafter, model, config, limits, &cpu, wrap);
    let mut outcomes = Outcomes::default();
    let (mut num_come, mut clients) = (0, Vec::new());
    while num_come < num || !clients.is_empty() {
        while num_come < num && clients.len() < NUM_CLIENTS {
            let i = rng.below(requests.len());
            let mut request = requests[i].clone();
            let has_deadline = rng.below(4) == 0;
            request.deadline = has_deadline.then(|| Duration::from_micros(1 << rng.below(18)));
            clients.push(Client {
                i,
                leaves_after: (rng.below(3) == 0).then(|| rng.below(6)),
                has_deadline,
                stream: engine.handle.submit(request).unwrap(),
                answer: Answer::default(),
            });
            num_come += 1;
        }
        // Somebody listens, and the others do later.
        let at = rng.below(clients.len());
        let client = &mut clients[at];
        if client.leaves_after == Some(client.answer.tokens.len()) {
            clients.swap_remove(at);
            outcomes.left += 1;
            continue;
        }
        match client.stream.blocking_recv().unwrap() {
            Event::Failed(EngineError::Refused(_)) => {
                assert!(client.has_deadline && client.answer.tokens.is_empty());
                clients.swap_remove(at);
                outcomes.too_late += 1;
                continue;
            }
            event => client.answer.push(event),
        }
        if client.answer.finish.is_some() {
            let Client { i, answer, .. } = clients.swap_remove(at);
            assert_eq!(
                answer.tokens, expected[i].tokens,
                "{features:?}: request {i}"
            );
            assert_eq!(
                answer.finish, expected[i].finish,
                "{features:?}: request {i}"
            );
            outcomes.served += 1;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(engine.handle.drained());
    let metrics = engine.stop();
    assert_eq!(
        common::metric(&metrics, "flambeau_kv_cache_usage_ratio"),
        0.0,
        "{features:?}"
    );
    let counter = |name: &str| common::metric(&metrics, name) as u64;
    outcomes.preemptions = counter("flambeau_num_preemptions_total");
    outcomes.offloaded = counter("flambeau_kv_reloaded_blocks_total");
    outcomes.accepted = counter("flambeau_num_accepted_tokens_total");
    assert_eq!(outcomes.served + outcomes.left + outcomes.too_late, num);
    outcomes
}

#[test]
fn disturbances_change_no_answer_of_a_tiny_model_whatever_is_on() {
    let model = tiny(3);
    let requests = requests(512);
    let expected = common::alone(&model, &requests, limits(16, 0));
    let mut all = Outcomes::default();
    for (seed, features) in Features::combinations().enumerate() {
        let outcomes = disturbed(
            (&model, lookup()),
            &requests,
            &expected,
            features,
            200,
            seed as u64,
        );
        println!("{features:?}: {outcomes:?}");
        let [_, prefix_cache, speculation, has_offload] = features.0;
        assert!(speculation || outcomes.accepted == 0);
        assert!((prefix_cache && has_offload) || outcomes.offloaded == 0);
        assert!(outcomes.served > 50 && outcomes.left > 20);
        all.too_late += outcomes.too_late;
        all.preemptions += outcomes.preemptions;
        all.offloaded += outcomes.offloaded;
        all.accepted += outcomes.accepted;
    }
    assert!(all.too_late > 20 && all.preemptions > 100, "{all:?}");
    assert!(all.offloaded > 100 && all.accepted > 20, "{all:?}");
}

#[test]
fn drafts_of_a_model_that_is_right_or_of_another_change_no_answer_whoever_comes_and_goes() {
    let (model, other) = (tiny(3), tiny(4));
    let requests = requests(512);
    let expected = common::alone(&model, &requests, limits(16, 0));
    for (seed, draft_model) in [&model, &model, &other].into_iter().enumerate() {
        for features in [
            [true, true, true, seed == 0],
            [false, seed == 0, true, false],
        ] {
            let (features, drafter) = (Features(features), drafts_of(draft_model));
            let model = (&model, drafter);
            let outcomes = disturbed(model, &requests, &expected, features, 200, seed as u64);
            println!("{features:?}: {outcomes:?}");
            assert!(outcomes.served > 50 && outcomes.left > 20);
        }
    }
}

#[test]
fn disturbances_change_no_answer_of_the_default_model() {
    let model = common::load(Activations::Int8, &Cpu::new(2).unwrap());
    let requests = requests(49_152);
    let expected = common::alone(&model, &requests, limits(16, 0));
    for (seed, features) in [[true; 4], [false, true, true, true]]
        .into_iter()
        .enumerate()
    {
        let features = Features(features);
        let outcomes = disturbed(
            (&model, lookup()),
            &requests,
            &expected,
            features,
            250,
            seed as u64,
        );
        println!("{features:?}: {outcomes:?}");
        assert!(outcomes.served > 50 && outcomes.left > 20 && outcomes.preemptions > 5);
    }
}
