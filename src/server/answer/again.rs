//! Requests that were answered before, to the letter: what of them makes a difference, and what is given again.

use std::sync::Arc;
use std::time::Instant;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::account::Answerer;
use super::ask::Call;
use super::begun::Begun;
use super::choice::Choice;
use super::form::Kind;
use super::generation::Source;
use super::put::reading;
use super::question::{answers_as, digest, put_to, tags};
use crate::gateway::{Answer, AskedKey, GivenChoice, Tags};
use crate::server::answer_cache::AnswerCache;
use crate::server::models::Chosen;
use crate::server::request::fields::Fields;
use crate::server::state::ServedModel;
use crate::telemetry::{AnswerCacheLevel, RequestMetrics, Tier};

/// What a request asks of any model, where its answer may be given again.
#[derive(Clone)]
pub(crate) struct Repeatable {
    digest: [u8; 32],
    tags: Tags,
    /// Whether it is the same answer every time though tokens are drawn at random, or one that was drawn is wanted.
    is_seeded: bool,
}

/// How an answer is given again.
pub(crate) struct Again {
    pub answerer: Answerer,
    /// Where it would begin sooner, its first token waits.
    pub not_before: Option<Instant>,
}

impl Again {
    /// By `name`, from a cache of this level.
    pub fn of(
        level: AnswerCacheLevel,
        name: String,
        metrics: RequestMetrics,
        not_before: Option<Instant>,
    ) -> Self {
        let answerer = Answerer {
            name,
            tier: Tier::Cache,
            cause: None,
            level: Some(level),
            metrics,
        };
        Self {
            answerer,
            not_before,
        }
    }
}

/// Where the answer to a request is kept, and may be found.
#[derive(Clone)]
pub(crate) struct Keeping {
    cache: Arc<AnswerCache>,
    tenant: Arc<str>,
    key: AskedKey,
    era: u64,
    is_seeded: bool,
    tags: Tags,
    /// [`Answer::prompts`], once they are known.
    prompts: [u8; 32],
}

impl Repeatable {
    /// `None` where another time another answer would be given; where one that was drawn is `wanted`, that one may be given again.
    pub fn of(fields: &Fields, kind: Kind, wanted: bool) -> Option<Self> {
        let has_seed = fields.look("seed").is_some() || wanted;
        let temperature = fields.look("temperature").and_then(Value::as_f64);
        let is_drawn = temperature.is_some_and(|temperature| temperature > 0.01) && !has_seed;
        (!is_drawn).then(|| Self {
            digest: digest::<()>(fields, kind, None),
            tags: tags(fields),
            is_seeded: has_seed,
        })
    }

    /// Where the answer of `chosen` is kept that was asked for in this era.
    pub fn keeping(
        &self,
        cache: Arc<AnswerCache>,
        (tenant, era): (&str, u64),
        chosen: &Chosen,
    ) -> Keeping {
        Keeping {
            key: AskedKey(put_to(self.digest, chosen)),
            tenant: tenant.into(),
            era,
            cache,
            is_seeded: self.is_seeded,
            tags: Tags {
                model: answers_as(chosen).to_owned(),
                ..self.tags.clone()
            },
            prompts: [0; 32],
        }
    }
}

impl Keeping {
    /// Whether there may be an answer.
    pub fn has_any(&self) -> bool {
        self.cache.has(&self.tenant, self.key)
    }

    /// Of the request as it is put to the model; `None` where another time it would be answered otherwise, or says what is not kept.
    pub fn of(self, call: &Call) -> Option<Self> {
        let generate = &call.generate;
        let is_same = generate.sampling.temperature == 0.0 || self.is_seeded;
        let is_whole = !generate.shows_tokens() && generate.num_candidates == generate.num_choices;
        if !is_same || !is_whole {
            return None;
        }
        let prompts = call.requests.iter().map(|request| &request.prompt[..]);
        Some(Self {
            prompts: prompts_digest(prompts),
            ..self
        })
    }

    /// Whether there is one, which nobody is given.
    pub fn is_there(&self) -> bool {
        self.cache.is_there(&self.tenant, self.key, self.prompts)
    }

    /// What was answered before.
    pub fn find(&self, model: &str) -> Option<(Arc<Answer>, RequestMetrics)> {
        self.cache.find(&self.tenant, model, self.key, self.prompts)
    }

    /// Keeps the answer.
    pub fn keep(self, choices: Vec<GivenChoice>) {
        let answer = Answer {
            prompts: self.prompts,
            choices,
            tags: self.tags,
        };
        self.cache.keep(&self.tenant, self.key, answer, self.era);
    }
}

/// A digest of prompts' tokens.
pub(super) fn prompts_digest<'a>(prompts: impl Iterator<Item = &'a [u32]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for prompt in prompts {
        hasher.update((prompt.len() as u64).to_le_bytes());
        for token in prompt {
            hasher.update(token.to_le_bytes());
        }
    }
    hasher.finalize().into()
}

impl Call {
    /// Of what `model` has answered before.
    pub fn given_again(self, answer: &Arc<Answer>, model: &ServedModel, again: Again) -> Begun {
        let reading = reading(&self.generate, model);
        let choices = (0..answer.choices.len()).map(|i| {
            let prompt = &self.requests[i / self.generate.num_candidates].prompt;
            let times = (again.not_before, prompt.len());
            Choice::given_again(Arc::clone(answer), i, times, reading.clone())
        });
        let source = Source::Choices(choices.collect());
        self.begun(again.answerer, source)
    }
}
