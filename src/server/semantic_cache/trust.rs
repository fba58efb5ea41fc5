//! Whether answers of a model are given again to other questions, and what came of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::SemanticCache;
use super::rules::SemanticRules;
use crate::gateway::{FalseHits, Likeness, Reject, Took, Trust};
use crate::telemetry::{RequestMetrics, ServedAnswerMetrics, Telemetry, log_line};

/// Checks that run at a time: who is served does not wait for them, but the engine computes them.
const MAX_CHECKS: usize = 1;

/// Of one model.
pub(super) struct Trusted {
    name: String,
    /// Held for moments only.
    state: Mutex<State>,
    checks: Arc<Semaphore>,
    metrics: ServedAnswerMetrics,
}

struct State {
    /// Of each tenant, by how like the questions are. What one of them asks is not to turn off what others are given.
    hits: HashMap<String, [FalseHits; Likeness::ALL.len()]>,
    /// Of whom nothing is known.
    fresh: FalseHits,
    /// How often all was begun anew.
    generation: u64,
    tally: Tally,
}

/// What is checked: whose hit, how like the questions are, and since when they are counted.
#[derive(Clone)]
pub(in crate::server) struct Checked {
    pub tenant: String,
    pub likeness: Likeness,
    pub generation: u64,
}

/// What came of it since the process began.
#[derive(Clone, Debug, Default, Serialize)]
struct Tally {
    /// Answers given to questions that differ in form alone, and to such in other words.
    served_same: u64,
    served_alike: u64,
    /// Why none was given, how often.
    rejects: BTreeMap<&'static str, u64>,
    /// How often the model was asked, and how long that took.
    verifications: u64,
    verification_ms: f64,
    /// What generating the answers that were given again took when they were generated, less what it took to verify them.
    saved_engine_ms: f64,
    saved_ttft_ms: f64,
}

/// For who asks how it goes.
#[derive(Serialize)]
pub(in crate::server) struct Report {
    serves: &'static str,
    /// Tenants that are given none any more of one kind or another.
    off_for: Vec<String>,
    #[serde(flatten)]
    tally: Tally,
    checked: u64,
    wrong: u64,
    /// With a confidence of 95%, with the benchmark set's pairs counted in; of the tenant and kind where it is highest.
    false_hit_rate_interval: [f64; 2],
    max_false_hit_rate: f64,
}

impl Trusted {
    pub fn new(name: &str, rules: &SemanticRules, telemetry: &Telemetry) -> Self {
        let trusted = Self {
            name: name.to_owned(),
            state: Mutex::new(State {
                hits: HashMap::new(),
                fresh: FalseHits::new(rules.max_false_hit_rate, rules.shadow_rate),
                generation: 0,
                tally: Tally::default(),
            }),
            checks: Arc::new(Semaphore::new(MAX_CHECKS)),
            metrics: telemetry.served_answers(
                name,
                Likeness::ALL.into_iter().map(Likeness::as_str),
                Reject::all().map(Reject::as_str),
            ),
        };
        trusted.publish(&trusted.state());
        trusted
    }

    /// Whether answers are given to questions of `tenant` that are so like, and since when that is counted.
    pub fn trust(&self, tenant: &str, likeness: Likeness) -> (Trust, u64) {
        let state = self.state();
        (state.of(tenant, likeness).trust(), state.generation)
    }

    /// Begins anew.
    pub fn reset(&self) {
        let mut state = self.state();
        state.hits = HashMap::new();
        state.generation += 1;
        self.publish(&state);
    }

    /// None was given.
    pub fn rejected(&self, why: Reject) {
        self.metrics.rejected(why.as_str());
        *self.state().tally.rejects.entry(why.as_str()).or_default() += 1;
    }

    /// The model was asked whether one is an answer to this question, too.
    pub fn verified(&self, elapsed: Duration) {
        self.metrics.verified(elapsed);
        let mut state = self.state();
        state.tally.verifications += 1;
        state.tally.verification_ms += ms(elapsed);
    }

    /// One was given, which took `elapsed`, of which `verification` was the engine's, in the place of what it `took` to generate it.
    pub fn served(
        &self,
        likeness: Likeness,
        (elapsed, verification): (Duration, Duration),
        took: Took,
    ) {
        let saved = took.engine.saturating_sub(verification);
        self.metrics.served(likeness.as_str(), saved);
        let tally = &mut self.state().tally;
        match likeness {
            Likeness::Same => tally.served_same += 1,
            Likeness::Alike => tally.served_alike += 1,
        }
        tally.saved_engine_ms += ms(saved);
        tally.saved_ttft_ms += ms(took.ttft.saturating_sub(elapsed));
    }

    /// A turn to check the answer that is given now, where one is to be checked and there is room.
    pub fn check_due(&self, checked: &Checked) -> Option<OwnedSemaphorePermit> {
        let mut state = self.state();
        let hits = state.of_mut(&checked.tenant, checked.likeness);
        let turn = hits.is_due().then(|| self.check_turn())??;
        hits.checks();
        Some(turn)
    }

    /// A turn to check an answer, where there is room.
    pub fn check_turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.checks).try_acquire_owned().ok()
    }

    /// An answer was checked that was given, or would have been. What is from before it all began anew counts for nothing.
    pub fn checked(&self, checked: &Checked, is_wrong: bool) {
        let mut state = self.state();
        if state.generation != checked.generation {
            return;
        }
        self.metrics.checked(is_wrong);
        let hits = state.of_mut(&checked.tenant, checked.likeness);
        if hits.checked(is_wrong) {
            let (num_checked, num_wrong) = hits.counts();
            log_line(&format!(
                "cache.semantic: {:?} is not given answers of {} again any more to questions that are {}: {num_wrong} of {num_checked} that were checked were wrong, so that up to {:.1}% may be; questions go to the model, and /admin/cache/reset begins anew",
                checked.tenant,
                self.name,
                checked.likeness.as_str(),
                100.0 * hits.upper_bound(),
            ));
        }
        self.publish(&state);
    }

    pub fn report(&self, rules: &SemanticRules) -> Report {
        let state = self.state();
        let lost = |hits: &FalseHits| hits.trust() == Trust::Lost;
        let off_for = state.hits.iter().filter(|(_, own)| own.iter().any(lost));
        let mut off_for: Vec<String> = off_for.map(|(tenant, _)| tenant.clone()).collect();
        off_for.sort_unstable();
        let counts = state.all().map(FalseHits::counts);
        let (checked, wrong) = counts.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        Report {
            serves: match state.trust() {
                Trust::Given => "yes",
                Trust::Unproven => "unproven",
                Trust::Lost => "off",
            },
            off_for,
            tally: state.tally.clone(),
            checked,
            wrong,
            false_hit_rate_interval: state.interval(),
            max_false_hit_rate: rules.max_false_hit_rate,
        }
    }

    fn publish(&self, state: &State) {
        let is_trusted = state.trust() == Trust::Given;
        self.metrics.trust(state.interval()[1], is_trusted);
    }

    // Nothing is half done when a holder panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn of(&self, tenant: &str, likeness: Likeness) -> &FalseHits {
        let own = self.hits.get(tenant);
        own.map_or(&self.fresh, |own| &own[likeness as usize])
    }

    fn of_mut(&mut self, tenant: &str, likeness: Likeness) -> &mut FalseHits {
        if !self.hits.contains_key(tenant) {
            let fresh = std::array::from_fn(|_| self.fresh.clone());
            self.hits.insert(tenant.to_owned(), fresh);
        }
        let own = self.hits.get_mut(tenant);
        &mut own.expect("it was put there: this is a bug")[likeness as usize]
    }

    fn all(&self) -> impl Iterator<Item = &FalseHits> {
        std::iter::once(&self.fresh).chain(self.hits.values().flatten())
    }

    /// The worst of all.
    fn trust(&self) -> Trust {
        let all = self.all().map(FalseHits::trust);
        all.max_by_key(|trust| *trust as u8).unwrap_or(Trust::Given)
    }

    /// The bounds of the one whose upper is the highest.
    fn interval(&self) -> [f64; 2] {
        let bounds = |hits: &FalseHits| [hits.lower_bound(), hits.upper_bound()];
        let all = self.all().map(bounds);
        let highest = all.max_by(|[_, a], [_, b]| a.total_cmp(b));
        highest.unwrap_or([0.0, 1.0])
    }
}

impl SemanticCache {
    /// What came of giving answers again, by model.
    pub(in crate::server) fn report(&self) -> BTreeMap<&str, Report> {
        let of_models = self.models.iter();
        let reports = of_models.map(|(name, of)| (&**name, of.trusted.report(&self.rules)));
        reports.collect()
    }

    /// Whether answers of `model` are given again to questions of `tenant` that are so like, and since when that is counted.
    pub(in crate::server) fn trust(
        &self,
        model: &str,
        tenant: &str,
        likeness: Likeness,
    ) -> (Trust, u64) {
        let of_model = self.models.get(model);
        let trust = of_model.map(|of_model| of_model.trusted.trust(tenant, likeness));
        trust.unwrap_or((Trust::Lost, 0))
    }

    /// Counts that no answer of `model` was given again, and why.
    pub(in crate::server) fn rejected(&self, model: &str, why: Reject) {
        if let Some(of_model) = self.models.get(model) {
            of_model.trusted.rejected(why);
        }
    }

    /// Counts that `model` was asked about an answer, which took so long.
    pub(in crate::server) fn verified(&self, model: &str, elapsed: Duration) {
        if let Some(of_model) = self.models.get(model) {
            of_model.trusted.verified(elapsed);
        }
    }

    /// Counts that an answer of `model` is given again, which took `times`, all of it and the engine's, in the place of what it `took` to generate
    /// it. Gives the metrics of who is given it.
    pub(in crate::server) fn served(
        &self,
        model: &str,
        likeness: Likeness,
        times: (Duration, Duration),
        took: Took,
    ) -> Option<RequestMetrics> {
        let of_model = self.models.get(model)?;
        of_model.trusted.served(likeness, times, took);
        Some(of_model.requests.clone())
    }

    /// A turn to check the answer of `model` that is given now, where it is to be checked.
    pub(in crate::server) fn check_due(
        &self,
        model: &str,
        checked: &Checked,
    ) -> Option<OwnedSemaphorePermit> {
        self.models.get(model)?.trusted.check_due(checked)
    }

    /// A turn to check an answer of `model` that would have been given.
    pub(in crate::server) fn check_turn(&self, model: &str) -> Option<OwnedSemaphorePermit> {
        self.models.get(model)?.trusted.check_turn()
    }

    /// Notes whether an answer of `model` that was given again, or would have been, was wrong.
    pub(in crate::server) fn checked(&self, model: &str, checked: &Checked, is_wrong: bool) {
        if let Some(of_model) = self.models.get(model) {
            of_model.trusted.checked(checked, is_wrong);
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
