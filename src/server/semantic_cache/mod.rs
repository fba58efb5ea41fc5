//! Questions that were answered before, shared by all requests, and what tells how near they are.

mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use writer::Writer;

use crate::engine::{EncodeError, normalised};
use crate::gateway::{
    Answered, Context, GivenChoice, Questions, Searches, Vector, Words, record_of,
};
use crate::server::embedder::{EmbeddingModel, LoadedEncoder};
use crate::store::{Place, Records, StoreError};
use crate::telemetry::{
    AnswerCacheGauges, AnswerCacheLevel, AnswerCacheMetrics, Telemetry, log_line,
};

/// Answers to questions that are farther from each other say too little.
const MIN_OVERLAP: f32 = 0.5;
const MIN_COSINE: f32 = 0.75;
/// Questions that get their vectors along with the one that is asked.
const MAX_MADE_UP_FOR: usize = 3;
/// Questions that are looked for at a time. Who comes when as many are goes without.
const MAX_AT_ONCE: usize = 8;

/// See the module.
pub struct SemanticCache {
    /// Held for moments only: the longest is a look at all questions of a context, some 0.1 ms.
    questions: Mutex<Questions>,
    embedder: Arc<EmbeddingModel>,
    at_once: Semaphore,
    /// Where they outlive the process, if they do.
    writer: Option<Writer>,
    max_age: Duration,
    gauges: AnswerCacheGauges,
    models: HashMap<String, OfModel>,
    says_that_it_failed: Once,
}

struct OfModel {
    metrics: AnswerCacheMetrics,
    /// Whether it pays to look for questions by where they point.
    searches: Searches,
}

impl SemanticCache {
    /// For answers of models with these names, of at most `max_bytes` together, none older than `max_age`; `embedder` says which questions are
    /// near.
    pub fn new<'a>(
        models: impl Iterator<Item = &'a str>,
        embedder: Arc<EmbeddingModel>,
        max_bytes: usize,
        max_age: Duration,
        telemetry: &Telemetry,
    ) -> Self {
        let level = AnswerCacheLevel::Semantic;
        let of_model = |name: &str| {
            let of_model = OfModel {
                metrics: telemetry.answer_cache_of(name, level),
                searches: Searches::default(),
            };
            (name.to_owned(), of_model)
        };
        Self {
            questions: Mutex::new(Questions::new(max_bytes, max_age)),
            embedder,
            at_once: Semaphore::new(MAX_AT_ONCE),
            writer: None,
            max_age,
            gauges: telemetry.answer_cache(level),
            models: models.map(of_model).collect(),
            says_that_it_failed: Once::new(),
        }
    }

    /// Remembers what `records` have, and has them remember what comes.
    ///
    /// # Errors
    /// If they cannot be read, or the system has no thread left.
    pub fn outliving(mut self, mut records: Box<dyn Records>) -> Result<Self, StoreError> {
        let (now, unix) = (Instant::now(), unix_seconds());
        records.remove_expired(unix)?;
        let mut questions = self.questions();
        let mut gone = Vec::new();
        let read = records.each(Place::default(), unix, &mut |record| {
            let left = Duration::from_secs(record.expires.saturating_sub(unix));
            let age = self.max_age.saturating_sub(left);
            // The clock of this machine may not reach back so far.
            let since = now.checked_sub(age).unwrap_or(now);
            gone.extend(questions.restore(&record, since));
        })?;
        self.publish(&questions);
        log_line(&format!(
            "cache.semantic: {} answers are remembered, {} that cannot be trusted were left out",
            questions.len(),
            read.num_skipped
        ));
        drop(questions);
        let writer = Writer::spawn(records).map_err(|error| StoreError::Failed {
            store: "of answers".into(),
            source: error.into(),
        })?;
        writer.remove(gone);
        self.writer = Some(writer);
        Ok(self)
    }

    /// Forgets all, wherever it is, and says how many those were.
    ///
    /// # Errors
    /// Why they are still on the disk.
    pub(super) async fn clear(&self) -> Result<usize, String> {
        let (num, written) = {
            let mut questions = self.questions();
            let num = questions.clear();
            self.publish(&questions);
            // Before anything that is remembered from now on.
            (num, self.writer.as_ref().map(Writer::clear))
        };
        if let Some(written) = written {
            written.await?;
        }
        Ok(num)
    }

    /// How often all were forgotten.
    pub(super) fn era(&self) -> u64 {
        self.questions().era()
    }

    /// What `tenant` was answered to the very same question.
    pub(super) fn same(
        &self,
        tenant: &str,
        context: Context,
        question: &str,
    ) -> Option<Arc<Answered>> {
        let mut questions = self.questions();
        questions.of(tenant, context).same(question, Instant::now())
    }

    /// What `tenant` was answered to the question in this context that has the most words in common, unless those are few.
    pub(super) fn alike(
        &self,
        tenant: &str,
        context: Context,
        question: &str,
    ) -> Option<Arc<Answered>> {
        let words = Words::of(question);
        let mut questions = self.questions();
        let alike = questions.of(tenant, context).alike(&words, Instant::now());
        let (answered, _) = alike.filter(|(_, overlap)| *overlap >= MIN_OVERLAP)?;
        Some(answered)
    }

    /// Whether to look for what `tenant` was answered to questions in this context that point where one does.
    pub(super) fn is_worth_a_search(&self, tenant: &str, context: Context, model: &str) -> bool {
        let of_model = self.models.get(model);
        self.questions().of(tenant, context).has_any()
            && of_model.is_some_and(|of_model| of_model.searches.next_pays())
    }

    /// What a search for an answer of `model` has given: tokens of the answer that was found that were right.
    pub(super) fn searched(&self, model: &str, num_right: usize) {
        if let Some(of_model) = self.models.get(model) {
            of_model.searches.learn(num_right);
        }
    }

    /// What `tenant` was answered to the question in this context that is nearest, unless it is far. Sets the question's own `vector`. Does
    /// nothing once the answer is not `wanted` any more.
    pub(super) async fn nearest(
        &self,
        tenant: &str,
        context: Context,
        question: Arc<str>,
        vector: &OnceLock<Vector>,
        is_wanted: impl Fn() -> bool,
    ) -> Option<Arc<Answered>> {
        let _turn = self.at_once.try_acquire().ok()?;
        let loaded = self.embedder.loaded().await.ok()?;
        if !is_wanted() {
            return None;
        }
        let without = {
            let mut questions = self.questions();
            let asked = questions.of(tenant, context);
            asked.without_vector(MAX_MADE_UP_FOR)
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
        let nearest = {
            let mut questions = self.questions();
            let nearest = questions.of(tenant, context).nearest(&own, Instant::now());
            self.publish(&questions);
            nearest
        };
        let _ = vector.set(own);
        let (answered, _) = nearest.filter(|(_, cosine)| *cosine >= MIN_COSINE)?;
        Some(answered)
    }

    /// Counts that an answer of `model` was looked for.
    pub(super) fn looked_up(&self, model: &str, found: Option<&Arc<Answered>>) {
        if let Some(of_model) = self.models.get(model) {
            of_model
                .metrics
                .looked_up(found.map(|answered| answered.answer.tokens.len()));
        }
    }

    /// Remembers an answer that was begun in `era`, unless all were forgotten since; where it `outlives` the process, also on the disk.
    pub(super) fn keep(
        &self,
        (tenant, context): (&str, Context),
        question: Arc<str>,
        vector: Option<Vector>,
        answer: GivenChoice,
        (era, outlives): (u64, bool),
    ) {
        let mut questions = self.questions();
        if questions.era() != era {
            return;
        }
        let now = Instant::now();
        let mut asked = questions.of(tenant, context);
        let gone = asked.keep(Arc::clone(&question), vector, answer, now);
        if let Some(writer) = &self.writer {
            if outlives && let Some(kept) = asked.same(&question, now) {
                let expires = unix_seconds() + self.max_age.as_secs();
                writer.put(record_of(tenant, &kept, expires));
            }
            writer.remove(gone);
        }
        self.publish(&questions);
    }

    fn publish(&self, questions: &Questions) {
        self.gauges.set(questions.len(), questions.num_bytes());
    }

    // Nothing is half done when a holder panics.
    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
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
