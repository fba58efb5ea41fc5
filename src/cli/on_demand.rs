//! A model that is loaded when it is needed and given back when it is not.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use super::planned::PlannedModel;
use super::served_weights::ServedWeights;
use super::{device, system};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::config::ModelSettings;
use crate::engine::{ExecutorError, ExecutorFactory, OnDemand, Seat};
use crate::model::quantise::Mix;
use crate::model::{Checkpoint, Limits, ModelConfig};
use crate::telemetry::log_line;

/// What it is loaded from. Holds nothing of a card's.
struct Files {
    name: String,
    settings: ModelSettings,
    checkpoint: Arc<Checkpoint>,
    model_config: ModelConfig,
    mix: Option<Mix>,
    /// Of the card that computes.
    ordinal: Option<usize>,
    cpu: Cpu,
    seat: Option<Seat>,
    limits: Limits,
    block_bytes: usize,
}

/// For the engine of `model`, whose executors have these limits.
pub(super) fn on_demand(
    model: &PlannedModel,
    limits: Limits,
    cpu: Cpu,
    seat: Option<Seat>,
) -> OnDemand {
    let files = Files {
        name: model.name.clone(),
        settings: model.settings.clone(),
        checkpoint: Arc::clone(&model.checkpoint),
        model_config: model.model_config.clone(),
        mix: model.mix,
        ordinal: match &model.device {
            Device::Cpu => None,
            Device::Cuda(cuda) => Some(cuda.card().ordinal),
        },
        cpu,
        seat,
        limits,
        block_bytes: model.plan.kv_bytes_per_token * model.plan.block_size,
    };
    OnDemand {
        name: model.name.clone(),
        unload_after: model.settings.unload_after,
        loader: Box::new(move || {
            let loaded = files.load();
            loaded.map_err(|error| ExecutorError(format!("{error:#}")))
        }),
    }
}

impl Files {
    fn load(&self) -> anyhow::Result<ExecutorFactory> {
        let started = Instant::now();
        let device = match self.ordinal {
            None => Device::Cpu,
            Some(ordinal) => Device::Cuda(Cuda::reopen(ordinal).context("device")?),
        };
        let (settings, tensors) = (&self.settings, self.checkpoint.tensors());
        let blas = device::blas(settings, &device, tensors, self.mix)?;
        let weights = ServedWeights::load(
            &self.checkpoint,
            &self.model_config,
            (self.mix, blas),
            &device,
            // What it shared with another model's weights would stay with those.
            self.cpu.with_own_memory(),
        )?;
        let weights = Arc::new(weights);
        // What a card cannot do shows before requests are computed.
        let runner = |limits: &Limits| weights.runner(limits);
        device::measured_kv_cache(settings, &device, &self.limits, self.block_bytes, runner)?;
        log_line(&format!(
            "{}: weights repacked in {:.1?}{}",
            self.name,
            started.elapsed(),
            system::resident_in_words()
        ));
        let factory = weights.factory(self.limits);
        Ok(match &self.seat {
            Some(seat) => seat.clone().taken_by(factory),
            None => factory,
        })
    }
}
