//! A call as the engine is asked: a request for each choice, and how what comes back is read.

use std::sync::Arc;
use std::time::Duration;

use super::ask::Call;
use super::choice::{Choice, Reading};
use super::failure::Failure;
use crate::engine::{EventStream, SubmitError};
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::request::generate::Generate;
use crate::server::state::ServedModel;
use crate::text::Splitter;

/// Puts a call to the model: each choice of each prompt. Of their deadlines `elapsed` has passed.
pub(super) fn put(
    call: &Call,
    model: &Arc<ServedModel>,
    elapsed: Duration,
) -> impl Future<Output = Result<Vec<Choice>, Failure>> + Send + use<> {
    let all = each_choice(call, elapsed);
    let reading = reading(&call.generate, model);
    let model = Arc::clone(model);
    async move {
        let (num_answers, most) = (all.len(), model.engine.max_at_once());
        if num_answers > most {
            let message =
                format!("n asks for {num_answers} answers; at most {most} can be open here");
            return Err(ApiError::field("n", message).into());
        }
        let streams = submit(&model, all).await??.into_iter();
        let choices = streams.map(|events| Choice::drawn(events, reading.clone()));
        Ok(choices.collect())
    }
}

fn each_choice(call: &Call, elapsed: Duration) -> Vec<GenerateRequest> {
    let generate = &call.generate;
    let mut all = Vec::new();
    for request in &call.requests {
        for choice in 0..generate.num_candidates as u32 {
            let mut request = request.clone();
            request.deadline = request.deadline.map(|time| time.saturating_sub(elapsed));
            request.sampling.choice = choice;
            // A prompt's scores are the same for all its choices; in a stream each needs them with its first token.
            if choice > 0 && !generate.framing.stream {
                request.prompt_logprobs = None;
            }
            all.push(request);
        }
    }
    all
}

/// Queues all of them or none. Sequences are made there: prompts are hashed, constraints copied.
async fn submit(
    model: &ServedModel,
    mut all: Vec<GenerateRequest>,
) -> Result<Result<Vec<EventStream>, SubmitError>, ApiError> {
    let engine = model.engine.clone();
    if all.len() == 1 {
        let only = all.remove(0);
        return Ok(engine.submit(only).map(|events| vec![events]));
    }
    let submitted = tokio::task::spawn_blocking(move || engine.submit_all(all)).await;
    submitted.map_err(|_| ApiError::internal("submitting the request panicked"))
}

pub(super) fn reading(generate: &Generate, model: &ServedModel) -> Reading {
    Reading {
        tokenizer: Arc::clone(&model.tokenizer),
        stops: generate.stops.clone(),
        skip_special_tokens: generate.framing.skip_special_tokens,
        min_tokens: generate.min_tokens,
        marks: marks(generate, model),
        splitter: Splitter::new(generate.marks),
        shows_thoughts: generate.shows_thoughts,
        hides_logprobs: generate.hides_logprobs,
        stop_strings: generate.stop_strings.clone(),
    }
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
