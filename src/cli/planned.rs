//! A model with a place to compute and a share of the memory, before anything of it is loaded.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::memory_plan::{MemoryPlan, weight_bytes};
use super::{device, load, opened};
use crate::backend::Device;
use crate::backend::cuda::Blas;
use crate::config::{ByteSize, ModelSettings, RemoteSettings};
use crate::hub::{Hub, ModelSource, Task, TextProgress};
use crate::model::gguf::Metadata;
use crate::model::quantise::Mix;
use crate::model::{Checkpoint, ModelConfig, TensorShape};
use crate::telemetry::log_line;
use crate::text::Tokenizer;

/// One of the models to serve.
pub(super) struct PlannedModel {
    /// What requests call it.
    pub name: String,
    pub settings: ModelSettings,
    pub source: ModelSource,
    pub checkpoint: Arc<Checkpoint>,
    pub model_config: ModelConfig,
    /// What weights are quantised to.
    pub mix: Option<Mix>,
    pub device: Device,
    /// What multiplies matrices of floats there, where our kernels do not.
    pub blas: Option<Blas>,
    /// As long as the weights are not there.
    pub plan: MemoryPlan,
}

/// What the models planned so far take, of which the next one has what they leave.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Of the host's memory, bytes.
    pub host: u64,
    /// Cards.
    pub cards: HashSet<usize>,
}

/// All models, none of which takes what another does.
pub(super) struct Plans(pub Vec<PlannedModel>);

impl Plans {
    /// Finds, and fetches where need be, the models of the settings; none is called as another is, wherever that is served.
    pub fn new(
        models: &[ModelSettings],
        remotes: &[RemoteSettings],
        hub: &Hub,
    ) -> anyhow::Result<Self> {
        let mut taken = Taken::default();
        let mut plans = Vec::new();
        for settings in models {
            let model = PlannedModel::new(settings.clone(), hub, &taken)?;
            taken.host += model.plan.host_bytes();
            if let Device::Cuda(cuda) = &model.device {
                taken.cards.insert(cuda.card().ordinal);
            }
            plans.push(model);
        }
        let plans = Self(plans);
        let here = plans.0.iter().flat_map(PlannedModel::names);
        let elsewhere = remotes.iter().flat_map(RemoteSettings::names);
        let mut names = HashSet::new();
        for name in here.chain(elsewhere) {
            if !names.insert(name) {
                anyhow::bail!("models: {name:?} is the name of two; give each one of its own");
            }
        }
        Ok(plans)
    }

    /// Whether the system has room for all of them, as far as that is known.
    pub fn fit(&self) -> bool {
        self.0.iter().all(|model| model.plan.fits())
    }
}

impl fmt::Display for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = &self.0[..] {
            return only.plan.fmt(f);
        }
        for model in &self.0 {
            writeln!(f, "{} ({:?})\n{}\n", model.name, model.device, model.plan)?;
        }
        let bytes = self.0.iter().map(|model| model.plan.host_bytes());
        write!(
            f,
            "together       {} of the host's memory",
            ByteSize(bytes.sum())
        )
    }
}

impl PlannedModel {
    fn new(settings: ModelSettings, hub: &Hub, taken: &Taken) -> anyhow::Result<Self> {
        load::check_task("model", &settings.source, Task::Generate)?;
        let source = hub.resolve(&settings.source, &mut TextProgress::stderr())?;
        let name = settings.served_model_name.as_ref().unwrap_or(&source.name);
        let name = name.clone();
        log_line(&format!(
            "{}: {} (from {})",
            source.name,
            source.path.display(),
            source.served_by
        ));
        let (checkpoint, model_config) = Checkpoint::open(&source.path)?;
        let tensors = checkpoint.tensors();
        let mix = settings
            .quantize
            .map(|to| opened::mix(to, &model_config, tensors));
        if mix.is_some()
            && !tensors
                .shapes()
                .flatten()
                .any(|shape| is_float_matrix(&shape))
        {
            anyhow::bail!("quantize: the weights of {name} are quantised already; leave it away");
        }
        let on_card = weight_bytes(tensors, mix, true);
        let (device, why) = device::open(&settings, &model_config, on_card, taken)?;
        log_line(&format!("{name}: computing on {why}"));
        if settings.is_on_demand()
            && settings.kv_cache_memory.is_none()
            && matches!(device, Device::Cuda(_))
        {
            anyhow::bail!(
                "kv_cache_memory: {name} is not always loaded, and what a card has room for is known once it is: say how much it is to be"
            );
        }
        let blas = device::blas(&settings, &device, tensors, mix)?;
        let weights = match device {
            Device::Cpu => weight_bytes(tensors, mix, false),
            Device::Cuda(_) => on_card,
        };
        let memory = device::memory(&device, &settings, weights, taken)?;
        let plan = MemoryPlan::new(&settings, &model_config, memory)?;
        Ok(Self {
            name,
            settings,
            source,
            checkpoint: Arc::new(checkpoint),
            model_config,
            mix,
            device,
            blas,
            plan,
        })
    }

    /// What the model's file or folder says of text.
    pub fn text_source(&self) -> (Option<Metadata<'_>>, Option<&Path>) {
        let metadata = self.checkpoint.metadata();
        // A folder brings its own, unless another is named.
        let own = metadata.is_none().then_some(self.source.path.as_path());
        (metadata, self.settings.tokenizer.as_deref().or(own))
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> anyhow::Result<Tokenizer> {
        let (metadata, folder) = self.text_source();
        load::tokenizer(metadata, folder)
    }

    /// All that requests may call it.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.settings.aliases)
            .map(String::as_str)
    }
}

/// Whether there is anything in it to quantise.
fn is_float_matrix(shape: &TensorShape<'_>) -> bool {
    shape.dims.len() > 1 && shape.encoding.is_float()
}
