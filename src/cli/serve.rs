//! `flambeau serve`: from settings to a listening server, and back down on a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use clap::Args;
use tokio::net::{TcpListener, TcpSocket};

use super::embeddings::embedding_model;
use super::generation::GenerationConfig;
use super::load;
use super::memory_plan::{Memory, MemoryPlan, weight_bytes};
use super::opened;
use super::served_weights::ServedWeights;
use super::signals::Signals;
use super::system;
use super::{adapters, card_watch, device};
use crate::backend::Device;
use crate::backend::cpu::{Cpu, Isa};
use crate::backend::cuda::Blas;
use crate::config::{ByteSize, Config, RawConfig};
use crate::engine::{EngineConfig, EngineHandle, ExecutorError, ExecutorFactory};
use crate::hub::{Hub, HubConfig, ModelSource, Task, TextProgress};
use crate::model::quantise::Mix;
use crate::model::{Checkpoint, Limits, ModelConfig, Runner, TensorShape};
use crate::scheduler::SchedulerConfig;
use crate::server::{Adapters, ApiKey, AppState, Ended, Models, ServedModel, ServerOptions, serve};
use crate::telemetry::{RequestLog, Telemetry, log_line};
use crate::text::{ChatTemplate, Tokenizer};

/// Serve a model over an OpenAI-compatible API
///
/// Every flag can also be set as a FLAMBEAU_… variable, or in the file that --config names.
#[derive(Args)]
pub struct ServeCommand {
    /// A TOML file with [server] and [[models]]
    #[arg(long, env = "FLAMBEAU_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the memory plan and exit
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    raw: RawConfig,
}

impl ServeCommand {
    /// Serves until SIGTERM or SIGINT; exits 0 when everything open was finished or told.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let raw = match &self.config {
            Some(path) => self.raw.with_file(path)?,
            None => self.raw,
        };
        let config = raw.resolve()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        // Bound before the model is fetched, so that a port in use is known at once.
        let listener = match self.dry_run {
            true => None,
            false => {
                let _runtime = runtime.enter();
                Some(
                    listen(config.address)
                        .with_context(|| format!("{} cannot be listened on", config.address))?,
                )
            }
        };
        load::check_task("model", &config.model, Task::Generate)?;
        let source =
            Hub::new(HubConfig::from_env()?).resolve(&config.model, &mut TextProgress::stderr())?;
        log_line(&format!("settings: {config:?}"));
        log_line(&format!(
            "{}: {} (from {})",
            source.name,
            source.path.display(),
            source.served_by
        ));
        let (checkpoint, model_config) = Checkpoint::open(&source.path)?;
        let tensors = checkpoint.tensors();
        let mix = config
            .quantize
            .map(|to| opened::mix(to, &model_config, tensors));
        if mix.is_some()
            && !tensors
                .shapes()
                .flatten()
                .any(|shape| is_float_matrix(&shape))
        {
            anyhow::bail!("quantize: the model's weights are quantised already; leave it away");
        }
        let on_card = weight_bytes(tensors, mix, true);
        let (device, why) = device::open(&config, &model_config, on_card)?;
        log_line(&format!("computing on {why}"));
        let blas = device::blas(&config, &device, tensors, mix)?;
        let weights = match device {
            Device::Cpu => weight_bytes(tensors, mix, false),
            Device::Cuda(_) => on_card,
        };
        let memory = device::memory(&device, &config, weights)?;
        let plan = MemoryPlan::new(&config, &model_config, memory)?;
        match listener {
            None => {
                println!("{plan}");
                Ok(match plan.fits() {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::FAILURE,
                })
            }
            Some(_) if !plan.fits() => anyhow::bail!("the model does not fit:\n{plan}"),
            Some(listener) => {
                let loaded = Loaded {
                    config,
                    source,
                    checkpoint: Arc::new(checkpoint),
                    model_config,
                    mix,
                    device,
                    blas,
                    plan,
                };
                runtime.block_on(loaded.serve(listener))
            }
        }
    }
}

/// Listens with room for a crowd: tokio's own backlog of 1,024 drops connections when more come at once, which then wait
/// seconds for the kernel's retry.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(8192)
}

/// A model that fits, ready to become an engine.
struct Loaded {
    config: Config,
    source: ModelSource,
    checkpoint: Arc<Checkpoint>,
    model_config: ModelConfig,
    /// What weights are quantised to.
    mix: Option<Mix>,
    device: Device,
    /// What multiplies matrices of floats there, where our kernels do not.
    blas: Option<Blas>,
    /// As long as the weights are not there.
    plan: MemoryPlan,
}

impl Loaded {
    async fn serve(self, listener: TcpListener) -> anyhow::Result<ExitCode> {
        let mut stop = Signals::new()?;
        let name = self
            .config
            .served_model_name
            .clone()
            .unwrap_or_else(|| self.source.name.clone());
        let telemetry = Telemetry::new().context("metrics")?;
        let generation = GenerationConfig::of_folder(&self.source.path)?;
        let embeddings = embedding_model(&self.config, &name, &telemetry)?;
        let mut names = vec![name.as_str()];
        names.extend(embeddings.iter().map(|model| model.name.as_str()));
        // Building the tokenizer takes about as long as repacking the weights of a small model.
        let ((tokenizer, chat_template), (engine_config, factory, adapters, plan)) =
            thread::scope(|scope| {
                let text = scope.spawn(|| self.text(&generation));
                let engine = self.engine(&names);
                let text = text
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                anyhow::Ok((text?, engine?))
            })?;
        let (engine, engine_ended) =
            EngineHandle::spawn(engine_config, factory, telemetry.engine(&name))?;
        let model = ServedModel {
            grammars: std::sync::OnceLock::new(),
            compiles: std::sync::Arc::new(tokio::sync::Semaphore::new(2)),
            metrics: telemetry.requests(&name, "primary"),
            name,
            tokenizer: Arc::new(tokenizer),
            chat_template,
            defaults: generation.defaults(self.source.card),
            default_deadline: self.config.default_deadline,
            max_model_len: plan.max_model_len,
            adapters,
            engine,
            probe: Default::default(),
        };
        let request_log = RequestLog::stdout().context("the request log's thread")?;
        let options = ServerOptions {
            api_keys: self
                .config
                .api_keys
                .iter()
                .map(|key| ApiKey::new(&key.name, &key.key))
                .collect(),
            shutdown_timeout: self.config.shutdown_timeout,
            request_log: request_log.clone(),
            ..ServerOptions::default()
        };
        greet(&listener, &model, !self.config.api_keys.is_empty())?;
        let _card_watch = card_watch::start(&self.device, &telemetry)?;
        // On a card both are kept where it is opened anew, with nobody else to hold them.
        drop((self.checkpoint, self.device, self.blas));
        let state = AppState {
            models: Models::new(Arc::new(model), Vec::new()),
            embeddings,
            options: Arc::new(options),
            prometheus: telemetry.handle(),
            started: SystemTime::now(),
        };
        let stopping = async move {
            stop.wait().await;
            // Asked twice, it does not wait for anything.
            tokio::spawn(async move {
                stop.wait().await;
                log_line("stopped at once");
                std::process::exit(130);
            });
        };
        let ended = serve(listener, state, vec![engine_ended], stopping).await?;
        request_log.flush(Duration::from_secs(1));
        match ended {
            Ended::Stopped => {
                log_line("stopped");
                Ok(ExitCode::SUCCESS)
            }
            Ended::EngineFailed(why) => anyhow::bail!("the engine cannot go on: {why}"),
        }
    }

    /// The tokenizer, and the chat template or why there is none.
    fn text(
        &self,
        generation: &GenerationConfig,
    ) -> anyhow::Result<(Tokenizer, Result<ChatTemplate, String>)> {
        let metadata = self.checkpoint.metadata();
        // A folder brings its own, unless another is named.
        let own = metadata.is_none().then_some(self.source.path.as_path());
        let folder = self.config.tokenizer.as_deref().or(own);
        let tokenizer = load::tokenizer(metadata, folder)?;
        let tokenizer = tokenizer
            .with_eos_ids(generation.eos_ids())
            .context("generation_config.json: eos_token_id")?;
        if tokenizer.vocab_size() > self.model_config.vocab_size {
            anyhow::bail!(
                "the tokenizer has {} tokens, the model {}",
                tokenizer.vocab_size(),
                self.model_config.vocab_size
            );
        }
        let template = self.config.chat_template.as_deref();
        let chat_template = load::chat_template(metadata, &tokenizer, template, folder)?;
        Ok((tokenizer, chat_template))
    }

    /// Loads the weights and the adapters, which may have none of the names of `models`; the executor itself is built on the engine's
    /// thread, and again after a panic.
    fn engine(
        &self,
        models: &[&str],
    ) -> anyhow::Result<(EngineConfig, ExecutorFactory, Adapters, MemoryPlan)> {
        let config = &self.config;
        let cpu = Cpu::new(config.threads).context("threads")?;
        if let Err(reason) = Isa::Avx2.usable() {
            log_line(&format!("scalar kernels are used: {reason}"));
        }
        let started = Instant::now();
        let (files, model) = (&self.checkpoint, &self.model_config);
        let weights = ServedWeights::load(
            files,
            model,
            (self.mix, self.blas.clone()),
            &self.device,
            cpu,
        )?;
        let weights = Arc::new(weights);
        let elapsed = started.elapsed();
        // Before what is left for the cache is measured.
        let adapters = adapters::load(config, models, Arc::clone(&weights))?;
        let runner = |limits: &Limits| weights.runner(limits);
        let plan = self.measured_plan(&runner)?;
        let memory = match system::resident() {
            Some(resident) => format!(
                ", memory {} (peak {})",
                ByteSize(resident.now),
                ByteSize(resident.peak)
            ),
            None => String::new(),
        };
        log_line(&format!(
            "weights repacked in {elapsed:.1?}{memory}; plan:\n{plan}"
        ));
        let (scheduler, limits) = self.limits(&plan);
        let factory = weights.factory(limits);
        let engine = EngineConfig {
            scheduler,
            num_blocks: plan.num_blocks,
            num_host_blocks: plan.num_host_blocks,
            block_size: plan.block_size,
            max_waiting: config.max_queued_requests,
            has_tenants: config.num_tenants() > 1,
        };
        Ok((engine, factory, adapters, plan))
    }

    fn limits(&self, plan: &MemoryPlan) -> (SchedulerConfig, Limits) {
        let config = &self.config;
        let steps = match self.device {
            Device::Cpu => config.on_cpu,
            Device::Cuda(_) => config.on_card,
        };
        let scheduler = SchedulerConfig {
            max_num_seqs: steps.max_num_seqs,
            max_num_batched_tokens: steps.max_num_batched_tokens,
            max_model_len: plan.max_model_len,
            prefix_cache: config.prefix_cache,
            target_itl: config.target_itl,
            speculation: config.speculation,
        };
        let limits = Limits {
            max_num_batched_tokens: steps.max_num_batched_tokens,
            max_samples: scheduler.max_samples(),
            max_model_len: plan.max_model_len,
            num_blocks: plan.num_blocks,
            num_host_blocks: plan.num_host_blocks,
            block_size: plan.block_size,
            kv_dtype: plan.kv_dtype,
        };
        (scheduler, limits)
    }

    /// The plan, with the cache that there is room for on a card.
    fn measured_plan(
        &self,
        runner: &impl Fn(&Limits) -> Result<Runner, ExecutorError>,
    ) -> anyhow::Result<MemoryPlan> {
        let (_, limits) = self.limits(&self.plan);
        let block_bytes = self.plan.kv_bytes_per_token * self.plan.block_size;
        let (config, device) = (&self.config, &self.device);
        let measured = device::measured_kv_cache(config, device, &limits, block_bytes, runner)?;
        let Some(kv_cache) = measured else {
            return Ok(self.plan.clone());
        };
        let memory = Memory {
            weights: self.plan.weights,
            kv_cache,
            available: self.plan.available,
            available_beside: self.plan.available_beside,
        };
        MemoryPlan::new(config, &self.model_config, memory)
    }
}

/// Whether there is anything in it to quantise.
fn is_float_matrix(shape: &TensorShape<'_>) -> bool {
    shape.dims.len() > 1 && shape.encoding.is_float()
}

/// Says where it listens and how to try it.
fn greet(listener: &TcpListener, model: &ServedModel, has_keys: bool) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let key = if has_keys {
        " -H 'Authorization: Bearer YOUR_KEY'"
    } else {
        ""
    };
    log_line(&format!(
        "serving {} on http://{address}; try:\n\n  curl -N http://{address}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{{\"model\": \"{}\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}}]}}'\n",
        model.name, model.name
    ));
    Ok(())
}
