//! The weights that the engine computes with, and how they come back after a card has failed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Instant;

use anyhow::Context as _;

use super::opened;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::{Blas, Cuda};
use crate::engine::{ExecutorError, ExecutorFactory};
use crate::model::quantise::Mix;
use crate::model::{
    Activations, Checkpoint, Decoder, Limits, LoadOptions, LoraWeights, ModelConfig, Runner,
    Weights,
};
use crate::telemetry::log_line;

/// A model's weights; shared by the executor and by who reads adapters.
pub(super) struct ServedWeights {
    config: ModelConfig,
    cpu: Cpu,
    /// Empty while a card is opened anew, and where that has failed.
    weights: RwLock<Option<Arc<Weights>>>,
    card: Option<OnCard>,
}

/// What a card is filled from again, whose memory is lost when it fails.
struct OnCard {
    ordinal: usize,
    checkpoint: Arc<Checkpoint>,
    mix: Option<Mix>,
    /// Whether cuBLAS multiplies matrices of floats.
    has_blas: bool,
    /// Those that somebody holds; they leave the card and come back with the weights.
    adapters: Mutex<Vec<Weak<LoraWeights>>>,
}

impl ServedWeights {
    /// Loads them; matrices of floats are quantised as `mix` says, or else multiplied by `blas`.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit, or a card has no room.
    pub fn load(
        checkpoint: &Arc<Checkpoint>,
        config: &ModelConfig,
        (mix, blas): (Option<Mix>, Option<Blas>),
        device: &Device,
        cpu: Cpu,
    ) -> anyhow::Result<Self> {
        let has_blas = blas.is_some();
        let weights = load(checkpoint, config, (mix, blas), device.clone(), &cpu)?;
        let card = match device {
            Device::Cpu => None,
            Device::Cuda(cuda) => Some(OnCard {
                ordinal: cuda.card().ordinal,
                checkpoint: Arc::clone(checkpoint),
                mix,
                has_blas,
                adapters: Mutex::default(),
            }),
        };
        Ok(Self {
            config: config.clone(),
            cpu,
            weights: RwLock::new(Some(Arc::new(weights))),
            card,
        })
    }

    /// An executor that computes with them.
    pub fn runner(&self, limits: &Limits) -> Result<Runner, ExecutorError> {
        self.runner_on(&self.cpu, limits)
    }

    /// The same with the threads of `cpu`.
    pub fn runner_on(&self, cpu: &Cpu, limits: &Limits) -> Result<Runner, ExecutorError> {
        let weights = self.weights.read().unwrap_or_else(PoisonError::into_inner);
        let weights = weights.as_ref().ok_or_else(|| ExecutorError(gone()))?;
        self.runner_with(weights, cpu, limits)
    }

    fn runner_with(
        &self,
        weights: &Arc<Weights>,
        cpu: &Cpu,
        limits: &Limits,
    ) -> Result<Runner, ExecutorError> {
        let (config, weights) = (self.config.clone(), Arc::clone(weights));
        let decoder = Decoder::new(config, weights, limits, cpu.clone());
        let runner = decoder.and_then(|decoder| Runner::new(decoder, cpu.clone()));
        runner.map_err(|error| ExecutorError(error.to_string()))
    }

    /// Builds runners; before each but the first, a card that has failed is opened anew.
    pub fn factory(self: Arc<Self>, limits: Limits) -> ExecutorFactory {
        let mut is_first = true;
        Box::new(move || {
            let runner = match std::mem::replace(&mut is_first, false) {
                true => self.runner(&limits)?,
                false => self.rebuild(&limits)?,
            };
            Ok(Box::new(runner))
        })
    }

    /// Reads the adapter in `folder`.
    ///
    /// # Errors
    /// If it is not for this model, or a card has no room.
    pub fn load_adapter(&self, folder: &Path) -> Result<Arc<LoraWeights>, String> {
        // Held until it is known to those that reopen the card.
        let weights = self.weights.read().unwrap_or_else(PoisonError::into_inner);
        let weights = weights.as_ref().ok_or_else(gone)?;
        let adapter = LoraWeights::load(folder, &self.config, weights);
        let adapter = Arc::new(adapter.map_err(|error| error.to_string())?);
        if let Some(card) = &self.card {
            card.note(&adapter);
        }
        Ok(adapter)
    }

    /// An executor after one that panicked, and is gone.
    fn rebuild(&self, limits: &Limits) -> Result<Runner, ExecutorError> {
        // Until it has its memory: nobody's adapter is to have that.
        let mut weights = self.weights.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(card) = &self.card
            && !weights.as_ref().is_some_and(|weights| is_alive(weights))
        {
            *weights = None;
            let reopened = card.reopen(&self.config, &self.cpu);
            let reopened = reopened.map_err(|error| ExecutorError(format!("{error:#}")))?;
            *weights = Some(Arc::new(reopened));
        }
        let weights = weights.as_ref().ok_or_else(|| ExecutorError(gone()))?;
        self.runner_with(weights, &self.cpu, limits)
    }
}

/// Whether a card still does what it is asked, or there is none.
fn is_alive(weights: &Weights) -> bool {
    match &weights.device {
        Device::Cpu => true,
        Device::Cuda(cuda) => cuda.synchronise().is_ok(),
    }
}

impl OnCard {
    fn note(&self, adapter: &Arc<LoraWeights>) {
        let mut adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        adapters.retain(|adapter| adapter.strong_count() > 0);
        adapters.push(Arc::downgrade(adapter));
    }

    /// Loads all that was on the card into a new context. The weights that were there are gone.
    fn reopen(&self, config: &ModelConfig, cpu: &Cpu) -> anyhow::Result<Weights> {
        let started = Instant::now();
        let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        let adapters: Vec<_> = adapters.iter().filter_map(Weak::upgrade).collect();
        adapters.iter().for_each(|adapter| adapter.leave_card());
        let cuda = Cuda::reopen(self.ordinal).context("the card cannot be opened again")?;
        let blas = self.has_blas.then(|| Blas::new(&cuda)).transpose();
        let blas = blas.context("cuBLAS cannot be used again")?;
        let (name, device) = (format!("{cuda:?}"), Device::Cuda(cuda));
        let weights = load(&self.checkpoint, config, (self.mix, blas), device, cpu)?;
        for adapter in &adapters {
            adapter.enter_card(&weights)?;
        }
        log_line(&format!(
            "the weights are on {name} again after {:.1?}",
            started.elapsed()
        ));
        Ok(weights)
    }
}

fn gone() -> String {
    "the card has failed and could not be opened again".into()
}

fn load(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    (mix, blas): (Option<Mix>, Option<Blas>),
    device: Device,
    cpu: &Cpu,
) -> anyhow::Result<Weights> {
    let options = LoadOptions {
        device,
        activations: Activations::Int8,
        mix,
        blas,
        progress: Some(opened::show_layers),
    };
    let weights = Weights::load(checkpoint.tensors(), config, options, cpu)?;
    Ok(weights)
}
