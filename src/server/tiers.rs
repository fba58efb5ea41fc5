//! Who answers when the model that was asked would be too late, or has failed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::models::{Served, Target};
use super::probe::probe;
use crate::gateway::{Breaker, StaticTexts, Verdict};
use crate::remote::RemoteError;
use crate::telemetry::{
    Cause, CircuitMetrics, FallbackMetrics, RequestMetrics, Telemetry, Tier, log_line,
};

/// A model, the ones that answer instead of it, and what is said when none does.
pub struct Tiers {
    chain: Vec<Arc<TierModel>>,
    /// In which time the first token is to come.
    pub(super) slo_ttft: Duration,
    pub(super) texts: StaticTexts,
    /// Of answers by `texts`.
    pub(super) static_metrics: RequestMetrics,
    static_falls: FallbackMetrics,
    recalls: bool,
}

/// A model of the chain.
pub(super) struct TierModel {
    pub served: Served,
    /// Of its answers in the place of the first.
    pub metrics: RequestMetrics,
    falls: FallbackMetrics,
    breaker: Mutex<Breaker>,
    circuit: CircuitMetrics,
}

/// What a static answer calls its model.
pub(super) const STATIC: &str = "static";

impl Tiers {
    /// `first` and, one after the other, those that answer instead of it.
    pub fn new(
        first: Served,
        others: Vec<Served>,
        slo_ttft: Duration,
        texts: StaticTexts,
        telemetry: &Telemetry,
    ) -> Self {
        let asked = first.name().to_owned();
        let tier = |served: Served| {
            Arc::new(TierModel {
                metrics: telemetry.requests(served.name(), Tier::Fallback),
                falls: telemetry.fallbacks(&asked, served.name()),
                breaker: Mutex::default(),
                circuit: telemetry.circuit(served.name()),
                served,
            })
        };
        Self {
            slo_ttft,
            texts,
            static_metrics: telemetry.requests(STATIC, Tier::Static),
            static_falls: telemetry.fallbacks(&asked, STATIC),
            recalls: false,
            chain: std::iter::once(first).chain(others).map(tier).collect(),
        }
    }

    /// Gives again what the first model has answered before, where no model answers.
    #[must_use]
    pub fn recalling(self) -> Self {
        Self {
            recalls: true,
            ..self
        }
    }

    /// Whether it does.
    pub(super) fn recalls(&self) -> bool {
        self.recalls
    }

    /// Whether it is for requests to this: the first model, and none of its adapters.
    pub(super) fn is_for(&self, target: &Target) -> bool {
        match (&self.chain[0].served, target) {
            (Served::Here(first), Target::Here(chosen)) => {
                chosen.adapter.is_none() && Arc::ptr_eq(first, &chosen.model)
            }
            (Served::Elsewhere(first), Target::Elsewhere(model)) => Arc::ptr_eq(first, model),
            _ => false,
        }
    }

    /// The model at a place of the chain, the first being 0.
    pub(super) fn model(&self, i: usize) -> Option<&Arc<TierModel>> {
        self.chain.get(i)
    }

    /// A request went on to the `i`th model, or beyond the last to a text.
    pub(super) fn count(&self, i: usize, cause: Cause) {
        match self.chain.get(i) {
            Some(tier) => tier.falls.count(cause),
            None => self.static_falls.count(cause),
        }
    }

    /// Whether there is something to say where no model answers.
    pub(super) fn has_texts(&self) -> bool {
        !self.texts.is_empty()
    }
}

impl TierModel {
    // Nothing is half done when a holder panics.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be asked. Where it has failed and it is time to look whether it is well again, that is begun.
    pub fn is_asked(self: &Arc<Self>) -> bool {
        let verdict = self.breaker().verdict(Instant::now());
        if verdict == Verdict::SkipAndProbe {
            let tier = Arc::clone(self);
            // Not awaited by anybody: a probe that hangs is given up by the breaker.
            tokio::spawn(async move {
                let probed = match &tier.served {
                    Served::Here(model) => probe(model).await,
                    Served::Elsewhere(remote) => match remote.model.probe().await {
                        Ok(()) => Ok(()),
                        Err(error) if is_alive(&error) => Ok(()),
                        Err(error) => Err(error.to_string()),
                    },
                };
                tier.probed(probed);
            });
        }
        verdict == Verdict::Ask
    }

    fn probed(&self, probed: Result<(), String>) {
        let name = self.served.name();
        let is_open = {
            let mut breaker = self.breaker();
            breaker.probed(Instant::now(), probed.is_ok());
            breaker.is_open()
        };
        self.circuit.set(is_open);
        log_line(&match probed {
            Ok(()) => format!("{name} is well again"),
            Err(why) => format!("{name} is still not well: {why}"),
        });
    }

    /// It has given a token.
    pub fn succeeded(&self) {
        self.breaker().succeeded();
    }

    /// It has failed; `is_certain` where once is enough to leave it alone.
    pub fn failed(&self, why: &str, is_certain: bool) {
        let (was_open, is_open) = {
            let mut breaker = self.breaker();
            let was_open = breaker.is_open();
            breaker.failed(Instant::now(), is_certain);
            (was_open, breaker.is_open())
        };
        if is_open && !was_open {
            self.circuit.set(true);
            let name = self.served.name();
            log_line(&format!(
                "{name} has failed and is not asked for a while: {why}"
            ));
        }
    }
}

/// Whether a server that says this of a probe answers requests all the same: it is busy, or takes others.
fn is_alive(error: &RemoteError) -> bool {
    match error {
        RemoteError::Busy { .. } => true,
        RemoteError::Refused { status, .. } => matches!(status, 400 | 422),
        _ => false,
    }
}
