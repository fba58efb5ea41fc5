//! From a planned model to one that answers: weights, adapters, tokenizer, engine.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Instant;

use anyhow::Context as _;

use super::drafts::{DraftPlan, Drafts};
use super::generation::GenerationConfig;
use super::memory_plan::{Memory, MemoryPlan};
use super::on_demand::on_demand;
use super::planned::PlannedModel;
use super::served_weights::ServedWeights;
use super::weights_digest::weights_digest;
use super::{adapters, device, load, system};
use crate::backend::Device;
use crate::backend::cpu::{Cpu, Isa};
use crate::engine::{EngineConfig, EngineHandle, ExecutorError, ExecutorSource, Seat, Turns};
use crate::model::{Limits, Runner};
use crate::scheduler::SchedulerConfig;
use crate::server::{Adapters, EngineEnd, ServedModel};
use crate::telemetry::{Telemetry, Tier, log_line};
use crate::text::{ChatTemplate, Tokenizer};

/// What models share.
pub(super) struct Machine {
    /// By the number of their threads.
    pools: HashMap<usize, Cpu>,
    /// Where several models compute on the CPU: one step at a time.
    turns: Option<Turns>,
    drafts: Drafts,
    /// Whether there are several tenants, none of whom may take all places.
    has_tenants: bool,
}

impl Machine {
    /// For `models`.
    pub fn new(models: &[PlannedModel], drafts: Vec<DraftPlan>, has_tenants: bool) -> Self {
        if let Err(reason) = Isa::Avx2.usable() {
            log_line(&format!("scalar kernels are used: {reason}"));
        }
        let on_cpu = models
            .iter()
            .filter(|model| matches!(model.device, Device::Cpu));
        Self {
            pools: HashMap::new(),
            turns: (on_cpu.count() > 1).then(Turns::default),
            drafts: Drafts::new(drafts),
            has_tenants,
        }
    }

    /// The place of an engine on `device` among those that share the cores, with a part of `weight`.
    fn seat(&self, device: &Device, weight: u32) -> Option<Seat> {
        let turns = self.turns.as_ref();
        let turns = turns.filter(|_| matches!(device, Device::Cpu));
        turns.map(|turns| turns.seat(weight))
    }

    fn cpu(&mut self, num_threads: usize) -> anyhow::Result<Cpu> {
        if let Some(cpu) = self.pools.get(&num_threads) {
            return Ok(cpu.clone());
        }
        let cpu = Cpu::new(num_threads).context("threads")?;
        self.pools.insert(num_threads, cpu.clone());
        Ok(cpu)
    }
}

impl PlannedModel {
    /// Loads it and starts its engine, which has a part of `weight` of the cores that it shares with others; `names` are those that its
    /// adapters may not have.
    pub fn load(
        self,
        weight: u32,
        names: &[&str],
        machine: &mut Machine,
        telemetry: &Telemetry,
    ) -> anyhow::Result<(ServedModel, EngineEnd)> {
        let generation = GenerationConfig::of_folder(&self.source.path)?;
        // Building the tokenizer takes about as long as repacking the weights of a small model.
        let ((tokenizer, chat_template), (engine_config, source, adapters, plan)) =
            thread::scope(|scope| {
                let text = scope.spawn(|| self.text(&generation));
                let engine = self.engine(weight, names, machine);
                let text = text
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                anyhow::Ok((text?, engine?))
            })?;
        let metrics = telemetry.engine(&self.name);
        let drafter = machine.drafts.drafter_of(&self.name)?;
        let (engine, ended) = EngineHandle::spawn_with(drafter, engine_config, source, metrics)?;
        let weights = weights_digest(&self.source.path)
            .with_context(|| self.source.path.display().to_string())?;
        let model = ServedModel {
            weights,
            grammars: OnceLock::new(),
            compiles: Arc::new(tokio::sync::Semaphore::new(2)),
            metrics: telemetry.requests(&self.name, Tier::Primary),
            name: self.name,
            aliases: self.settings.aliases,
            tokenizer: Arc::new(tokenizer),
            chat_template,
            defaults: generation.defaults(self.source.card),
            default_deadline: self.settings.default_deadline,
            max_model_len: plan.max_model_len,
            adapters,
            engine,
            probe: Default::default(),
        };
        Ok((model, ended))
    }

    /// The tokenizer, and the chat template or why there is none.
    fn text(
        &self,
        generation: &GenerationConfig,
    ) -> anyhow::Result<(Tokenizer, Result<ChatTemplate, String>)> {
        let tokenizer = self.tokenizer()?;
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
        let template = self.settings.chat_template.as_deref();
        let (metadata, folder) = self.text_source();
        let chat_template = load::chat_template(metadata, &tokenizer, template, folder)?;
        Ok((tokenizer, chat_template))
    }

    /// Loads the weights and the adapters, which may have none of the names of `models`, unless that is for later; the executor itself is
    /// built on the engine's thread, and again after a panic.
    fn engine(
        &self,
        weight: u32,
        models: &[&str],
        machine: &mut Machine,
    ) -> anyhow::Result<(EngineConfig, ExecutorSource, Adapters, MemoryPlan)> {
        let config = &self.settings;
        let started = Instant::now();
        let (files, model) = (&self.checkpoint, &self.model_config);
        let cpu = machine.cpu(config.threads)?;
        let seat = machine.seat(&self.device, weight);
        if config.is_on_demand() {
            let plan = self.plan.clone();
            log_line(&format!("{}: loaded on demand; plan:\n{plan}", self.name));
            let (scheduler, limits) = self.limits(&plan);
            let source = ExecutorSource::OnDemand(on_demand(self, limits, cpu, seat));
            let engine = self.engine_config(scheduler, &plan, machine);
            return Ok((engine, source, adapters::none(), plan));
        }
        let blas = (self.mix, self.blas.clone());
        let weights = ServedWeights::load(files, model, blas, &self.device, cpu)?;
        let weights = Arc::new(weights);
        machine.drafts.loaded(&self.name, &weights);
        let elapsed = started.elapsed();
        // Before what is left for the cache is measured.
        let adapters = adapters::load(config, models, Arc::clone(&weights))?;
        let runner = |limits: &Limits| weights.runner(limits);
        let plan = self.measured_plan(&runner)?;
        let memory = system::resident_in_words();
        log_line(&format!(
            "{}: weights repacked in {elapsed:.1?}{memory}; plan:\n{plan}",
            self.name
        ));
        let (scheduler, limits) = self.limits(&plan);
        let factory = weights.factory(limits);
        let factory = match seat {
            Some(seat) => seat.taken_by(factory),
            None => factory,
        };
        let engine = self.engine_config(scheduler, &plan, machine);
        Ok((engine, ExecutorSource::Kept(factory), adapters, plan))
    }

    fn engine_config(
        &self,
        scheduler: SchedulerConfig,
        plan: &MemoryPlan,
        machine: &Machine,
    ) -> EngineConfig {
        EngineConfig {
            scheduler,
            num_blocks: plan.num_blocks,
            num_host_blocks: plan.num_host_blocks,
            block_size: plan.block_size,
            max_waiting: self.settings.max_queued_requests,
            has_tenants: machine.has_tenants,
        }
    }

    fn limits(&self, plan: &MemoryPlan) -> (SchedulerConfig, Limits) {
        let config = &self.settings;
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
        let (config, device) = (&self.settings, &self.device);
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
