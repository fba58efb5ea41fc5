//! From a request that was read to a response: one JSON body or a stream.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::account::Timings;
use super::answering::Answering;
use super::ask::Ask;
use super::chain::Chain;
use super::received::Received;
use super::sse;
use super::wire::Whole;
use crate::server::error::ApiError;
use crate::server::state::AppState;
use crate::telemetry::Tier;

/// Has `ask` answered.
pub(crate) async fn respond(
    state: AppState,
    received: Arc<Received>,
    ask: Ask,
) -> Result<Response, ApiError> {
    let keep_alive = state.options.keep_alive;
    let (chain, begun) = Chain::new(state.clone(), received, ask).go_on().await;
    let begun = begun.map_err(|failure| failure.error)?;
    let is_stream = begun.is_stream;
    let counts = (begun.num_candidates, begun.num_choices);
    let answering = Answering::new(&state, chain, begun);
    if is_stream {
        return sse::respond(answering, keep_alive).await;
    }
    let (answering, all) = collect(answering).await?;
    let shown = best(all, counts.0, counts.1);
    Ok(whole(answering, &shown))
}

/// Waits for all of the answer. Dropped with the connection, it cancels the generation.
async fn collect(mut answering: Answering) -> Result<(Answering, Vec<Whole>), ApiError> {
    let mut all: Vec<Whole> = Vec::new();
    while let Some(next) = answering.next().await {
        let generation = &mut answering.generation;
        let (i, delta) = match next {
            Ok(next) => next,
            Err(failure) => {
                generation.fail(&failure.error);
                return Err(failure.error);
            }
        };
        generation.handed_on(&delta);
        if all.len() <= i {
            all.resize_with(i + 1, Whole::default);
        }
        all[i].push(delta);
    }
    answering.generation.close();
    Ok((answering, all))
}

/// Of each prompt's candidates the likeliest a token, those first; all have the prompt's scores.
fn best(mut all: Vec<Whole>, num_candidates: usize, num_choices: usize) -> Vec<Whole> {
    let mut shown = Vec::new();
    while !all.is_empty() {
        let rest = all.split_off(num_candidates.min(all.len()));
        let scores = all[0].prompt_logprobs.clone();
        all.iter_mut()
            .for_each(|whole| whole.prompt_logprobs.clone_from(&scores));
        if num_candidates == num_choices {
            shown.append(&mut all);
            all = rest;
            continue;
        }
        // Equal ones stay in their order.
        all.sort_by(|a, b| b.mean_logprob().total_cmp(&a.mean_logprob()));
        all.truncate(num_choices);
        shown.append(&mut all);
        all = rest;
    }
    shown
}

fn whole(mut answering: Answering, choices: &[Whole]) -> Response {
    let generation = &answering.generation;
    let (timings, usage) = (generation.timings(), generation.usage());
    let json = answering.wire.whole(choices, usage, timings);
    let headers = provenance(
        generation.route(),
        Some(usage.tier),
        generation.cache(),
        Some(timings),
    );
    (headers, Json(json)).into_response()
}

/// The headers that say what led to the model and who answered and, when known, what the caches had and how long it took.
pub(crate) fn provenance(
    route: Option<&str>,
    tier: Option<Tier>,
    cache: Option<&'static str>,
    timings: Option<Timings>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(Ok(route)) = route.map(HeaderValue::from_str) {
        headers.insert(HeaderName::from_static("x-flambeau-route"), route);
    }
    if let Some(tier) = tier {
        headers.insert(
            HeaderName::from_static("x-flambeau-tier"),
            HeaderValue::from_static(tier.as_str()),
        );
    }
    if let Some(cache) = cache {
        headers.insert(
            HeaderName::from_static("x-flambeau-cache"),
            HeaderValue::from_static(cache),
        );
    }
    if let Some(Timings {
        queue_ms,
        prefill_ms,
        ttft_ms,
    }) = timings
    {
        let value = format!("queue;dur={queue_ms}, prefill;dur={prefill_ms}, ttft;dur={ttft_ms}");
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static("server-timing"), value);
        }
    }
    headers
}
