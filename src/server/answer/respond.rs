//! From a validated request to a response: submit, then one JSON body or a stream.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::account::{Account, Received, TIER, Timings};
use super::body::{AnswerBody, Kind, Part};
use super::generation::Generation;
use super::sse;
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::request::sampling::Generate;
use crate::server::state::AppState;

/// Runs `request` and answers it as `kind`. `prompt_chars` is for the log.
pub(crate) async fn respond(
    state: AppState,
    received: Arc<Received>,
    kind: Kind,
    generate: Generate,
    mut request: GenerateRequest,
    prompt_chars: usize,
) -> Result<Response, ApiError> {
    let model = &state.model;
    let Generate {
        framing,
        caller,
        stops,
        ..
    } = generate;
    let tokenizer = Arc::clone(&model.tokenizer);
    let has_logprobs = request.sampling.logprobs.is_some();
    let body = AnswerBody::new(
        kind,
        framing.clone(),
        &received.request_id,
        received.model(&state),
        Arc::clone(&tokenizer),
        has_logprobs,
        &request.prompt,
    );
    let num_prompt_tokens = request.prompt.len();
    let min_tokens = request.stop.min_tokens;
    // The client counts from when it asked.
    let elapsed = received.at.elapsed();
    request.deadline = request.deadline.map(|time| time.saturating_sub(elapsed));
    let events = model.engine.submit(request)?;
    let account = Account::new(&state, received, caller, num_prompt_tokens, prompt_chars);
    let generation = Generation::new(events, tokenizer, stops, &framing, min_tokens, account);
    if framing.stream {
        sse::respond(generation, body, state.options.keep_alive).await
    } else {
        whole(generation, body).await
    }
}

/// Collects the answer. Dropped with the connection, it cancels the generation.
async fn whole(mut generation: Generation, mut body: AnswerBody) -> Result<Response, ApiError> {
    let (mut text, mut tokens) = (String::new(), Vec::new());
    while let Some(next) = generation.next().await {
        let delta = match next {
            Ok(delta) => delta,
            Err(error) => {
                let error = ApiError::from(error);
                generation.close(Err(&error));
                return Err(error);
            }
        };
        generation.handed_on(&delta);
        text.push_str(&delta.text);
        tokens.push(delta.token);
        if let Some(finish) = delta.finish {
            generation.close(Ok(finish));
            let timings = generation.timings();
            let part = Part {
                text: &text,
                tokens: &tokens,
                finish: Some(finish),
            };
            let json = body.whole(&part, generation.usage(), timings);
            let headers = provenance(generation.cache(), Some(timings));
            return Ok((headers, Json(json)).into_response());
        }
    }
    Err(ApiError::internal(
        "the generation ended without a finish reason",
    ))
}

/// The headers that say who answered and, when known, what the caches had and how long it took.
pub(crate) fn provenance(cache: Option<&'static str>, timings: Option<Timings>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        HeaderName::from_static("x-flambeau-tier"),
        HeaderValue::from_static(TIER),
    );
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
