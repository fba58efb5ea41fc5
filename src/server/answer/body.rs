//! The JSON of answers, whole and in chunks, for both endpoints.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::account::{TIER, Timings, Usage};
use super::logprobs::{self, Spelling};
use crate::request::{FinishReason, SampledToken};
use crate::server::request::framing::Framing;
use crate::text::Tokenizer;

/// Which endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Chat,
    Completion,
}

/// What stays the same through one answer.
pub(crate) struct AnswerBody {
    pub kind: Kind,
    pub framing: Framing,
    id: String,
    created: u64,
    model: String,
    tokenizer: Arc<Tokenizer>,
    has_logprobs: bool,
    prompt_token_ids: Option<Vec<u32>>,
    text_offset: usize,
}

/// What is new in a choice: text, the tokens behind it, and how it ended.
pub(crate) struct Part<'a> {
    pub text: &'a str,
    pub tokens: &'a [SampledToken],
    pub finish: Option<FinishReason>,
}

impl AnswerBody {
    pub fn new(
        kind: Kind,
        framing: Framing,
        request_id: &str,
        model: &str,
        tokenizer: Arc<Tokenizer>,
        has_logprobs: bool,
        prompt_token_ids: &[u32],
    ) -> Self {
        let prefix = match kind {
            Kind::Chat => "chatcmpl",
            Kind::Completion => "cmpl",
        };
        Self {
            kind,
            id: format!("{prefix}-{request_id}"),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            model: model.to_owned(),
            tokenizer,
            has_logprobs,
            prompt_token_ids: framing.return_token_ids.then(|| prompt_token_ids.to_vec()),
            text_offset: 0,
            framing,
        }
    }

    /// The whole answer.
    pub fn whole(&mut self, part: &Part<'_>, usage: Usage, timings: Timings) -> Value {
        let object = match self.kind {
            Kind::Chat => "chat.completion",
            Kind::Completion => "text_completion",
        };
        let mut choice = self.choice(part);
        if self.kind == Kind::Chat {
            choice["message"] = json!({"role": "assistant", "content": part.text});
        }
        let mut body = self.envelope(object, json!([choice]));
        body["usage"] = usage_json(usage);
        body["flambeau"] = flambeau(usage, Some(timings));
        body
    }

    /// The chunk before a chat's first content, when nothing is generated yet.
    pub fn role_chunk(&self, usage: Usage) -> Option<Value> {
        (self.kind == Kind::Chat).then(|| {
            let delta = json!({"role": "assistant", "content": ""});
            let choice =
                json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": null});
            let mut body = self.chunk_of(json!([choice]));
            let usage = Usage {
                completion: 0,
                ..usage
            };
            self.add_usage(&mut body, usage);
            body
        })
    }

    /// One chunk of a stream; the first says who answers.
    pub fn chunk(&mut self, part: &Part<'_>, is_first: bool, usage: Usage) -> Value {
        let mut choice = self.choice(part);
        if self.kind == Kind::Chat {
            choice["delta"] = if part.text.is_empty() {
                json!({})
            } else {
                json!({"content": part.text})
            };
        }
        let mut body = self.chunk_of(json!([choice]));
        if is_first {
            body["flambeau"] = flambeau(usage, None);
        }
        self.add_usage(&mut body, usage);
        body
    }

    /// Every chunk has the field when any has it.
    fn add_usage(&self, body: &mut Value, usage: Usage) {
        if self.framing.continuous_usage {
            body["usage"] = usage_json(usage);
        } else if self.framing.include_usage {
            body["usage"] = Value::Null;
        }
    }

    /// The last chunk, with the counts, when asked for.
    pub fn usage_chunk(&self, usage: Usage, timings: Timings) -> Option<Value> {
        self.framing.include_usage.then(|| {
            let mut body = self.chunk_of(json!([]));
            body["usage"] = usage_json(usage);
            body["flambeau"] = flambeau(usage, Some(timings));
            body
        })
    }

    fn chunk_of(&self, choices: Value) -> Value {
        let object = match self.kind {
            Kind::Chat => "chat.completion.chunk",
            Kind::Completion => "text_completion",
        };
        self.envelope(object, choices)
    }

    fn envelope(&self, object: &str, choices: Value) -> Value {
        json!({"id": self.id, "object": object, "created": self.created, "model": self.model, "choices": choices})
    }

    /// A choice without its text, except in completions, where whole answers and chunks look the same.
    fn choice(&mut self, part: &Part<'_>) -> Value {
        let spelling = Spelling {
            tokenizer: &self.tokenizer,
            as_ids: self.framing.tokens_as_ids,
        };
        let mut choice = json!({"index": 0});
        if self.kind == Kind::Completion {
            choice["text"] = part.text.into();
        }
        choice["logprobs"] = match (self.has_logprobs, self.kind) {
            (false, _) => Value::Null,
            (true, Kind::Chat) => logprobs::chat(part.tokens, spelling),
            (true, Kind::Completion) => {
                logprobs::completion(part.tokens, spelling, &mut self.text_offset)
            }
        };
        choice["finish_reason"] = part.finish.map(FinishReason::as_str).into();
        if self.framing.return_token_ids {
            choice["token_ids"] = part.tokens.iter().map(|token| token.token_id).collect();
            if let Some(ids) = self.prompt_token_ids.take() {
                choice["prompt_token_ids"] = ids.into();
            }
        }
        choice
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    })
}

fn flambeau(usage: Usage, timings: Option<Timings>) -> Value {
    let mut object = json!({"tier": TIER, "cache": usage.cache()});
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
