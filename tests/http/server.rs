//! A server on a free port in this process, its model a few hundred bytes.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use flambeau::engine::fake::FakeExecutor;
use flambeau::engine::{EngineConfig, EngineHandle, Executor, ExecutorError, ExecutorSource};
use flambeau::gateway::{Policy, StaticTexts, Tenants};
use flambeau::remote::{RemoteConfig, RemoteModel};
use flambeau::scheduler::{PromptLookup, SchedulerConfig};
use flambeau::server::{
    Adapters, AnswerCache, AppState, EmbeddingModel, EncoderLoader, Ended, Models, RemoteServed,
    Routing, SamplingDefaults, SemanticCache, SemanticRules, Served, ServedModel, ServerOptions,
    Tiers, serve,
};
use flambeau::store::{self, SealingKey};
use flambeau::telemetry::{RequestLog, Telemetry, Tier};
use flambeau::text::{ChatTemplate, Tokenizer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::byte_vocabulary;
use super::client::{Client, Reply, within};
use super::described;
use super::echo::Echo;
use super::gate::{Gate, Gatekeeper};
use super::on_demand::Loads;

pub const CHAT: &str = "/v1/chat/completions";
pub const COMPLETIONS: &str = "/v1/completions";

pub use super::byte_vocabulary::{IM_END, VOCAB_SIZE};

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}\
    {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

#[derive(Clone)]
enum Model {
    Echo,
    Fake { vocab_size: u32 },
}

/// Makes what picks a model, with metrics of the server's.
pub type MakeRouting = dyn FnOnce(&Telemetry) -> Routing + Send;

/// A server to be.
pub struct Setup {
    pub engine: EngineConfig,
    pub options: ServerOptions,
    pub default_deadline: Option<Duration>,
    model: Model,
    gate: Option<Gatekeeper>,
    /// Whether steps are launched while the one before is in flight.
    pub looks_ahead: bool,
    embeddings: Option<EncoderLoader>,
    /// How often an executor can be built.
    pub max_builds: usize,
    /// Loads the model when it is needed.
    pub on_demand: Option<Loads>,
    /// Serves a second model as well, called so, which answers with the prompt.
    pub echo_too: Option<&'static str>,
    /// That one computes as the first does instead, ungated, in these tokens.
    pub twin: Option<fn() -> Tokenizer>,
    /// Has that one, and then these texts, answer instead of the first, where its first token would not come in this time.
    pub tiers: Option<(Duration, StaticTexts)>,
    /// Picks among them.
    pub routing: Option<Box<MakeRouting>>,
    /// Serves the model of this server, too, called `remote`; in the place of the second one where there are tiers.
    pub remote: Option<RemoteConfig>,
    /// Keeps answers.
    pub keeps_answers: bool,
    /// What tells which questions are near, where those are remembered.
    pub remembers: Option<EncoderLoader>,
    /// What becomes of those answers.
    pub serves: SemanticRules,
    /// The file where they survive a restart.
    pub remembers_in: Option<PathBuf>,
    /// What requests may have, of these tenants and of others.
    pub tenants: HashMap<String, Policy>,
    pub policy: Policy,
}

impl Setup {
    fn new(model: Model) -> Self {
        Self {
            engine: EngineConfig {
                scheduler: SchedulerConfig {
                    max_num_seqs: 64,
                    max_num_batched_tokens: 256,
                    max_model_len: 512,
                    prefix_cache: true,
                    target_itl: None,
                    speculation: true,
                },
                num_blocks: 2048,
                num_host_blocks: 0,
                block_size: 16,
                max_waiting: 64,
                has_tenants: false,
            },
            options: ServerOptions {
                request_log: RequestLog::off(),
                ..ServerOptions::default()
            },
            default_deadline: None,
            model,
            gate: None,
            looks_ahead: true,
            embeddings: None,
            max_builds: usize::MAX,
            on_demand: None,
            echo_too: None,
            twin: None,
            tiers: None,
            routing: None,
            remote: None,
            keeps_answers: false,
            remembers: None,
            serves: SemanticRules::default(),
            remembers_in: None,
            tenants: HashMap::new(),
            policy: Policy {
                sees_cache: true,
                is_admin: true,
                ..Policy::default()
            },
        }
    }

    /// Answers with the prompt.
    pub fn echo() -> Self {
        Self::new(Model::Echo)
    }

    /// Answers with ids in `0..vocab_size` that depend on all of the context.
    pub fn fake(vocab_size: u32) -> Self {
        Self::new(Model::Fake { vocab_size })
    }

    /// Answers with ASCII characters, one a step, each held at the gate.
    pub fn gated() -> (Self, Gate) {
        Self::fake(128).hold()
    }

    /// Serves embeddings of the model `embedder`, too.
    pub fn with_embeddings(mut self, loader: EncoderLoader) -> Self {
        self.embeddings = Some(loader);
        self
    }

    /// Holds every step at the gate, one after the other.
    pub fn hold(mut self) -> (Self, Gate) {
        let (gate, keeper) = Gate::new();
        self.gate = Some(keeper);
        self.looks_ahead = false;
        (self, gate)
    }

    fn build(&self) -> Box<dyn Executor> {
        let EngineConfig {
            num_blocks,
            block_size,
            ..
        } = self.engine;
        match (&self.model, &self.gate) {
            (Model::Echo, _) => Box::new(Echo::new(block_size, VOCAB_SIZE)),
            (Model::Fake { vocab_size }, gate) => {
                let mut fake = FakeExecutor::new(num_blocks, block_size, *vocab_size);
                if let Some(gate) = gate {
                    fake = fake.with_hook(gate.hook());
                }
                Box::new(match self.looks_ahead {
                    true => fake.with_lookahead(),
                    false => fake,
                })
            }
        }
    }

    pub async fn start(mut self) -> Server {
        let telemetry = Telemetry::new().unwrap();
        let embeddings = self.embeddings.take().map(|loader| {
            let metrics = telemetry.requests("embedder", Tier::Primary);
            Arc::new(EmbeddingModel::new("embedder".into(), metrics, loader))
        });
        let (config, options) = (self.engine, Arc::new(self.options.clone()));
        let (default_deadline, echo_too, twin) = (self.default_deadline, self.echo_too, self.twin);
        let (policy, tiers) = (self.policy, self.tiers.take());
        let (keeps_answers, remembers) = (self.keeps_answers, self.remembers.take());
        let serves = std::mem::take(&mut self.serves);
        let tenants = std::mem::take(&mut self.tenants);
        let remembers_in = self.remembers_in.take();
        let routing = self.routing.take().map(|make| Arc::new(make(&telemetry)));
        let remote = self.remote.take().map(|config| {
            Arc::new(RemoteServed {
                name: "remote".into(),
                aliases: Vec::new(),
                model: RemoteModel::new(config).unwrap(),
                metrics: telemetry.requests("remote", Tier::Primary),
            })
        });
        let builds = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&builds);
        let on_demand = self.on_demand.take();
        let build = move || match counted.fetch_add(1, Ordering::SeqCst) {
            n if n < self.max_builds => Ok(self.build()),
            _ => Err(ExecutorError("the device is gone".into())),
        };
        let metrics = telemetry.engine("test");
        let (engine, engine_ended) = match on_demand {
            None => EngineHandle::spawn(config, Box::new(build), metrics),
            Some(loads) => {
                let source = ExecutorSource::OnDemand(loads.of(build));
                EngineHandle::spawn_with(Box::new(PromptLookup), config, source, metrics)
            }
        }
        .unwrap();
        let served =
            |name: &str, engine: &EngineHandle, max_model_len, tokens: fn() -> Tokenizer| {
                Arc::new(ServedModel {
                    name: name.into(),
                    weights: [0; 32],
                    aliases: vec![format!("{name}-alias")],
                    tokenizer: Arc::new(tokens()),
                    grammars: OnceLock::new(),
                    compiles: std::sync::Arc::new(tokio::sync::Semaphore::new(2)),
                    chat_template: Ok(ChatTemplate::new(Some(CHATML), None, None).unwrap()),
                    defaults: SamplingDefaults::default(),
                    default_deadline,
                    max_model_len,
                    adapters: Adapters::new(Box::new(|folder| match folder.is_dir() {
                        true => Ok(Arc::new(())),
                        false => Err(format!("{} is no folder", folder.display())),
                    })),
                    engine: engine.clone(),
                    metrics: telemetry.requests(name, Tier::Primary),
                    probe: Default::default(),
                })
            };
        let max_model_len = config.scheduler.max_model_len;
        let (mut others, mut engines_ended) = (Vec::new(), vec![engine_ended]);
        if let Some(name) = echo_too {
            let EngineConfig {
                num_blocks,
                block_size,
                ..
            } = config;
            let build = move || {
                Ok(match twin {
                    None => Box::new(Echo::new(block_size, VOCAB_SIZE)) as Box<dyn Executor>,
                    Some(_) => Box::new(FakeExecutor::new(num_blocks, block_size, 128)),
                })
            };
            // A place is free a moment after its answer has ended: nobody is to wait for that.
            let config = EngineConfig {
                max_waiting: config.max_waiting + 16,
                ..config
            };
            let spawned = EngineHandle::spawn(config, Box::new(build), telemetry.engine(name));
            let (engine, ended) = spawned.unwrap();
            // A token less tells it apart.
            let tokens = twin.unwrap_or(byte_vocabulary::tokenizer);
            others.push(served(name, &engine, max_model_len - 1, tokens));
            engines_ended.push(ended);
        }
        let first = served("test", &engine, max_model_len, byte_vocabulary::tokenizer);
        let tiers = tiers.map(|(slo_ttft, texts)| {
            let first = Served::Here(Arc::clone(&first));
            let others = match &remote {
                Some(remote) => vec![Served::Elsewhere(Arc::clone(remote))],
                None => others.iter().cloned().map(Served::Here).collect(),
            };
            let tiers = Tiers::new(first, others, slo_ttft, texts, &telemetry);
            Arc::new(match keeps_answers {
                true => tiers.recalling(),
                false => tiers,
            })
        });
        let answers = keeps_answers.then(|| {
            let names = std::iter::once(&first).chain(&others);
            let names = names.map(|model| &*model.name);
            let age = Duration::from_secs(3600);
            Arc::new(AnswerCache::new(names, 1 << 20, age, &telemetry))
        });
        let semantic = remembers.map(|loader| {
            let metrics = telemetry.requests("embedder", Tier::Primary);
            let embedder = EmbeddingModel::new("embedder".into(), metrics, loader);
            embedder.load_now().unwrap();
            let names = std::iter::once(&first).chain(&others);
            let names = names.map(|model| &*model.name);
            let (embedder, age) = (Arc::new(embedder), Duration::from_secs(3600));
            let limits = (1 << 20, age);
            let cache = SemanticCache::new(names, embedder, limits, serves, &telemetry);
            Arc::new(match remembers_in {
                None => cache,
                Some(path) => {
                    let records = store::open(&path, Some(&SealingKey::from([7; 32])));
                    cache.outliving(records.unwrap()).unwrap()
                }
            })
        });
        let models = Models::new(first, others, remote.into_iter().collect());
        let state = AppState {
            models,
            tiers,
            routing,
            tenants: Arc::new(Tenants::new(tenants, policy)),
            answers,
            semantic,
            embeddings,
            options,
            prometheus: telemetry.handle(),
            started: SystemTime::now(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (shutdown, shut_down) = oneshot::channel::<()>();
        // A test that just ends says nothing.
        let shut_down = async {
            if shut_down.await.is_err() {
                std::future::pending().await
            }
        };
        let serving = tokio::spawn(serve(listener, state, engines_ended, shut_down));
        Server {
            addr,
            engine,
            builds,
            shutdown,
            serving,
        }
    }
}

/// A running server; it ends with the test's runtime at the latest.
pub struct Server {
    pub addr: SocketAddr,
    pub engine: EngineHandle,
    builds: Arc<AtomicUsize>,
    shutdown: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<Ended>>,
}

impl Server {
    pub async fn connect(&self) -> Client {
        Client::connect(self.addr).await.unwrap()
    }

    /// Sends a request on a connection of its own and does not wait for the response.
    pub async fn send(&self, method: &str, path: &str, body: &str) -> Client {
        let client = self.connect().await;
        let sent = client.send(method, path, &[("x-request-id", "test")], body.as_bytes());
        sent.await.unwrap();
        client
    }

    pub async fn post(&self, path: &str, body: impl ToString) -> Reply {
        let mut client = self.send("POST", path, &body.to_string()).await;
        let reply = client.reply().await.unwrap();
        described::check("POST", path, &reply);
        if reply.status() == 200 {
            described::check_taken(path, &body.to_string());
        }
        reply
    }

    pub async fn get(&self, path: &str) -> Reply {
        let reply = self.send("GET", path, "").await.reply().await.unwrap();
        described::check("GET", path, &reply);
        reply
    }

    /// All events of a stream whose headers say that it is one.
    pub async fn events(&self, path: &str, body: &Value) -> Vec<String> {
        let mut client = self.send("POST", path, &body.to_string()).await;
        let head = client.head().await.unwrap();
        assert_eq!(head.status, 200);
        let events = client.events().await.unwrap();
        described::check_events(path, &events);
        described::check_taken(path, &body.to_string());
        events
    }

    /// The value of a series, which must exist.
    pub async fn metric(&self, series: &str) -> f64 {
        let metrics = self.get("/metrics").await;
        let value = metrics
            .text()
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {series} in {}", metrics.text()));
        value.parse().unwrap()
    }

    /// Asks until the series has this value.
    pub async fn until(&self, series: &str, value: f64) {
        within(async { while self.metric(series).await != value {} }).await;
    }

    /// Requests that ended this way.
    pub fn outcome(outcome: &str) -> String {
        format!(r#"flambeau_requests_total{{model="test",tier="primary",outcome="{outcome}"}}"#)
    }

    /// How often an executor was built, or was to be.
    pub fn num_builds(&self) -> usize {
        self.builds.load(Ordering::SeqCst)
    }

    /// Tells it to stop and gives back what tells that it has.
    pub fn shut_down(self) -> JoinHandle<std::io::Result<Ended>> {
        self.shutdown.send(()).unwrap();
        self.serving
    }

    /// Waits for it to end by itself.
    pub async fn ended(self) -> Ended {
        let _open = self.shutdown;
        within(self.serving).await.unwrap().unwrap()
    }
}
