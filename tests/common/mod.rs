//! What the tests and benches on the real default model share.
#![allow(dead_code)] // Each test binary uses its own part.

use std::path::PathBuf;
use std::sync::Arc;

use flambeau::backend::cpu::Cpu;
use flambeau::engine::{
    DraftLimits, DraftWorker, EngineConfig, EngineHandle, Event, EventStream, Executor,
    ExecutorError, ExecutorSource, ModelDrafter,
};
use flambeau::hub::{Hub, HubConfig, TextProgress};
use flambeau::model::gguf::GgufFile;
use flambeau::model::{Activations, Decoder, Limits, ModelConfig, Runner, Weights};
use flambeau::ops::KvDtype;
use flambeau::request::{FinishReason, GenerateRequest, SampledToken, TokenLogprobs};
use flambeau::scheduler::{Drafter, PromptLookup, SchedulerConfig};
use flambeau::telemetry::Telemetry;
use tokio::sync::oneshot;

/// The default model's file, fetched once into the user's cache.
pub fn default_model() -> PathBuf {
    let hub = Hub::new(HubConfig::from_env().unwrap());
    hub.resolve("smollm2-135m-instruct", &mut TextProgress::stderr())
        .unwrap()
        .path
}

/// The default model's configuration and weights.
pub fn load(activations: Activations, cpu: &Cpu) -> (ModelConfig, Arc<Weights>) {
    let file = GgufFile::open(default_model()).unwrap();
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let weights = Weights::load(&file, &config, activations, cpu).unwrap();
    (config, Arc::new(weights))
}

/// `num_blocks` blocks of 16 tokens.
pub fn limits(num_blocks: usize, kv_dtype: KvDtype) -> Limits {
    Limits {
        max_num_batched_tokens: 512,
        max_samples: 96,
        max_model_len: num_blocks * 16,
        num_blocks,
        num_host_blocks: 0,
        block_size: 16,
        kv_dtype,
    }
}

pub fn decoder(
    (config, weights): &(ModelConfig, Arc<Weights>),
    limits: &Limits,
    cpu: &Cpu,
) -> Decoder {
    Decoder::new(config.clone(), Arc::clone(weights), limits, cpu.clone()).unwrap()
}

/// A draft model's drafter, its worker, and what that computes with: `num_slots` sequences of `max_len` tokens.
pub fn draft_model(
    model: &(ModelConfig, Arc<Weights>),
    (num_slots, max_len): (usize, usize),
    cpu: &Cpu,
) -> (ModelDrafter, DraftWorker, Runner) {
    let drafts = DraftLimits {
        num_slots,
        max_len,
        max_num_batched_tokens: 32,
        block_size: 16,
        vocab_size: model.0.vocab_size,
    };
    let limits = limits(drafts.num_blocks(), KvDtype::F16);
    let runner = Runner::new(decoder(model, &limits, cpu), cpu.clone()).unwrap();
    let (drafter, worker) = ModelDrafter::new(drafts);
    (drafter, worker, runner)
}

/// One sequence at a time, and nothing that an answer could depend on.
pub fn one_by_one(max_model_len: usize) -> SchedulerConfig {
    SchedulerConfig {
        max_num_seqs: 1,
        max_num_batched_tokens: 512,
        max_model_len,
        prefix_cache: false,
        target_itl: None,
        speculation: false,
    }
}

/// What each request answers alone, one after the other, on one thread.
pub fn alone(
    model: &(ModelConfig, Arc<Weights>),
    requests: &[GenerateRequest],
    limits: Limits,
) -> Vec<Answer> {
    let (config, cpu) = (one_by_one(limits.max_model_len), Cpu::new(1).unwrap());
    let engine = Engine::start(model, config, limits, &cpu, |runner| Box::new(runner));
    requests.iter().map(|r| engine.answer(r.clone())).collect()
}

/// An engine thread on the default model.
pub struct Engine {
    pub handle: EngineHandle,
    ended: oneshot::Receiver<Result<(), ExecutorError>>,
    telemetry: Telemetry,
}

impl Engine {
    /// `wrap` may put something around the runner.
    pub fn start(
        model: &(ModelConfig, Arc<Weights>),
        scheduler: SchedulerConfig,
        limits: Limits,
        cpu: &Cpu,
        wrap: impl Fn(Runner) -> Box<dyn Executor> + Send + 'static,
    ) -> Self {
        Self::start_with(Box::new(PromptLookup), model, scheduler, limits, cpu, wrap)
    }

    /// The same, with drafts from elsewhere.
    pub fn start_with(
        drafter: Box<dyn Drafter>,
        model: &(ModelConfig, Arc<Weights>),
        scheduler: SchedulerConfig,
        limits: Limits,
        cpu: &Cpu,
        wrap: impl Fn(Runner) -> Box<dyn Executor> + Send + 'static,
    ) -> Self {
        let telemetry = Telemetry::new().unwrap();
        let engine = EngineConfig {
            scheduler,
            num_blocks: limits.num_blocks,
            num_host_blocks: limits.num_host_blocks,
            block_size: limits.block_size,
            max_waiting: 256,
            has_tenants: false,
        };
        let (model, cpu) = (model.clone(), cpu.clone());
        let factory = move || {
            Ok(wrap(
                Runner::new(decoder(&model, &limits, &cpu), cpu.clone()).unwrap(),
            ))
        };
        let metrics = telemetry.engine("test");
        let source = ExecutorSource::Kept(Box::new(factory));
        let (handle, ended) = EngineHandle::spawn_with(drafter, engine, source, metrics).unwrap();
        Self {
            handle,
            ended,
            telemetry,
        }
    }

    /// Waits for the whole answer.
    pub fn answer(&self, request: GenerateRequest) -> Answer {
        let mut stream = self.handle.submit(request).unwrap();
        let mut answer = Answer::default();
        while let Some(event) = stream.blocking_recv() {
            answer.push(event);
        }
        answer
    }

    /// Ends the thread and returns its last metrics, as `/metrics` shows them.
    pub fn stop(self) -> String {
        self.handle.stop();
        self.ended.blocking_recv().unwrap().unwrap();
        self.telemetry.handle().render()
    }
}

/// The value of a metric, of all its series together.
pub fn metric(metrics: &str, name: &str) -> f64 {
    let of_name = |line: &&str| line.starts_with(name) && line[name.len()..].starts_with('{');
    let value = |line: &str| -> f64 { line.rsplit(' ').next().unwrap().parse().unwrap() };
    let mut values = metrics.lines().filter(of_name).map(value).peekable();
    assert!(values.peek().is_some(), "{name}");
    values.sum()
}

/// What a request was told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    pub prompt_logprobs: Vec<TokenLogprobs>,
    pub tokens: Vec<SampledToken>,
    pub finish: Option<FinishReason>,
    /// Of the prompt.
    pub num_cached_tokens: usize,
}

impl Answer {
    pub fn push(&mut self, event: Event) {
        assert_eq!(self.finish, None, "nothing follows the terminal event");
        match event {
            Event::Prompt(scores) => self.prompt_logprobs = scores,
            Event::Token {
                token,
                timing,
                finish,
            } => {
                self.num_cached_tokens += timing.map_or(0, |timing| timing.num_cached_tokens);
                self.tokens.push(token);
                self.finish = finish;
            }
            Event::Failed(error) => panic!("{error}"),
        }
    }

    /// Takes in what has arrived by now.
    pub fn drain(&mut self, stream: &mut EventStream) {
        while let Some(event) = stream.try_recv() {
            self.push(event);
        }
    }

    pub fn token_ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.token_id).collect()
    }
}
