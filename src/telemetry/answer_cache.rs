//! What the cache of answers holds and saves.

use metrics::{Counter, Gauge, counter, gauge, with_local_recorder};

use super::Telemetry;

/// How a request has to be like one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerCacheLevel {
    /// To the letter.
    Exact,
    /// But for its last question, which is near.
    Semantic,
}

impl AnswerCacheLevel {
    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Semantic => "semantic",
        }
    }
}

/// Of all models together.
#[derive(Clone)]
pub struct AnswerCacheGauges {
    entries: Gauge,
    bytes: Gauge,
}

/// Of one model.
#[derive(Clone)]
pub struct AnswerCacheMetrics {
    lookups: Counter,
    hits: Counter,
    tokens: Counter,
}

impl Telemetry {
    /// The handles for what is kept of a level.
    pub fn answer_cache(&self, level: AnswerCacheLevel) -> AnswerCacheGauges {
        let gauge = |name: &'static str| gauge!(name, "level" => level.as_str());
        with_local_recorder(&self.recorder, || AnswerCacheGauges {
            entries: gauge("flambeau_answer_cache_entries"),
            bytes: gauge("flambeau_answer_cache_bytes"),
        })
    }

    /// The handles for answers of `model` that are asked for again.
    pub fn answer_cache_of(&self, model: &str, level: AnswerCacheLevel) -> AnswerCacheMetrics {
        let level = level.as_str();
        let total =
            |name: &'static str| counter!(name, "model" => model.to_owned(), "level" => level);
        with_local_recorder(&self.recorder, || AnswerCacheMetrics {
            lookups: total("flambeau_answer_cache_lookups_total"),
            hits: total("flambeau_answer_cache_hits_total"),
            tokens: total("flambeau_answer_cache_tokens_total"),
        })
    }
}

impl AnswerCacheGauges {
    /// Publishes how many answers there are, and what they take.
    pub fn set(&self, num_entries: usize, num_bytes: usize) {
        self.entries.set(num_entries as f64);
        self.bytes.set(num_bytes as f64);
    }
}

impl AnswerCacheMetrics {
    /// An answer was looked for; it has so many tokens, where there is one.
    pub fn looked_up(&self, found: Option<usize>) {
        self.lookups.increment(1);
        if let Some(num_tokens) = found {
            self.hits.increment(1);
            self.tokens.increment(num_tokens as u64);
        }
    }
}
