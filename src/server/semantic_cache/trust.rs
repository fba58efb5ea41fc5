//! Whether answers of a model are given again to other questions, and what came of it.

use std::collections::BTreeMap;
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
    hits: FalseHits,
    tally: Tally,
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
    #[serde(flatten)]
    tally: Tally,
    checked: u64,
    wrong: u64,
    /// With a confidence of 95%, with the benchmark set's pairs counted in.
    false_hit_rate_upper_bound: f64,
    max_false_hit_rate: f64,
}

impl Trusted {
    pub fn new(name: &str, rules: &SemanticRules, telemetry: &Telemetry) -> Self {
        let trusted = Self {
            name: name.to_owned(),
            state: Mutex::new(State {
                hits: FalseHits::new(rules.max_false_hit_rate, rules.shadow_rate),
                tally: Tally::default(),
            }),
            checks: Arc::new(Semaphore::new(MAX_CHECKS)),
            metrics: telemetry.served_answers(
                name,
                Likeness::ALL.into_iter().map(Likeness::as_str),
                Reject::all().map(Reject::as_str),
            ),
        };
        trusted.publish(&trusted.state().hits);
        trusted
    }

    /// Whether answers are given.
    pub fn trust(&self) -> Trust {
        self.state().hits.trust()
    }

    /// Begins anew.
    pub fn reset(&self) {
        let mut state = self.state();
        state.hits.reset();
        self.publish(&state.hits);
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

    /// A turn to check the answer that is given now, where that one is to be checked and there is room.
    pub fn check_due(&self) -> Option<OwnedSemaphorePermit> {
        let is_due = self.state().hits.next_is_checked();
        let turn = is_due.then(|| Arc::clone(&self.checks).try_acquire_owned());
        turn?.ok()
    }

    /// An answer was checked that was given, or would have been.
    pub fn checked(&self, is_wrong: bool) {
        self.metrics.checked(is_wrong);
        let mut state = self.state();
        if state.hits.checked(is_wrong) {
            let (num_checked, num_wrong) = state.hits.counts();
            log_line(&format!(
                "cache.semantic: answers of {} are not given again any more: {num_wrong} of {num_checked} that were checked were wrong, so that up to {:.1}% may be; questions go to the model, and /admin/cache/reset begins anew",
                self.name,
                100.0 * state.hits.upper_bound(),
            ));
        }
        self.publish(&state.hits);
    }

    pub fn report(&self, rules: &SemanticRules) -> Report {
        let state = self.state();
        let (checked, wrong) = state.hits.counts();
        Report {
            serves: match state.hits.trust() {
                Trust::Given => "yes",
                Trust::Unproven => "unproven",
                Trust::Lost => "off",
            },
            tally: state.tally.clone(),
            checked,
            wrong,
            false_hit_rate_upper_bound: state.hits.upper_bound(),
            max_false_hit_rate: rules.max_false_hit_rate,
        }
    }

    fn publish(&self, hits: &FalseHits) {
        self.metrics
            .trust(hits.upper_bound(), hits.trust() == Trust::Given);
    }

    // Nothing is half done when a holder panics.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SemanticCache {
    /// What came of giving answers again, by model.
    pub(in crate::server) fn report(&self) -> BTreeMap<&str, Report> {
        let of_models = self.models.iter();
        let reports = of_models.map(|(name, of)| (&**name, of.trusted.report(&self.rules)));
        reports.collect()
    }

    /// Whether answers of `model` are given again.
    pub(in crate::server) fn trust(&self, model: &str) -> Trust {
        let of_model = self.models.get(model);
        of_model.map_or(Trust::Lost, |of_model| of_model.trusted.trust())
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
    pub(in crate::server) fn check_due(&self, model: &str) -> Option<OwnedSemaphorePermit> {
        self.models.get(model)?.trusted.check_due()
    }

    /// Notes whether an answer of `model` that was given again, or would have been, was wrong.
    pub(in crate::server) fn checked(&self, model: &str, is_wrong: bool) {
        if let Some(of_model) = self.models.get(model) {
            of_model.trusted.checked(is_wrong);
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
