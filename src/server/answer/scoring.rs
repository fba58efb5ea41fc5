//! How likely a model finds an answer behind a prompt.

use crate::engine::{EngineHandle, Event};
use crate::request::{GenerateRequest, PromptLogprobs, SamplingParams, StopCriteria};

/// The log-probability of each token of `answer` behind `prompt`, asked for as urgently and for whom `request` is; `None` where the engine does
/// not say. One step over the answer, or a few, for what is cached of the prompt is not computed again.
pub(super) fn score(
    engine: &EngineHandle,
    request: &GenerateRequest,
    prompt: &[u32],
    answer: &[u32],
) -> impl Future<Output = Option<Vec<f32>>> + Send + use<> {
    let request = GenerateRequest {
        adapter: request.adapter.clone(),
        tenant: request.tenant.clone(),
        priority: request.priority,
        deadline: request.deadline,
        prompt: [prompt, answer].concat(),
        num_begun: 0,
        recalled: None,
        prompt_logprobs: Some(PromptLogprobs {
            first: prompt.len(),
            num_top: 0,
        }),
        constraint: None,
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens: 1,
            ..StopCriteria::default()
        },
    };
    let (events, num_scored) = (engine.submit(request), answer.len());
    async move {
        match events.ok()?.recv().await? {
            Event::Prompt(scores) if scores.len() == num_scored => {
                Some(scores.iter().map(|score| score.chosen).collect())
            }
            _ => None,
        }
    }
}
