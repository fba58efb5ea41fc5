//! OpenAI's spelling of chat and text completions, with vLLM's additions.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::account::{Timings, Usage};
use super::choice::Delta;
use super::form::{Form, Kind};
use super::logprobs::{self, Scored, Spelling};
use super::wire::{Said, Whole, Wire, call_id, event};
use crate::request::{FinishReason, SampledToken, TokenLogprobs};
use crate::server::error::ApiError;
use crate::text::Piece;

const DONE: &[u8] = b"data: [DONE]\n\n";

/// One answer's spelling.
pub(crate) struct OpenAi {
    form: Form,
    id: String,
    created: u64,
    choices: Vec<ChoiceState>,
    is_first: bool,
    /// The next chunk with content says who answers.
    says_who: bool,
}

/// How far a choice has come.
#[derive(Clone, Debug, Default)]
struct ChoiceState {
    has_begun: bool,
    /// Characters of its tokens.
    text_offset: usize,
    num_calls: usize,
}

/// What is new in a choice.
struct Part<'a> {
    text: &'a str,
    tokens: &'a [SampledToken],
    prompt_logprobs: &'a [TokenLogprobs],
    finish: Option<FinishReason>,
}

impl OpenAi {
    pub fn new(form: Form) -> Self {
        let prefix = match form.kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        Self {
            id: format!("{prefix}-{}", form.request_id),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            choices: vec![ChoiceState::default(); form.prompts.len() * form.num_choices],
            is_first: true,
            says_who: true,
            form,
        }
    }

    fn is_chat(&self) -> bool {
        self.form.kind == Kind::Chat
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.form.model, "choices": choices})
    }

    fn chunk_of(&self, choices: Value) -> Value {
        let object = match self.form.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        };
        self.envelope(object, choices)
    }

    /// Every chunk has the field when any has it.
    fn add_usage(&self, body: &mut Value, usage: Usage) {
        if self.form.framing.continuous_usage {
            body["usage"] = usage_json(usage);
        } else if self.form.framing.include_usage {
            body["usage"] = Value::Null;
        }
    }

    /// A choice without its message, except in completions, where whole answers and chunks look the same.
    fn choice(&mut self, i: usize, part: &Part<'_>) -> Value {
        let framing = &self.form.framing;
        let prompt = &self.form.prompts[i / self.form.num_choices];
        let state = &mut self.choices[i];
        let is_first = !std::mem::replace(&mut state.has_begun, true);
        let echo = prompt.echo.as_deref().filter(|_| is_first);
        let spelling = Spelling {
            tokenizer: &self.form.tokenizer,
            as_ids: framing.tokens_as_ids,
        };
        let mut choice = json!({"index": i});
        if self.form.kind == Kind::Completion {
            choice["text"] = format!("{}{}", echo.unwrap_or(""), part.text).into();
        }
        let echoed = echo.into_iter().flat_map(|_| {
            let first = Scored::unscored(prompt.token_ids[0]);
            let rest = prompt.token_ids[1..].iter().zip(part.prompt_logprobs);
            std::iter::once(first).chain(rest.map(|(&id, scores)| Scored::new(id, scores)))
        });
        let scored = part.tokens.iter().filter_map(Scored::of);
        choice["logprobs"] = match (self.form.has_logprobs, self.form.kind) {
            (false, _) => Value::Null,
            (true, Kind::Chat) => logprobs::chat(scored, spelling),
            (true, Kind::Completion) => {
                logprobs::completion(echoed.chain(scored), spelling, &mut state.text_offset)
            }
        };
        choice["finish_reason"] = match part.finish {
            Some(FinishReason::Stop) if state.num_calls > 0 => "tool_calls".into(),
            finish => finish.map(FinishReason::as_str).into(),
        };
        if framing.return_token_ids {
            choice["token_ids"] = part.tokens.iter().map(|token| token.token_id).collect();
            if is_first {
                choice["prompt_token_ids"] = prompt.token_ids.clone().into();
            }
        }
        if self.form.has_prompt_logprobs && !self.is_chat() {
            choice["prompt_logprobs"] =
                logprobs::prompt(&prompt.token_ids, part.prompt_logprobs, spelling);
        }
        choice
    }

    /// A whole message. Thoughts stand under OpenAI's name for them and under the one that vLLM began with.
    fn message(&self, said: &Said) -> Value {
        let is_silent = said.content.is_empty() && !said.calls.is_empty();
        let content = (!is_silent).then_some(said.content.as_str());
        let mut message = json!({"role": "assistant", "content": content});
        if !said.reasoning.is_empty() {
            message["reasoning"] = said.reasoning.as_str().into();
            message["reasoning_content"] = said.reasoning.as_str().into();
        }
        if !said.calls.is_empty() {
            let calls = said.calls.iter();
            message["tool_calls"] = calls
                .map(|(name, arguments)| {
                    let function = json!({"name": name, "arguments": arguments});
                    json!({"id": self.call_id(), "type": "function", "function": function})
                })
                .collect();
        }
        message
    }

    /// The changes of a message that `pieces` are.
    fn message_deltas(&mut self, i: usize, pieces: &[Piece]) -> Vec<Value> {
        let mut deltas = Vec::new();
        for piece in pieces {
            let num_calls = self.choices[i].num_calls;
            deltas.push(match piece {
                Piece::Content(text) => json!({"content": text}),
                Piece::Reasoning(text) => json!({"reasoning": text, "reasoning_content": text}),
                Piece::Call(name) => {
                    self.choices[i].num_calls += 1;
                    let function = json!({"name": name, "arguments": ""});
                    let call = json!({"index": num_calls, "id": self.call_id(), "type": "function", "function": function});
                    json!({"tool_calls": [call]})
                }
                Piece::Arguments(text) => {
                    let index = num_calls.saturating_sub(1);
                    let call = json!({"index": index, "function": {"arguments": text}});
                    json!({"tool_calls": [call]})
                }
            });
        }
        deltas
    }

    fn call_id(&self) -> String {
        call_id(self.form.tools)
    }

    /// The chunk before a chat's first content, when nothing is generated yet.
    fn role_chunk(&self, i: usize, usage: Usage) -> Value {
        let delta = json!({"role": "assistant", "content": ""});
        let choice = json!({"index": i, "delta": delta, "logprobs": null, "finish_reason": null});
        let mut body = self.chunk_of(json!([choice]));
        let usage = Usage {
            completion: if self.is_first { 0 } else { usage.completion },
            ..usage
        };
        self.add_usage(&mut body, usage);
        body
    }
}

impl Wire for OpenAi {
    fn whole(&mut self, choices: &[Whole], usage: Usage, timings: Timings) -> Value {
        let object = match self.form.kind {
            Kind::Chat => "chat.completion",
            Kind::Completion => "text_completion",
        };
        let list = choices.iter().enumerate().map(|(i, whole)| {
            let part = Part {
                text: &whole.text,
                tokens: &whole.tokens,
                prompt_logprobs: &whole.prompt_logprobs,
                finish: whole.finish,
            };
            self.choices[i].num_calls = whole.said.calls.len();
            let mut choice = self.choice(i, &part);
            if self.is_chat() {
                choice["message"] = self.message(&whole.said);
            }
            choice
        });
        let list: Value = list.collect();
        let mut body = self.envelope(object, list);
        body["usage"] = usage_json(usage);
        if self.form.has_prompt_logprobs && self.is_chat() {
            let spelling = Spelling {
                tokenizer: &self.form.tokenizer,
                as_ids: self.form.framing.tokens_as_ids,
            };
            let ids = &self.form.prompts[0].token_ids;
            body["prompt_logprobs"] = logprobs::prompt(ids, &choices[0].prompt_logprobs, spelling);
        }
        body["flambeau"] = flambeau(&self.form, usage, Some(timings));
        body
    }

    fn delta(&mut self, i: usize, delta: &Delta, usage: Usage, frame: &mut Vec<u8>) {
        let has_details = self.form.framing.return_token_ids
            || (delta.token.as_ref()).is_some_and(|token| token.logprobs.is_some());
        let mut deltas = match self.form.kind {
            Kind::Chat => self.message_deltas(i, &delta.pieces),
            Kind::Completion if delta.text.is_empty() => Vec::new(),
            Kind::Completion => vec![Value::Null],
        };
        if deltas.is_empty() {
            // A token whose text is still held back, and that nobody asked details of, gives nothing.
            if delta.finish.is_none() && !has_details {
                return;
            }
            deltas.push(json!({}));
        }
        if self.is_chat() && !self.choices[i].has_begun {
            event(frame, &self.role_chunk(i, usage));
        }
        let num_deltas = deltas.len();
        for (k, message) in deltas.into_iter().enumerate() {
            let (is_first, is_last) = (k == 0, k + 1 == num_deltas);
            let part = Part {
                text: &delta.text,
                // The token stands with the first of the changes that it led to, the end with the last.
                tokens: if is_first {
                    delta.token.as_slice()
                } else {
                    &[]
                },
                prompt_logprobs: &delta.prompt_logprobs,
                finish: delta.finish.filter(|_| is_last),
            };
            let mut choice = self.choice(i, &part);
            if self.is_chat() {
                choice["delta"] = message;
            }
            let mut body = self.chunk_of(json!([choice]));
            self.is_first = false;
            if std::mem::take(&mut self.says_who) {
                body["flambeau"] = flambeau(&self.form, usage, None);
            }
            self.add_usage(&mut body, usage);
            event(frame, &body);
        }
    }

    fn end(&mut self, usage: Usage, timings: Timings, frame: &mut Vec<u8>) {
        if self.form.framing.include_usage {
            let mut body = self.chunk_of(json!([]));
            body["usage"] = usage_json(usage);
            body["flambeau"] = flambeau(&self.form, usage, Some(timings));
            event(frame, &body);
        }
        frame.extend_from_slice(DONE);
    }

    fn continued_by(&mut self, name: &str) {
        self.form.continued_by = Some(name.to_owned());
        self.says_who = true;
    }

    fn fail(&mut self, error: &ApiError, frame: &mut Vec<u8>) {
        event(frame, &error.body());
        frame.extend_from_slice(DONE);
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    })
}

/// Who answered, what led there, and how long it took.
pub(super) fn flambeau(form: &Form, usage: Usage, timings: Option<Timings>) -> Value {
    let mut object = json!({"tier": usage.tier.as_str()});
    if usage.shows_cache {
        object["cache"] = usage.cache().into();
    }
    if let Some(route) = &form.route {
        object["route"] = route.as_str().into();
    }
    if let Some(name) = &form.continued_by {
        object["continued_by"] = name.as_str().into();
    }
    if let Some(Timings {
        queue_ms,
        prefill_ms,
        ttft_ms,
    }) = timings
    {
        object["queue_ms"] = queue_ms.into();
        object["prefill_ms"] = prefill_ms.into();
        object["ttft_ms"] = ttft_ms.into();
    }
    object
}
