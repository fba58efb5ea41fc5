//! The embedding model of `flambeau serve`: at the start where one is named, else when it is first asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;

use super::load;
use crate::backend::cpu::Cpu;
use crate::config::{ByteSize, DEFAULT_EMBEDDING_MODEL, Embeddings};
use crate::engine::EncoderHandle;
use crate::hub::{Hub, HubConfig, Task, TextProgress};
use crate::model::Embedder;
use crate::server::{EmbeddingModel, LoadedEncoder};
use crate::telemetry::{Telemetry, Tier, log_line};
use crate::text::EncoderTokenizer;

/// As the settings say, for an engine of so many threads; `names` are those of the models that generate.
pub(super) fn embedding_model(
    embeddings: &Embeddings,
    engine_threads: usize,
    names: &[String],
    telemetry: &Telemetry,
) -> anyhow::Result<Option<Arc<EmbeddingModel>>> {
    let (spec, at_once) = match embeddings {
        Embeddings::Off => return Ok(None),
        Embeddings::WhenAsked => (DEFAULT_EMBEDDING_MODEL, false),
        Embeddings::Model(spec) => (spec.as_str(), true),
    };
    load::check_task("embedding_model", spec, Task::Embed)?;
    let hub = Hub::new(HubConfig::from_env()?);
    let source = at_once
        .then(|| hub.resolve(spec, &mut TextProgress::stderr()))
        .transpose()?;
    // The default one is a card.
    let name = source.as_ref().map_or(spec, |source| &source.name);
    let name = name.to_owned();
    if names.contains(&name) {
        anyhow::bail!(
            "embedding_model: {name:?} is the name of a model that generates; give one of them another name"
        );
    }
    // The engine's threads take all cores: the fewer others there are, the less its steps wait.
    let threads = (engine_threads / 2).max(1);
    let metrics = telemetry.requests(&name, Tier::Primary);
    let (spec, name_in_log) = (spec.to_owned(), name.clone());
    let loader = move || {
        let path = match &source {
            Some(source) => Ok(source.path.clone()),
            None => (hub.resolve(&spec, &mut TextProgress::stderr())).map(|source| source.path),
        };
        let path = path.map_err(anyhow::Error::from);
        let loaded = path.and_then(|path| load(&path, threads, &name_in_log));
        loaded.map_err(|error| format!("{error:#}"))
    };
    let model = EmbeddingModel::new(name, metrics, Box::new(loader));
    if at_once {
        model
            .load_now()
            .map_err(|error| anyhow::anyhow!("embedding_model: {error}"))?;
    }
    Ok(Some(Arc::new(model)))
}

/// Loads a folder and starts the thread that computes.
fn load(folder: &Path, threads: usize, name: &str) -> anyhow::Result<LoadedEncoder> {
    let started = Instant::now();
    if !folder.is_dir() {
        anyhow::bail!("{} is no folder with config.json", folder.display());
    }
    let path = folder.join("tokenizer.json");
    let json = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let tokenizer = EncoderTokenizer::from_json(&json)?;
    let embedder = Embedder::load(folder, Cpu::new(threads).context("threads")?)?;
    let embedder_config = embedder.config();
    let (window, dimension) = (embedder_config.window, embedder_config.hidden_size);
    if tokenizer.num_ids() > embedder_config.vocab_size {
        anyhow::bail!(
            "tokenizer.json has the id {}, but vocab_size of config.json is {}",
            tokenizer.num_ids() - 1,
            embedder_config.vocab_size
        );
    }
    if tokenizer.num_specials() >= window {
        anyhow::bail!("the window of {window} tokens has no room for a text");
    }
    log_line(&format!(
        "{name}: loaded in {:.1?}, {} of weights, {dimension} dimensions, a window of {window} tokens",
        started.elapsed(),
        ByteSize(embedder.num_bytes() as u64)
    ));
    Ok(LoadedEncoder {
        tokenizer,
        window,
        dimension,
        encoder: EncoderHandle::spawn(Box::new(embedder)).context("the encoder's thread")?,
    })
}
