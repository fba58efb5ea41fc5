//! The LoRA adapters that the settings name, and how others are read while the server runs.

use std::any::Any;
use std::sync::Arc;

use super::served_weights::ServedWeights;
use crate::config::ModelSettings;
use crate::server::Adapters;

/// For a model that is not always there: they would not be either.
pub(super) fn none() -> Adapters {
    Adapters::new(Box::new(|_| {
        Err("a model that is loaded on demand has no adapters".into())
    }))
}

/// Loads those of the settings, which may have none of `names`.
pub(super) fn load(
    config: &ModelSettings,
    names: &[&str],
    weights: Arc<ServedWeights>,
) -> anyhow::Result<Adapters> {
    let adapters = Adapters::new(Box::new(move |folder| {
        Ok(weights.load_adapter(folder)? as Arc<dyn Any + Send + Sync>)
    }));
    for (name, folder) in &config.lora_modules {
        let loaded = match names.contains(&name.as_str()) {
            true => Err("is the name of a model, or of another's adapter".into()),
            false => adapters.load(name, folder, false),
        };
        loaded.map_err(|error| anyhow::anyhow!("lora_modules: {name}: {error}"))?;
    }
    Ok(adapters)
}
