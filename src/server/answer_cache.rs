//! Answers that were given before, shared by all requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::gateway::{Answer, Answers, AskedKey, GivenChoice, Selection};
use crate::telemetry::{
    AnswerCacheGauges, AnswerCacheLevel, AnswerCacheMetrics, RequestMetrics, Telemetry, Tier,
};

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
            metrics: telemetry.answer_cache_of(name, AnswerCacheLevel::Exact),
            requests: telemetry.requests(name, Tier::Cache),
        };
        Self {
            answers: Mutex::new(Answers::new(max_bytes, max_age)),
            gauges: telemetry.answer_cache(AnswerCacheLevel::Exact),
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

    /// Forgets those that are `chosen`, and says how many those were.
    pub(super) fn purge(&self, chosen: &Selection) -> usize {
        let mut answers = self.answers();
        answers.begin_era(chosen.tenant.as_deref());
        let gone = answers.remove_where(chosen.tenant.as_deref(), |tenant, answer| {
            chosen.has(tenant, &answer.tags)
        });
        self.publish(&answers);
        gone.len()
    }

    /// How many there are, and the bytes that they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let answers = self.answers();
        (answers.len(), answers.num_bytes())
    }

    /// Grows whenever something of this tenant was forgotten because somebody said so.
    pub(super) fn era(&self, tenant: &str) -> u64 {
        self.answers().era(tenant)
    }

    /// Whether `tenant` may have been given an answer to this.
    pub(super) fn has(&self, tenant: &str, key: AskedKey) -> bool {
        self.answers().of(tenant).has(key)
    }

    /// Whether `tenant` was given an answer to this and these prompts.
    pub(super) fn is_there(&self, tenant: &str, key: AskedKey, prompts: [u8; 32]) -> bool {
        let found = self.answers().of(tenant).find(key, Instant::now());
        found.is_some_and(|answer| answer.prompts == prompts)
    }

    /// The answer of `model` to these prompts that `tenant` was given to this, and the metrics of who is given it again.
    pub(super) fn find(
        &self,
        tenant: &str,
        model: &str,
        key: AskedKey,
        prompts: [u8; 32],
    ) -> Option<(Arc<Answer>, RequestMetrics)> {
        let of_model = self.models.get(model)?;
        let found = {
            let mut answers = self.answers();
            let found = answers.of(tenant).find(key, Instant::now());
            self.publish(&answers);
            found.filter(|answer| answer.prompts == prompts)
        };
        let num_tokens = |choice: &GivenChoice| choice.tokens.len();
        let num_tokens = |answer: &Arc<Answer>| answer.choices.iter().map(num_tokens).sum();
        of_model.metrics.looked_up(found.as_ref().map(num_tokens));
        Some((found?, of_model.requests.clone()))
    }

    /// Keeps an answer that was begun in `era`, unless all were forgotten since.
    pub(super) fn keep(&self, tenant: &str, key: AskedKey, answer: Answer, era: u64) {
        let mut answers = self.answers();
        if answers.era(tenant) == era {
            answers.of(tenant).keep(key, answer, Instant::now());
            self.publish(&answers);
        }
    }

    fn publish(&self, answers: &Answers) {
        self.gauges.set(answers.len(), answers.num_bytes());
    }

    // Nothing is half done when a holder panics.
    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
