//! The weights that the engine computes with, and how they come back after a card has failed.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Instant;

use anyhow::Context as _;

use super::opened;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
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
    /// Those that somebody holds; they leave the card and come back with the weights.
    adapters: Mutex<Vec<Weak<LoraWeights>>>,
}

impl ServedWeights {
    /// Loads them; matrices of floats are quantised as `mix` says.
    ///
    /// # Errors
    /// If a tensor is missing or does not fit, or a card has no room.
    pub fn load(
        checkpoint: &Arc<Checkpoint>,
        config: &ModelConfig,
        mix: Option<Mix>,
        device: &Device,
        cpu: Cpu,
    ) -> anyhow::Result<Self> {
        let weights = load(checkpoint, config, mix, device.clone(), &cpu)?;
        let card = match device {
            Device::Cpu => None,
            Device::Cuda(cuda) => Some(OnCard {
                ordinal: cuda.card().ordinal,
                checkpoint: Arc::clone(checkpoint),
                mix,
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
        let weights = self.weights.read().unwrap_or_else(PoisonError::into_inner);
        let weights = weights.as_ref().ok_or_else(|| ExecutorError(gone()))?;
        let decoder = Decoder::new(
            self.config.clone(),
            Arc::clone(weights),
            limits,
            self.cpu.clone(),
        );
        let runner = decoder.and_then(|decoder| Runner::new(decoder, self.cpu.clone()));
        runner.map_err(|error| ExecutorError(error.to_string()))
    }

    /// Builds runners; before each but the first, a card is opened anew.
    pub fn factory(self: Arc<Self>, limits: Limits) -> ExecutorFactory {
        let mut is_first = true;
        Box::new(move || {
            if !std::mem::replace(&mut is_first, false) {
                let reopened = self.reopen();
                reopened.map_err(|error| ExecutorError(format!("{error:#}")))?;
            }
            Ok(Box::new(self.runner(&limits)?))
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

    /// Gives a card up with all that it holds, and loads that into a new context. What is on the CPU has not suffered.
    fn reopen(&self) -> anyhow::Result<()> {
        let Some(card) = &self.card else {
            return Ok(());
        };
        let started = Instant::now();
        let mut weights = self.weights.write().unwrap_or_else(PoisonError::into_inner);
        *weights = None;
        let adapters = card.adapters();
        adapters.iter().for_each(|adapter| adapter.leave_card());
        // Nothing holds the old context any more, so this is another.
        let cuda = Cuda::open(card.ordinal).context("the card cannot be opened again")?;
        let (name, device) = (format!("{cuda:?}"), Device::Cuda(cuda));
        let loaded = load(&card.checkpoint, &self.config, card.mix, device, &self.cpu)?;
        for adapter in &adapters {
            adapter.enter_card(&loaded)?;
        }
        *weights = Some(Arc::new(loaded));
        log_line(&format!(
            "the weights are on {name} again after {:.1?}",
            started.elapsed()
        ));
        Ok(())
    }
}

impl OnCard {
    fn note(&self, adapter: &Arc<LoraWeights>) {
        let mut adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        adapters.retain(|adapter| adapter.strong_count() > 0);
        adapters.push(Arc::downgrade(adapter));
    }

    fn adapters(&self) -> Vec<Arc<LoraWeights>> {
        let adapters = self.adapters.lock().unwrap_or_else(PoisonError::into_inner);
        adapters.iter().filter_map(Weak::upgrade).collect()
    }
}

fn gone() -> String {
    "the card has failed and could not be opened again".into()
}

fn load(
    checkpoint: &Checkpoint,
    config: &ModelConfig,
    mix: Option<Mix>,
    device: Device,
    cpu: &Cpu,
) -> anyhow::Result<Weights> {
    let options = LoadOptions {
        device,
        activations: Activations::Int8,
        mix,
        progress: Some(opened::show_layers),
    };
    let weights = Weights::load(checkpoint.tensors(), config, options, cpu)?;
    Ok(weights)
}
