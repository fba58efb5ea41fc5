//! Answers that were given before, by what was asked and in which context: everything of a request but its last question is the same to the
//! letter, the question is near.

mod answered;
mod record;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::gateway::kept::Kept;
use crate::gateway::tags;
use crate::gateway::vector::Vector;
use crate::gateway::words::Words;
use crate::store::Record;

pub use answered::{Answered, Given, NormalForm, Scores, Took};
pub use record::record_of;

/// All of a request but its last question, and the model that answers. Two that differ cannot be found on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Context(pub [u8; 32]);

/// A question in its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct QuestionKey([u8; 32]);

/// A question, and how near it is.
pub type Near = (Arc<Answered>, f32);

type Listed = (QuestionKey, Arc<Answered>);

/// All questions. They are reached by whose they are, and in which context:
///
/// ```
/// # use std::time::{Duration, Instant};
/// # use flambeau::gateway::{Context, Questions};
/// let mut questions = Questions::new(1 << 20, Duration::from_secs(60));
/// let answered = questions.of("acme", Context([0; 32])).same("How do I pay?", Instant::now());
/// assert!(answered.is_none());
/// ```
///
/// and in no other way:
///
/// ```compile_fail
/// # use std::time::{Duration, Instant};
/// # use flambeau::gateway::{Context, Questions};
/// let mut questions = Questions::new(1 << 20, Duration::from_secs(60));
/// let answered = questions.same("How do I pay?", Instant::now());
/// ```
#[derive(Debug)]
pub struct Questions {
    kept: Kept<QuestionKey, Answered>,
    /// Those of each tenant and context, the oldest first. Some may be too old.
    contexts: HashMap<Arc<str>, HashMap<Context, Vec<Listed>>>,
}

/// The questions of one tenant in one context; there is no way to find those of all.
#[derive(Debug)]
pub struct Asked<'a> {
    questions: &'a mut Questions,
    tenant: &'a str,
    context: Context,
}

/// Stands for the tenant of what an administrator shares with all; no tenant is called so.
pub const SHARED: &str = "";

/// Questions of a context, at most: each is compared.
const MAX_IN_CONTEXT: usize = 1024;
impl Context {
    fn key(self, question: &str) -> QuestionKey {
        let mut hasher = Sha256::new_with_prefix(self.0);
        hasher.update(question);
        QuestionKey(hasher.finalize().into())
    }
}

impl Questions {
    /// None yet, of at most `max_bytes` together; older ones than `max_age` count for nothing.
    pub fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            kept: Kept::new(max_bytes, max_age),
            contexts: HashMap::new(),
        }
    }

    /// Those of this tenant in this context.
    pub fn of<'a>(&'a mut self, tenant: &'a str, context: Context) -> Asked<'a> {
        Asked {
            questions: self,
            tenant,
            context,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Bytes that they take.
    pub fn num_bytes(&self) -> usize {
        self.kept.num_bytes()
    }

    /// Grows whenever something of this tenant, or of what all share, was forgotten because somebody said so.
    pub fn era(&self, tenant: &str) -> u64 {
        self.kept.era(tenant) + self.kept.era(SHARED)
    }

    /// Forgets all, and says how many those were.
    pub fn clear(&mut self) -> usize {
        self.contexts = HashMap::new();
        self.kept.clear()
    }

    /// Forgets those that are `chosen`, and gives the ids of their records.
    pub fn purge(&mut self, chosen: &tags::Selection) -> Vec<[u8; 16]> {
        let is_chosen =
            |tenant: &str, answered: &Answered| chosen.has(tenant, &answered.given.tags);
        let tenant = chosen.tenant.as_deref();
        self.kept.begin_era(tenant);
        let mut gone = self.kept.remove_where(tenant, is_chosen);
        if tenant.is_some_and(|tenant| tenant != SHARED) {
            // What that one shares is its own.
            let shared = self.kept.remove_where(Some(SHARED), is_chosen);
            if !shared.is_empty() {
                self.kept.begin_era(Some(SHARED));
            }
            gone.extend(shared);
        }
        let ids = gone.iter().map(|(tenant, answered)| {
            let Answered {
                context, question, ..
            } = &**answered;
            let key = context.key(question);
            self.unlist(tenant, *context, |other| *other == key);
            record::record_id(tenant, *context, question)
        });
        ids.collect()
    }

    /// Remembers what a record says, as if it was answered at `since`, and gives the ids of the records that have to go for it. Nothing where
    /// it is of another release.
    pub fn restore(&mut self, record: &Record, since: Instant) -> Vec<[u8; 16]> {
        let Some((context, question, given)) = record::read(record) else {
            return Vec::new();
        };
        let mut asked = self.of(&record.tenant, context);
        asked.keep(Answered::new(context, question, None, given), since)
    }

    /// Takes questions off their context's list.
    fn unlist(&mut self, tenant: &str, context: Context, is_gone: impl Fn(&QuestionKey) -> bool) {
        let Some(own) = self.contexts.get_mut(tenant) else {
            return;
        };
        let Some(listed) = own.get_mut(&context) else {
            return;
        };
        listed.retain(|(key, _)| !is_gone(key));
        if listed.is_empty() {
            own.remove(&context);
        }
        if own.is_empty() {
            self.contexts.remove(tenant);
        }
    }
}

impl Asked<'_> {
    /// Whether there may be any.
    pub fn has_any(&self) -> bool {
        !self.listed().is_empty()
    }

    /// What was answered to the very same question.
    pub fn same(&mut self, question: &str, now: Instant) -> Option<Arc<Answered>> {
        let key = self.context.key(question);
        let found = self.questions.kept.of(self.tenant).find(key, now);
        if found.is_none() {
            // It may have become too old just now.
            (self.questions).unlist(self.tenant, self.context, |other| *other == key);
        }
        found
    }

    /// What was answered to the very same question, and since when that is kept.
    pub fn kept(&mut self, question: &str, now: Instant) -> Option<(Arc<Answered>, Instant)> {
        let answered = self.same(question, now)?;
        let key = self.context.key(question);
        let since = self.questions.kept.of(self.tenant).since(key)?;
        Some((answered, since))
    }

    /// What was answered last to a question that differs in form alone: in case, punctuation, white space or politeness.
    pub fn same_in_form(&mut self, form: NormalForm, now: Instant) -> Option<Arc<Answered>> {
        let is_same = |answered: &Answered| (answered.form == form).then_some(1.0);
        let mut found = self.best(1, is_same, now);
        found.pop().map(|(answered, _)| answered)
    }

    /// Up to `limit` questions without a vector, the newest first.
    pub fn without_vector(&self, limit: usize) -> Vec<Arc<Answered>> {
        let newest = self.listed().iter().rev().map(|(_, answered)| answered);
        let without = newest.filter(|answered| answered.vector.get().is_none());
        without.take(limit).cloned().collect()
    }

    /// Up to `limit` questions that have the most words in common, and how near they are: their [`Words::overlap`].
    pub fn alike(&mut self, words: &Words, limit: usize, now: Instant) -> Vec<Near> {
        let overlap = |answered: &Answered| Some(answered.words.overlap(words));
        self.best(limit, overlap, now)
    }

    /// Up to `limit` questions that point where `vector` does, as nearly as any, and how near they are: their [`Vector::cosine`].
    pub fn nearest(&mut self, vector: &Vector, limit: usize, now: Instant) -> Vec<Near> {
        let cosine = |answered: &Answered| Some(answered.vector.get()?.cosine(vector));
        self.best(limit, cosine, now)
    }

    /// Up to `limit` questions that score the most, these first; of equals the newest.
    fn best(
        &mut self,
        limit: usize,
        score: impl Fn(&Answered) -> Option<f32>,
        now: Instant,
    ) -> Vec<Near> {
        loop {
            let newest = self.listed().iter().rev();
            let scores = newest.filter_map(|(key, answered)| Some((*key, score(answered)?)));
            let mut scores: Vec<_> = scores.collect();
            scores.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            scores.truncate(limit);
            let mut own = self.questions.kept.of(self.tenant);
            let found = scores
                .iter()
                .map(|(key, score)| Some((own.find(*key, now)?, *score)));
            if let Some(found) = found.collect() {
                return found;
            }
            self.forget_old(now);
        }
    }

    /// Forgets those that are too old.
    fn forget_old(&mut self, now: Instant) {
        let keys: Vec<QuestionKey> = self.listed().iter().map(|(key, _)| *key).collect();
        let mut own = self.questions.kept.of(self.tenant);
        let mut old = HashSet::new();
        for key in keys {
            if !own.is_good(key, now) {
                own.remove(key);
                old.insert(key);
            }
        }
        (self.questions).unlist(self.tenant, self.context, |key| old.contains(key));
    }

    /// Keeps what was answered, in the place of what was answered to the same question before, and of what was not asked for the longest where
    /// there is no room: gives the ids of the records of the latter. As if it was answered at `now`.
    pub fn keep(&mut self, answered: Answered, now: Instant) -> Vec<[u8; 16]> {
        let mut gone = Vec::new();
        let (tenant, context) = (self.tenant, self.context);
        debug_assert_eq!(answered.context, context);
        let id = record::record_id(tenant, context, &answered.question);
        let key = context.key(&answered.question);
        (self.questions).unlist(tenant, context, |other| *other == key);
        let mut own = self.questions.kept.of(tenant);
        for (whose, forgotten) in own.keep(key, answered, now) {
            let Answered {
                context, question, ..
            } = &*forgotten;
            gone.push(record::record_id(&whose, *context, question));
            let key = context.key(question);
            (self.questions).unlist(&whose, *context, |other| *other == key);
        }
        // It may be too large for any place.
        let Some(answered) = self.questions.kept.of(tenant).find(key, now) else {
            gone.push(id);
            return gone;
        };
        let contexts = self.questions.contexts.entry(tenant.into()).or_default();
        let listed = contexts.entry(context).or_default();
        listed.push((key, answered));
        if listed.len() > MAX_IN_CONTEXT {
            let (oldest, answered) = listed.remove(0);
            self.questions.kept.of(tenant).remove(oldest);
            gone.push(record::record_id(tenant, context, &answered.question));
        }
        gone
    }

    fn listed(&self) -> &[Listed] {
        let own = self.questions.contexts.get(self.tenant);
        let listed = own.and_then(|own| own.get(&self.context));
        listed.map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
