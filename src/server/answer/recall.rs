//! A request's way past the model: what was answered before is given again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::again::{Again, Keeping};
use super::ask::Ask;
use super::chain::Chain;
use super::remembering::Remembering;
use super::serving::{Serving, Trace};
use crate::gateway::{Answer, Reject};
use crate::server::models::Chosen;
use crate::server::state::AppState;
use crate::telemetry::{AnswerCacheLevel, RequestMetrics};

/// Where the answer of `chosen` is kept, if it is.
pub(super) fn keeping(
    state: &AppState,
    ask: &Ask,
    tenant: &str,
    chosen: &Chosen,
) -> Option<Keeping> {
    let (asked, answers) = ask.repeatable.as_ref().zip(state.answers.clone())?;
    Some(asked.keeping(answers, tenant, chosen))
}

/// What `chosen` is asked, where answers to such questions are remembered.
pub(super) fn remembering(
    state: &AppState,
    ask: &Ask,
    tenant: &str,
    chosen: &Chosen,
) -> Option<Remembering> {
    let (question, cache) = (ask.question.as_ref()).zip(state.semantic.clone())?;
    let mode = cache.mode(state.tenants.policy(tenant), ask.route);
    Remembering::new(question, (cache, mode), tenant, chosen)
}

impl Chain {
    /// Where the answer of `chosen` is kept, if it is.
    pub(super) fn keeping(&self, chosen: &Chosen) -> Option<Keeping> {
        keeping(&self.state, &self.ask, self.received.tenant(), chosen)
    }

    /// What `chosen` is asked, where answers to such questions are remembered.
    pub(super) fn remembering(&self, chosen: &Chosen) -> Option<Remembering> {
        remembering(&self.state, &self.ask, self.received.tenant(), chosen)
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

/// The answer to a question that asks the same, where such answers are given again, and the metrics of who is given it.
pub(super) async fn serve(
    ask: &Ask,
    asked: &mut Remembering,
    serving: Serving,
) -> Option<(Arc<Answer>, RequestMetrics)> {
    let (begun, mut trace) = (Instant::now(), Trace::default());
    let found = timeout(PATIENCE, asked.find(ask, serving, &mut trace)).await;
    let found = found.unwrap_or(Err(Reject::Unasked));
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
        cache.searched(model, answered.answer.tokens.len());
    }
    let times = (begun.elapsed(), trace.verification);
    let metrics = cache.served(model, hit.likeness, times, answered.took)?;
    let answer = hit.answer();
    if hit.check.is_telling()
        && let Some(turn) = cache.check_due(model, &hit.check.checked)
    {
        tokio::spawn(async move {
            hit.check.run().await;
            drop(turn);
        });
    }
    Some((answer, metrics))
}
