//! The model behind `/v1/embeddings`.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::error::ApiError;
use crate::engine::EncoderHandle;
use crate::telemetry::{RequestMetrics, log_line};
use crate::text::EncoderTokenizer;

/// An embedding model, loaded when it is first asked.
pub struct EmbeddingModel {
    /// What requests call it.
    pub name: String,
    /// Of requests to it.
    pub metrics: RequestMetrics,
    loaded: OnceCell<Arc<LoadedEncoder>>,
    loader: EncoderLoader,
}

/// What an embedding model computes with.
pub struct LoadedEncoder {
    /// Its tokenizer.
    pub tokenizer: EncoderTokenizer,
    /// Tokens of a text, its special ones included, at most.
    pub window: usize,
    /// Values of a vector.
    pub dimension: usize,
    /// What computes.
    pub encoder: EncoderHandle,
}

/// Fetches and loads an embedding model, or says why it cannot; it may take long, and is not called again once it succeeded.
pub type EncoderLoader = Box<dyn Fn() -> Result<LoadedEncoder, String> + Send + Sync>;

impl EmbeddingModel {
    /// Nothing is loaded yet.
    pub fn new(name: String, metrics: RequestMetrics, loader: EncoderLoader) -> Self {
        Self {
            name,
            metrics,
            loaded: OnceCell::new(),
            loader,
        }
    }

    /// Loads it before it is asked.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn load_now(&self) -> Result<(), String> {
        let loaded = Arc::new((self.loader)()?);
        // It is loaded already where this is late.
        let _ = self.loaded.set(loaded);
        Ok(())
    }

    /// The loaded model; whoever comes first has it loaded, the others wait. The loading goes on when they leave.
    ///
    /// # Errors
    /// 503 with the reason; the next call tries again.
    pub(super) async fn loaded(self: &Arc<Self>) -> Result<Arc<LoadedEncoder>, ApiError> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(Arc::clone(loaded));
        }
        let model = Arc::clone(self);
        let loading = tokio::spawn(async move {
            let load = || async {
                let model = Arc::clone(&model);
                let loaded = tokio::task::spawn_blocking(move || (model.loader)()).await;
                loaded.map_err(|_| "it panicked".to_owned())?.map(Arc::new)
            };
            model.loaded.get_or_try_init(load).await.map(Arc::clone)
        });
        let loaded = loading.await.map_err(|error| error.to_string());
        loaded.and_then(|loaded| loaded).map_err(|why| {
            log_line(&format!("{} could not be loaded: {why}", self.name));
            let message = format!(
                "the embedding model {:?} could not be loaded: {why}",
                self.name
            );
            ApiError::unavailable(message)
        })
    }
}
