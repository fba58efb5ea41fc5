//! Questions that were answered before, shared by all requests, and what tells how near they are.

mod nearest;
mod rules;
mod trust;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::Semaphore;

use trust::Trusted;
use writer::Writer;

pub(in crate::server) use nearest::is_near;
pub use rules::SemanticRules;
pub(in crate::server) use trust::Checked;

use crate::gateway::{
    Answered, Context, Given, NormalForm, Policy, Questions, SHARED, Searches, Selection,
    SemanticMode, Vector, Words, record_of,
};
use crate::server::embedder::EmbeddingModel;
use crate::store::{Place, Record, Records, StoreError};
use crate::telemetry::{
    AnswerCacheGauges, AnswerCacheLevel, AnswerCacheMetrics, RequestMetrics, Telemetry, Tier,
    log_line,
};

/// Questions that are looked for at a time. Who comes when as many are goes without.
const MAX_AT_ONCE: usize = 8;

/// What was answered to a question, and how near that is.
type Near = (Arc<Answered>, f32);

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
    rules: SemanticRules,
    models: HashMap<String, OfModel>,
    says_that_it_failed: Once,
}

struct OfModel {
    metrics: AnswerCacheMetrics,
    /// Of who is given an answer again.
    requests: RequestMetrics,
    /// Whether it pays to look for questions by where they point.
    searches: Searches,
    /// Whether answers are given again.
    trusted: Trusted,
}

impl SemanticCache {
    /// For answers of models with these names, of at most `max_bytes` together, none older than `max_age`; `embedder` says which questions are
    /// near, and `rules` what becomes of their answers.
    pub fn new<'a>(
        models: impl Iterator<Item = &'a str>,
        embedder: Arc<EmbeddingModel>,
        (max_bytes, max_age): (usize, Duration),
        rules: SemanticRules,
        telemetry: &Telemetry,
    ) -> Self {
        let level = AnswerCacheLevel::Semantic;
        let of_model = |name: &str| {
            let of_model = OfModel {
                metrics: telemetry.answer_cache_of(name, level),
                requests: telemetry.requests(name, Tier::Cache),
                searches: Searches::default(),
                trusted: Trusted::new(name, &rules, telemetry),
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
            rules,
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
            (self.models.values()).for_each(|of_model| of_model.trusted.reset());
            // Before anything that is remembered from now on.
            (num, self.writer.as_ref().map(Writer::clear))
        };
        if let Some(written) = written {
            written.await?;
        }
        Ok(num)
    }

    /// Grows whenever something of this tenant was forgotten because somebody said so.
    pub(super) fn era(&self, tenant: &str) -> u64 {
        self.questions().era(tenant)
    }

    /// Forgets those that are `chosen`, wherever they are, and says how many those were.
    ///
    /// # Errors
    /// Why they are still on the disk.
    pub(super) async fn purge(&self, chosen: &Selection) -> Result<usize, String> {
        let (num, written) = {
            let mut questions = self.questions();
            let gone = questions.purge(chosen);
            self.publish(&questions);
            let num = gone.len();
            (num, self.writer.as_ref().map(|writer| writer.purge(gone)))
        };
        if let Some(written) = written {
            written.await?;
        }
        Ok(num)
    }

    /// Gives all tenants what one of them was answered to a question, in the same context, also after a restart where it `outlives` one. Whether
    /// there is such an answer.
    pub(super) fn share(
        &self,
        (tenant, context): (&str, Context),
        question: &str,
        outlives: bool,
    ) -> bool {
        let (own, era) = {
            let mut questions = self.questions();
            let own = questions.of(tenant, context).kept(question, Instant::now());
            (own, questions.era(tenant))
        };
        // What was remembered as a draft is given to nobody.
        let Some((own, since)) = own.filter(|(own, _)| own.given.scores.is_some()) else {
            return false;
        };
        let (question, vector) = (Arc::clone(&own.question), own.vector.get().cloned());
        let mut given = own.given.clone();
        given.tags.shared_by = Some(tenant.to_owned());
        let answered = Answered::new(context, question, vector, given);
        let record = self.record(SHARED, &answered, outlives, since);
        let mut questions = self.questions();
        let is_there = questions.era(tenant) == era;
        if is_there {
            self.put(&mut questions, (SHARED, context), (answered, since), record);
        }
        is_there
    }

    /// How many there are, and the bytes that they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let questions = self.questions();
        (questions.len(), questions.num_bytes())
    }

    /// What becomes of answers to questions like one of a tenant with this policy, on a route.
    pub(super) fn mode(&self, policy: Policy, route: &str) -> SemanticMode {
        self.rules.mode(policy, route)
    }

    /// Whether a tenant with this policy may be given answers again on any route.
    pub(super) fn may_serve(&self, policy: Policy) -> bool {
        self.rules.may_serve(policy)
    }

    /// Whether questions that speak of now are given answers again.
    pub(super) fn allows_time_words(&self) -> bool {
        self.rules.time_words
    }

    /// What `tenant` was answered to the very same question.
    pub(super) fn same(
        &self,
        tenant: &str,
        context: Context,
        question: &str,
    ) -> Option<Arc<Answered>> {
        let (mut questions, now) = (self.questions(), Instant::now());
        let mut of = |tenant| questions.of(tenant, context).same(question, now);
        of(tenant).or_else(|| of(SHARED))
    }

    /// What `tenant` was answered to a question that differs in form alone.
    pub(super) fn same_in_form(
        &self,
        tenant: &str,
        context: Context,
        question: &str,
    ) -> Option<Arc<Answered>> {
        let form = NormalForm::of(question);
        let (mut questions, now) = (self.questions(), Instant::now());
        let mut of = |tenant| questions.of(tenant, context).same_in_form(form, now);
        let (own, shared) = (of(tenant), of(SHARED));
        // One that may be given comes before a draft.
        let (scored, drafts): (Vec<_>, Vec<_>) = (own.into_iter().chain(shared))
            .partition(|answered: &Arc<Answered>| answered.given.scores.is_some());
        scored.into_iter().chain(drafts).next()
    }

    /// What `tenant` was answered to up to `limit` questions in this context that have the most words in common, and how near they are.
    pub(super) fn alike(
        &self,
        tenant: &str,
        context: Context,
        question: &str,
        limit: usize,
    ) -> Vec<Near> {
        let (words, now) = (Words::of(question), Instant::now());
        self.nearest_of_both(tenant, limit, |questions, tenant| {
            questions.of(tenant, context).alike(&words, limit, now)
        })
    }

    /// The nearest of the tenant's own and of those that all share.
    fn nearest_of_both(
        &self,
        tenant: &str,
        limit: usize,
        find: impl Fn(&mut Questions, &str) -> Vec<Near>,
    ) -> Vec<Near> {
        let mut questions = self.questions();
        let mut all = find(&mut questions, tenant);
        all.extend(find(&mut questions, SHARED));
        self.publish(&questions);
        all.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        all.truncate(limit);
        all
    }

    /// Whether to look for what `tenant` was answered to questions in this context that point where one does.
    pub(super) fn is_worth_a_search(&self, tenant: &str, context: Context, model: &str) -> bool {
        let of_model = self.models.get(model);
        self.has_any(tenant, context)
            && of_model.is_some_and(|of_model| of_model.searches.next_pays())
    }

    /// Whether `tenant` may have been answered any question in this context.
    pub(super) fn has_any(&self, tenant: &str, context: Context) -> bool {
        let mut questions = self.questions();
        let mut of = |tenant| questions.of(tenant, context).has_any();
        of(tenant) || of(SHARED)
    }

    /// What a search for an answer of `model` has given: tokens of the answer that was found that were right.
    pub(super) fn searched(&self, model: &str, num_right: usize) {
        if let Some(of_model) = self.models.get(model) {
            of_model.searches.learn(num_right);
        }
    }

    /// Counts that an answer of `model` was looked for.
    pub(super) fn looked_up(&self, model: &str, found: Option<&Arc<Answered>>) {
        if let Some(of_model) = self.models.get(model) {
            of_model
                .metrics
                .looked_up(found.map(|answered| answered.given.choice.tokens.len()));
        }
    }

    /// Remembers an answer that was begun in `era`, unless all were forgotten since; where it `outlives` the process, also on the disk.
    pub(super) fn keep(
        &self,
        (tenant, context): (&str, Context),
        question: Arc<str>,
        vector: Option<Vector>,
        given: Given,
        (era, outlives): (u64, bool),
    ) {
        let answered = Answered::new(context, question, vector, given);
        let since = Instant::now();
        let record = self.record(tenant, &answered, outlives, since);
        let mut questions = self.questions();
        if questions.era(tenant) == era {
            self.put(&mut questions, (tenant, context), (answered, since), record);
        }
    }

    /// What is written down of it, where that is, as of `since`.
    fn record(
        &self,
        tenant: &str,
        answered: &Answered,
        outlives: bool,
        since: Instant,
    ) -> Option<Record> {
        let left = self.max_age.saturating_sub(since.elapsed());
        let expires = unix_seconds() + left.as_secs();
        (self.writer.is_some() && outlives).then(|| record_of(tenant, answered, expires))
    }

    fn put(
        &self,
        questions: &mut Questions,
        (tenant, context): (&str, Context),
        (answered, since): (Answered, Instant),
        record: Option<Record>,
    ) {
        let gone = questions.of(tenant, context).keep(answered, since);
        if let Some(writer) = &self.writer {
            if let Some(record) = record.filter(|record| !gone.contains(&record.id)) {
                writer.put(record);
            }
            writer.remove(gone);
        }
        self.publish(questions);
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
