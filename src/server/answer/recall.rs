//! A request's way past the model: what was answered before is given again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::again::{Again, Keeping};
use super::ask::Ask;
use super::chain::Chain;
use super::remembering::Remembering;
use super::serving::{Hit, Serving, Trace};
use crate::gateway::{Answer, Reject};
use crate::server::models::Chosen;
use crate::server::state::AppState;
use crate::telemetry::{AnswerCacheLevel, RequestMetrics};

/// Of the caches of answers, for a tenant, at one time.
#[derive(Clone, Copy)]
pub(crate) struct Eras {
    exact: u64,
    semantic: u64,
}

impl Eras {
    /// Now.
    pub fn of(state: &AppState, tenant: &str) -> Self {
        let (exact, semantic) = (state.answers.as_ref(), state.semantic.as_ref());
        Self {
            exact: exact.map_or(0, |answers| answers.era(tenant)),
            semantic: semantic.map_or(0, |cache| cache.era(tenant)),
        }
    }
}

/// Where the answer of `chosen` is kept, if it is.
pub(super) fn keeping(
    state: &AppState,
    ask: &Ask,
    (tenant, eras): (&str, Eras),
    chosen: &Chosen,
) -> Option<Keeping> {
    let (asked, answers) = ask.repeatable.as_ref().zip(state.answers.clone())?;
    Some(asked.keeping(answers, (tenant, eras.exact), chosen))
}

/// What `chosen` is asked, where answers to such questions are remembered.
pub(super) fn remembering(
    state: &AppState,
    ask: &Ask,
    (tenant, eras): (&str, Eras),
    chosen: &Chosen,
) -> Option<Remembering> {
    let (question, cache) = (ask.question.as_ref()).zip(state.semantic.clone())?;
    let mode = cache.mode(state.tenants.policy(tenant), ask.route);
    Remembering::new(question, (cache, mode), (tenant, eras.semantic), chosen)
}

impl Chain {
    /// Where the answer of `chosen` is kept, if it is.
    pub(super) fn keeping(&self, chosen: &Chosen) -> Option<Keeping> {
        let whose = (self.received.tenant(), self.eras);
        keeping(&self.state, &self.ask, whose, chosen)
    }

    /// What `chosen` is asked, where answers to such questions are remembered.
    pub(super) fn remembering(&self, chosen: &Chosen) -> Option<Remembering> {
        let whose = (self.received.tenant(), self.eras);
        remembering(&self.state, &self.ask, whose, chosen)
    }

    /// How `name` gives an answer again.
    pub(super) fn given_again(
        &self,
        level: AnswerCacheLevel,
        name: String,
        metrics: RequestMetrics,
    ) -> Again {
        let least = self.state.options.min_cached_latency;
        Again::of(
            level,
            name,
            metrics,
            least.map(|least| self.received.at + least),
        )
    }
}

/// What it may take to find out. Who is not to be waited for that long is asked as if there were no answer: what a model does that hangs is for
/// others to find out.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a check may take, for which nobody waits.
const CHECK_PATIENCE: Duration = Duration::from_secs(120);

/// [`Remembering::find`], for as long as that may take.
pub(super) async fn find(
    ask: &Ask,
    asked: &mut Remembering,
    serving: Serving,
    trace: &mut Trace,
) -> Result<Hit, Reject> {
    let found = timeout(PATIENCE, asked.find(ask, serving, trace)).await;
    found.unwrap_or(Err(Reject::Unasked))
}

/// The answer to a question that asks the same, where such answers are given again, and the metrics of who is given it.
pub(super) async fn serve(
    ask: &Ask,
    asked: &mut Remembering,
    serving: Serving,
) -> Option<(Arc<Answer>, RequestMetrics)> {
    let (begun, mut trace) = (Instant::now(), Trace::default());
    let found = find(ask, asked, serving, &mut trace).await;
    let (cache, model) = (&asked.cache, &asked.model);
    if !trace.verification.is_zero() {
        cache.verified(model, trace.verification);
    }
    let hit = match found {
        Ok(hit) => hit,
        Err(why) => {
            cache.rejected(model, why);
            return None;
        }
    };
    let answered = &hit.answered;
    cache.looked_up(model, Some(answered));
    if asked.is_searched {
        cache.searched(model, answered.given.choice.tokens.len());
    }
    let times = (begun.elapsed(), trace.verification);
    let metrics = cache.served(model, hit.likeness, times, answered.given.took)?;
    let answer = hit.answer();
    if hit.check.is_telling()
        && let Some(turn) = cache.check_due(model, &hit.check.checked)
    {
        tokio::spawn(async move {
            // Whoever takes longer stands in the way of the next.
            let _ = timeout(CHECK_PATIENCE, hit.check.run()).await;
            drop(turn);
        });
    }
    Some((answer, metrics))
}
