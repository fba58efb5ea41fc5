//! Answers that were given before, shared by all requests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::{Answer, Answers, AskedKey, GivenChoice};
use crate::telemetry::{AnswerCacheGauges, AnswerCacheMetrics, RequestMetrics, Telemetry, Tier};

/// See the module. In this process's memory alone.
pub struct AnswerCache {
    /// Held for moments only.
    answers: Mutex<Answers>,
    gauges: AnswerCacheGauges,
    models: HashMap<String, OfModel>,
}

struct OfModel {
    metrics: AnswerCacheMetrics,
    requests: RequestMetrics,
}

impl AnswerCache {
    /// For answers of models with these names, of at most `max_bytes` together, none older than `max_age`.
    pub fn new<'a>(
        models: impl Iterator<Item = &'a str>,
        max_bytes: usize,
        max_age: Duration,
        telemetry: &Telemetry,
    ) -> Self {
        let of_model = |name: &str| OfModel {
            metrics: telemetry.answer_cache_of(name),
            requests: telemetry.requests(name, Tier::Cache),
        };
        Self {
            answers: Mutex::new(Answers::new(max_bytes, max_age)),
            gauges: telemetry.answer_cache(),
            models: models
                .map(|name| (name.to_owned(), of_model(name)))
                .collect(),
        }
    }

    /// Forgets all, and says how many those were.
    pub(super) fn clear(&self) -> usize {
        let mut answers = self.answers();
        let num = answers.clear();
        self.publish(&answers);
        num
    }

    /// The answer of `model` that `tenant` was given to this, and the metrics of who is given it again.
    pub(super) fn find(
        &self,
        tenant: &str,
        model: &str,
        key: AskedKey,
    ) -> Option<(Answer, RequestMetrics)> {
        let of_model = self.models.get(model)?;
        let found = self.answers().of(tenant).find(key, Instant::now());
        let num_tokens = |answer: &Answer| answer.iter().map(|choice| choice.tokens.len()).sum();
        of_model.metrics.looked_up(found.as_ref().map(num_tokens));
        Some((found?, of_model.requests.clone()))
    }

    pub(super) fn keep(&self, tenant: &str, key: AskedKey, answer: Vec<GivenChoice>) {
        let mut answers = self.answers();
        answers.of(tenant).keep(key, answer, Instant::now());
        self.publish(&answers);
    }

    fn publish(&self, answers: &Answers) {
        self.gauges.set(answers.len(), answers.num_bytes());
    }

    // Nothing is half done when a holder panics.
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
