//! Which questions are near by where they point, as the embedding model has it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::{Near, SemanticCache};
use crate::engine::{EncodeError, Presence, normalised};
use crate::gateway::{Context, Reject, SHARED, Vector};
use crate::server::embedder::LoadedEncoder;
use crate::telemetry::log_line;

/// Answers to questions that are farther from each other say too little.
const MIN_OVERLAP: f32 = 0.5;
const MIN_COSINE: f32 = 0.75;
/// Questions that get their vectors along with the one that is asked.
const MAX_MADE_UP_FOR: usize = 3;

impl SemanticCache {
    /// What `tenant` was answered to up to `limit` questions in this context that are nearest, and how near they are; none that are far. Sets
    /// the question's own `vector`. Does nothing once the answer is not `wanted` any more.
    pub(in crate::server) async fn nearest(
        &self,
        (tenant, context): (&str, Context),
        question: Arc<str>,
        vector: &OnceLock<Vector>,
        limit: usize,
        is_wanted: impl Fn() -> bool,
    ) -> Vec<Near> {
        self.point_at((tenant, context), question, vector, is_wanted)
            .await;
        let (Some(own), now) = (vector.get(), Instant::now()) else {
            return Vec::new();
        };
        let mut near = self.nearest_of_both(tenant, limit, |questions, tenant| {
            questions.of(tenant, context).nearest(own, limit, now)
        });
        near.retain(|(_, cosine)| *cosine >= MIN_COSINE);
        near
    }

    /// Sets a question's `vector`, and those of some in its context that have none.
    async fn point_at(
        &self,
        (tenant, context): (&str, Context),
        question: Arc<str>,
        vector: &OnceLock<Vector>,
        is_wanted: impl Fn() -> bool,
    ) -> Option<()> {
        let _turn = self.at_once.try_acquire().ok()?;
        let loaded = self.embedder.loaded().await.ok()?;
        if !is_wanted() {
            return None;
        }
        let without = {
            let mut questions = self.questions();
            let mut of = |tenant| {
                questions
                    .of(tenant, context)
                    .without_vector(MAX_MADE_UP_FOR)
            };
            let mut without = of(tenant);
            without.extend(of(SHARED));
            without.truncate(MAX_MADE_UP_FOR);
            without
        };
        let texts = without.iter().map(|answered| &*answered.question);
        let texts: Vec<&str> = texts.chain([&*question]).collect();
        let mut vectors = match vectors(&loaded, &texts).await {
            Ok(vectors) => vectors,
            Err(EncodeError::Refused(_)) => return None,
            Err(EncodeError::Failed(error)) => {
                let says = format!("cache.semantic: the embedding model failed: {error}");
                self.says_that_it_failed.call_once(|| log_line(&says));
                // It may be one of those that it fails at: they are not to make the next one fail.
                for answered in &without {
                    let _ = answered.vector.set(Vector::new(&[]));
                }
                return None;
            }
        };
        let own = vectors.pop()?;
        for (answered, vector) in without.iter().zip(vectors) {
            // Another request may have found it as well.
            let _ = answered.vector.set(vector);
        }
        let _ = vector.set(own);
        Some(())
    }

    /// Whether the embedding model sees a question whole, or why that cannot be told. Has it loaded where it is not, and does not wait for that.
    pub(in crate::server) async fn sees_whole(&self, question: &str) -> Result<(), Reject> {
        if self.embedder.presence() != Presence::Loaded {
            let embedder = Arc::clone(&self.embedder);
            tokio::spawn(async move { embedder.loaded().await.map(|_| ()) });
            return Err(Reject::Embedder);
        }
        let loaded = self.embedder.loaded().await.map_err(|_| Reject::Embedder)?;
        let own = loaded.tokenizer.encode(question);
        match own.is_ok_and(|own| loaded.tokenizer.framed(&own).len() <= loaded.window) {
            true => Ok(()),
            false => Err(Reject::Window),
        }
    }
}

/// Whether a question is near enough for its answer to say anything of another's. What was found by where it points always is.
pub(in crate::server) fn is_near(nearness: f32) -> bool {
    nearness >= MIN_OVERLAP
}

/// The vector of each text; one that is near to nothing where the text does not fit the window, for what is cut off is what may make the
/// difference.
async fn vectors(loaded: &LoadedEncoder, texts: &[&str]) -> Result<Vec<Vector>, EncodeError> {
    let tokens = texts.iter().map(|text| {
        let own = loaded.tokenizer.encode(text).ok()?;
        let tokens = loaded.tokenizer.framed(&own);
        (tokens.len() <= loaded.window).then_some(tokens)
    });
    let tokens: Vec<Option<Vec<u32>>> = tokens.collect();
    let fitting = tokens.iter().flatten().cloned().collect();
    let mut encoded = loaded.encoder.encode(fitting).await?.vectors.into_iter();
    let vectors = tokens.iter().map(|tokens| {
        let exact = tokens.as_ref().and_then(|_| encoded.next());
        Vector::new(&normalised(exact.unwrap_or_default()))
    });
    Ok(vectors.collect())
}
