//! What `flambeau serve` keeps of answers.

use std::sync::Arc;

use anyhow::Context as _;

use super::embeddings::embedding_model;
use super::policy;
use crate::config::{
    AnswerStore, ByteSize, Cache, DEFAULT_EMBEDDING_MODEL, Embeddings, ExactCache, KeyPlace,
    SemanticCacheSettings,
};
use crate::server::{AnswerCache, EmbeddingModel, SemanticCache, SemanticRules, ServedModel};
use crate::store::{self, Records, SealingKey};
use crate::telemetry::Telemetry;

/// For the answers of these models.
pub(super) fn exact(
    settings: ExactCache,
    models: &[Arc<ServedModel>],
    telemetry: &Telemetry,
) -> Arc<AnswerCache> {
    let max_bytes = num_bytes(settings.memory);
    let cache = AnswerCache::new(names(models), max_bytes, settings.max_age, telemetry);
    Arc::new(cache)
}

/// For the answers of these models; `embeddings` is what is behind `/v1/embeddings`, as the settings have it, and beside an engine of so many
/// threads; `records` are what survives a restart.
pub(super) fn semantic(
    settings: &SemanticCacheSettings,
    models: &[Arc<ServedModel>],
    (embeddings, typed): (Option<&Arc<EmbeddingModel>>, &Embeddings),
    engine_threads: usize,
    records: Option<Box<dyn Records>>,
    telemetry: &Telemetry,
) -> anyhow::Result<Arc<SemanticCache>> {
    let said = match typed {
        Embeddings::Model(spec) => spec,
        Embeddings::Off | Embeddings::WhenAsked => DEFAULT_EMBEDDING_MODEL,
    };
    let wanted = settings.embedder.as_deref().unwrap_or(said);
    let embedder = match embeddings.filter(|_| wanted == said) {
        Some(shared) => {
            // Nobody waits for it when the first question comes.
            if *typed == Embeddings::WhenAsked {
                shared
                    .load_now()
                    .map_err(|error| anyhow::anyhow!("cache.semantic: embedder: {error}"))?;
            }
            Arc::clone(shared)
        }
        None => {
            let own = Embeddings::Model(wanted.to_owned());
            let own = embedding_model(&own, engine_threads, &[], telemetry);
            let own = own.map_err(|error| error.context("cache.semantic: embedder"))?;
            own.expect("one was named: this is a bug")
        }
    };
    let max_bytes = num_bytes(settings.memory);
    let age = settings.max_age;
    let routes = settings.routes.iter();
    let rules = SemanticRules {
        mode: policy::semantic(settings.mode),
        routes: routes
            .map(|(route, &mode)| (route.clone(), policy::semantic(mode)))
            .collect(),
        max_false_hit_rate: settings.max_false_hit_rate,
        shadow_rate: settings.shadow_rate,
        time_words: settings.time_words,
    };
    let limits = (max_bytes, age);
    let cache = SemanticCache::new(names(models), embedder, limits, rules, telemetry);
    Ok(Arc::new(match records {
        None => cache,
        Some(records) => cache.outliving(records).context("cache.semantic")?,
    }))
}

/// The file where answers survive a restart, with its key.
pub(super) fn store(settings: &Cache) -> anyhow::Result<Option<Box<dyn Records>>> {
    let semantic = settings.semantic.as_ref();
    let store = semantic.and_then(|semantic| semantic.store.as_ref());
    let opened = store.map(|store| opened(store).context("cache.semantic"));
    opened.transpose()
}

fn opened(settings: &AnswerStore) -> anyhow::Result<Box<dyn Records>> {
    let key = match &settings.key {
        KeyPlace::Variable(name) => {
            std::env::var(name).with_context(|| format!("key: the variable {name}"))?
        }
        KeyPlace::File(path) => std::fs::read_to_string(path)
            .with_context(|| format!("key: the file {}", path.display()))?,
    };
    let key: SealingKey = key.parse().context("key")?;
    Ok(store::open(&settings.path, Some(&key))?)
}

fn names(models: &[Arc<ServedModel>]) -> impl Iterator<Item = &str> {
    models.iter().map(|model| &*model.name)
}

fn num_bytes(memory: ByteSize) -> usize {
    usize::try_from(memory.0).unwrap_or(usize::MAX)
}
