//! Texts to vectors, on a thread of its own beside the engine's.
//!
//! Requests share steps: each gives one text in turn until a step is full, so that a short request is done soon whatever long
//! ones are before it. A request that its client left is dropped before the next step.

mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::{ExecutorError, SubmitError};
use worker::{Job, Worker};

/// What computes vectors.
pub trait Encoder: Send {
    /// Tokens of all texts of a step, at most.
    fn max_batch_tokens(&self) -> usize;

    /// A vector for each text, which is the same whatever other texts there are.
    ///
    /// # Errors
    /// If it fails; nothing is remembered of the texts.
    fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ExecutorError>;
}

/// At length 1. A vector of zeros, which has no direction, stays as it is.
pub fn normalised(mut vector: Vec<f32>) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if norm > 0.0 {
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    vector
}

/// What became of a request's texts.
#[derive(Debug)]
pub struct Encoded {
    /// A vector for each text.
    pub vectors: Vec<Vec<f32>>,
    /// From submission to the step of its first text.
    pub queue: Duration,
}

/// Why texts have no vectors.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// They were not accepted.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// The encoder failed.
    #[error("the embedding model failed: {0}")]
    Failed(#[from] ExecutorError),
}

/// Submits texts to an encoder's thread, which ends with the last handle. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EncoderHandle {
    jobs: mpsc::Sender<Job>,
    load: Arc<Load>,
}

/// What waits, and how fast it goes.
#[derive(Debug, Default)]
struct Load {
    num_tokens: AtomicUsize,
    tokens_a_second: AtomicU64,
}

/// Tokens that may wait, of all requests together.
pub const MAX_WAITING_TOKENS: usize = 1 << 19;

/// Tokens among those that wait, until it is dropped.
#[derive(Debug)]
struct Place {
    load: Arc<Load>,
    num_tokens: usize,
}

impl Place {
    fn take(load: &Arc<Load>, num_tokens: usize) -> Option<Self> {
        let add = |waiting: usize| {
            let sum = waiting.saturating_add(num_tokens);
            (sum <= MAX_WAITING_TOKENS).then_some(sum)
        };
        let taken = load
            .num_tokens
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        taken.is_ok().then(|| Self {
            load: Arc::clone(load),
            num_tokens,
        })
    }
}

impl Place {
    /// Some of its tokens wait no more.
    fn give_back(&mut self, num_tokens: usize) {
        let num_tokens = num_tokens.min(self.num_tokens);
        self.num_tokens -= num_tokens;
        self.load
            .num_tokens
            .fetch_sub(num_tokens, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.give_back(self.num_tokens);
    }
}

impl EncoderHandle {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has none left.
    pub fn spawn(encoder: Box<dyn Encoder>) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let load = Arc::new(Load::default());
        let worker = Worker::new(encoder, Arc::clone(&load));
        std::thread::Builder::new()
            .name("encoder".into())
            .spawn(move || worker.run(&inbox))?;
        Ok(Self { jobs, load })
    }

    /// Refuses, before the work of tokenising it, what there is no room for.
    ///
    /// # Errors
    /// If too much waits already.
    pub fn check_room(&self) -> Result<(), SubmitError> {
        match self.load.num_tokens.load(Ordering::Relaxed) < MAX_WAITING_TOKENS {
            true => Ok(()),
            false => Err(self.queue_full()),
        }
    }

    fn queue_full(&self) -> SubmitError {
        SubmitError::QueueFull {
            retry_after: self.retry_after(),
        }
    }

    /// Waits for the vectors of `texts`, each of which has 1 to [`Encoder::max_batch_tokens`] tokens and all together at most
    /// [`MAX_WAITING_TOKENS`]. Dropping the future drops the request.
    ///
    /// # Errors
    /// If too much waits already, or the encoder fails.
    pub async fn encode(&self, texts: Vec<Vec<u32>>) -> Result<Encoded, EncodeError> {
        let num_tokens = texts.iter().map(Vec::len).sum();
        let Some(place) = Place::take(&self.load, num_tokens) else {
            return Err(self.queue_full().into());
        };
        let (reply, answer) = oneshot::channel();
        let job = Job::new(texts, place, reply);
        self.jobs.send(job).map_err(|_| SubmitError::Stopped)?;
        Ok(answer.await.map_err(|_| SubmitError::Stopped)??)
    }

    /// Until what waits now is done.
    fn retry_after(&self) -> Duration {
        let num_tokens = self.load.num_tokens.load(Ordering::Relaxed) as u64;
        let rate = self.load.tokens_a_second.load(Ordering::Relaxed).max(1);
        Duration::from_secs(num_tokens.div_ceil(rate).clamp(1, 60))
    }
}
