//! The model behind `/v1/embeddings`.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Semaphore, watch};

use super::error::ApiError;
use crate::engine::{EncoderHandle, Presence};
use crate::telemetry::{RequestMetrics, log_line};
use crate::text::EncoderTokenizer;

/// An embedding model, loaded when it is first asked.
pub struct EmbeddingModel {
    /// What requests call it.
    pub name: String,
    /// Of requests to it.
    pub metrics: RequestMetrics,
    /// Texts that may be tokenised at once: the rest of the machine is for the models.
    pub(super) tokenises: Arc<Semaphore>,
    /// The last one, if there was any.
    attempt: Mutex<Option<Attempt>>,
    loader: EncoderLoader,
}

type Loaded = Result<Arc<LoadedEncoder>, String>;
/// An attempt to load the model: nothing as long as it goes on, or where it panicked.
type Attempt = watch::Receiver<Option<Loaded>>;

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
            tokenises: Arc::new(Semaphore::new(2)),
            attempt: Mutex::new(None),
            loader,
        }
    }

    /// Loads it before it is asked.
    ///
    /// # Errors
    /// Why it cannot be loaded.
    pub fn load_now(&self) -> Result<(), String> {
        let loaded = Arc::new((self.loader)()?);
        let (_, attempt) = watch::channel(Some(Ok(loaded)));
        *self.attempt.lock().unwrap_or_else(PoisonError::into_inner) = Some(attempt);
        Ok(())
    }

    /// The loaded model; whoever comes first has it loaded, the others wait. The loading goes on when they leave.
    ///
    /// # Errors
    /// 503 with the reason, for all that wait; the next call tries again.
    pub(super) async fn loaded(self: &Arc<Self>) -> Result<Arc<LoadedEncoder>, ApiError> {
        let mut attempt = self
            .attempt()
            .map_err(|error| self.failed(&error.to_string()))?;
        match attempt.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(loaded))) => Ok(Arc::clone(loaded)),
            Ok(Some(Err(why))) => Err(self.failed(why)),
            Ok(None) | Err(_) => Err(self.failed("it panicked")),
        }
    }

    /// Whether it is loaded.
    pub(super) fn presence(&self) -> Presence {
        let last = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(attempt) = last.as_ref() else {
            return Presence::Unloaded;
        };
        match &*attempt.borrow() {
            Some(Ok(_)) => Presence::Loaded,
            Some(Err(_)) => Presence::Unloaded,
            None if attempt.has_changed().is_err() => Presence::Unloaded,
            None => Presence::Loading,
        }
    }

    /// The attempt to wait for: a new one if there was none, or it failed.
    fn attempt(self: &Arc<Self>) -> std::io::Result<Attempt> {
        let mut last = self.attempt.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |attempt: &Attempt| match &*attempt.borrow() {
            Some(result) => result.is_err(),
            // The sender is gone, and told nothing.
            None => attempt.has_changed().is_err(),
        };
        if let Some(attempt) = last.as_ref().filter(|attempt| !is_over(attempt)) {
            return Ok(attempt.clone());
        }
        let (done, attempt) = watch::channel(None);
        let model = Arc::clone(self);
        // Not on the runtime, which waits for its blocking tasks when it ends.
        std::thread::Builder::new()
            .name("load-embedder".into())
            .spawn(move || {
                let loaded = (model.loader)().map(Arc::new);
                if let Err(why) = &loaded {
                    log_line(&format!("{} could not be loaded: {why}", model.name));
                }
                done.send_replace(Some(loaded));
            })?;
        *last = Some(attempt.clone());
        Ok(attempt)
    }

    fn failed(&self, why: &str) -> ApiError {
        let name = &self.name;
        ApiError::unavailable(format!(
            "the embedding model {name:?} could not be loaded: {why}"
        ))
    }
}
