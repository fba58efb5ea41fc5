//! How likely a model finds an answer behind a prompt.

use crate::engine::Event;
use crate::request::{GenerateRequest, PromptLogprobs, SamplingParams, StopCriteria};
use crate::server::state::ServedModel;

/// The log-probability of each token of `answer` behind `prompt`, asked for as urgently and for whom `request` is; `None` where the engine does
/// not say, or has no room for both. A step for some dozen tokens of the answer each; what is cached of the prompt is not computed again.
pub(super) fn score(
    model: &ServedModel,
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
    let fits = request.prompt.len() < model.max_model_len;
    let events = fits.then(|| model.engine.submit(request));
    let num_scored = answer.len();
    async move {
        match events?.ok()?.recv().await? {
            Event::Prompt(scores) if scores.len() == num_scored => {
                Some(scores.iter().map(|score| score.chosen).collect())
            }
            _ => None,
        }
    }
}
