//! From validated requests to a response: submit, then one JSON body or a stream.

use std::sync::Arc;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::account::{Account, Received, TIER, Timings};
use super::choice::{Choice, Reading};
use super::generation::Generation;
use super::sse;
use super::wire::{Whole, Wire};
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::request::generate::Generate;
use crate::server::state::{AppState, ServedModel};
use crate::text::Splitter;

/// A validated request, ready to run.
pub(crate) struct Call {
    /// What answers it.
    pub model: Arc<ServedModel>,
    pub generate: Generate,
    /// One a prompt; each is run for every choice.
    pub requests: Vec<GenerateRequest>,
    /// For the log.
    pub prompt_chars: usize,
    /// How the answer is spelt.
    pub wire: Box<dyn Wire>,
}

/// Runs `call` and answers it.
pub(crate) async fn respond(
    state: AppState,
    received: Arc<Received>,
    call: Call,
) -> Result<Response, ApiError> {
    let Call {
        model,
        generate,
        requests,
        prompt_chars,
        wire,
    } = call;
    let reading = Reading {
        tokenizer: Arc::clone(&model.tokenizer),
        stops: generate.stops.clone(),
        skip_special_tokens: generate.framing.skip_special_tokens,
        min_tokens: generate.min_tokens,
        marks: marks(&generate, &model),
        splitter: Splitter::new(generate.marks),
        shows_thoughts: generate.shows_thoughts,
        stop_strings: generate.stop_strings.clone(),
    };
    // The client counts from when it asked.
    let elapsed = received.at.elapsed();
    let prompt_lens: Vec<usize> = requests
        .iter()
        .map(|request| request.prompt.len())
        .collect();
    let mut all = Vec::new();
    for mut request in requests {
        request.deadline = request.deadline.map(|time| time.saturating_sub(elapsed));
        for choice in 0..generate.num_candidates as u32 {
            let mut request = request.clone();
            request.sampling.choice = choice;
            // A prompt's scores are the same for all its choices; in a stream each needs them with its first token.
            if choice > 0 && !generate.framing.stream {
                request.prompt_logprobs = None;
            }
            all.push(request);
        }
    }
    let (num_answers, most) = (all.len(), model.engine.max_at_once());
    if num_answers > most {
        let message = format!("n asks for {num_answers} answers; at most {most} can be open here");
        return Err(ApiError::field("n", message));
    }
    // Sequences are made there: prompts are hashed, constraints copied.
    let engine = model.engine.clone();
    let streams = match num_answers {
        1 => engine.submit_all(all)?,
        _ => tokio::task::spawn_blocking(move || engine.submit_all(all))
            .await
            .map_err(|_| ApiError::internal("submitting the request panicked"))??,
    };
    let choices = streams
        .into_iter()
        .map(|events| Choice::new(events, reading.clone()));
    let choices = choices.collect();
    let account = Account::new(
        &state,
        received,
        generate.caller,
        &prompt_lens,
        generate.num_candidates,
        prompt_chars,
    );
    let generation = Generation::new(choices, account);
    if generate.framing.stream {
        return sse::respond(generation, wire, state.options.keep_alive).await;
    }
    let (generation, all) = collect(generation).await?;
    let shown = best(all, generate.num_candidates, generate.num_choices);
    Ok(whole(&generation, &shown, wire))
}

/// The tokens that the answer is taken apart by.
fn marks(generate: &Generate, model: &ServedModel) -> Vec<u32> {
    let thoughts = ["<think>", "</think>"].iter();
    let calls = [
        "[TOOL_CALLS]",
        "<|python_tag|>",
        "<tool_call>",
        "</tool_call>",
    ]
    .iter();
    let thoughts = thoughts.filter(|_| generate.marks.may_think);
    let calls = calls.filter(|_| generate.marks.tools.is_some());
    let all = thoughts.chain(calls);
    all.filter_map(|text| model.tokenizer.token_id(text))
        .collect()
}

/// Waits for all of the answer. Dropped with the connection, it cancels the generation.
async fn collect(mut generation: Generation) -> Result<(Generation, Vec<Whole>), ApiError> {
    let mut all: Vec<Whole> = Vec::new();
    while let Some(next) = generation.next().await {
        let (i, delta) = match next {
            Ok(next) => next,
            Err(error) => {
                let error = ApiError::from(error);
                generation.fail(&error);
                return Err(error);
            }
        };
        generation.handed_on(&delta);
        if all.len() <= i {
            all.resize_with(i + 1, Whole::default);
        }
        all[i].push(delta);
    }
    generation.close();
    Ok((generation, all))
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

fn whole(generation: &Generation, choices: &[Whole], mut wire: Box<dyn Wire>) -> Response {
    let timings = generation.timings();
    let json = wire.whole(choices, generation.usage(), timings);
    let headers = provenance(generation.cache(), Some(timings));
    (headers, Json(json)).into_response()
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
