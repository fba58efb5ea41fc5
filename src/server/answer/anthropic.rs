//! Anthropic's spelling of a chat: a message of blocks, and a stream of named events.

use serde_json::{Value, json};

use super::account::{Timings, Usage};
use super::blocks::{Block, Blocks, Step};
use super::choice::Delta;
use super::form::Form;
use super::openai::flambeau;
use super::wire::{Whole, Wire, call_id, named_event};
use crate::request::FinishReason;
use crate::server::error::ApiError;

/// One answer's spelling.
pub(crate) struct Anthropic {
    form: Form,
    id: String,
    blocks: Blocks,
    num_blocks: usize,
    has_begun: bool,
    has_calls: bool,
    /// How it ended, told with the counts.
    end: Value,
}

impl Anthropic {
    pub fn new(form: Form) -> Self {
        Self {
            id: format!("msg_{}", form.request_id),
            form,
            blocks: Blocks::default(),
            num_blocks: 0,
            has_begun: false,
            has_calls: false,
            end: Value::Null,
        }
    }

    fn message(&self, content: Value, end: &Value, usage: Usage) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.form.model,
            "content": content,
            "stop_reason": end["stop_reason"],
            "stop_sequence": end["stop_sequence"],
            "usage": usage_json(usage),
        })
    }

    /// Why it ended; `stopped` is the stop sequence that it met.
    fn end_of(&self, finish: Option<FinishReason>, stopped: Option<&str>) -> Value {
        let reason = match (finish, stopped) {
            (None, _) => None,
            (Some(_), Some(_)) => Some("stop_sequence"),
            (Some(FinishReason::Stop), None) if self.has_calls => Some("tool_use"),
            (Some(FinishReason::Stop), None) => Some("end_turn"),
            (Some(FinishReason::Length | FinishReason::Deadline), None) => Some("max_tokens"),
        };
        json!({"stop_reason": reason, "stop_sequence": stopped})
    }

    fn step(&mut self, step: Step, frame: &mut Vec<u8>) {
        let index = self.num_blocks.saturating_sub(1);
        let event = match step {
            Step::Open(block) => {
                self.num_blocks += 1;
                let block = match block {
                    Block::Thoughts => json!({"type": "thinking", "thinking": "", "signature": ""}),
                    Block::Text => json!({"type": "text", "text": ""}),
                    Block::Call(name) => {
                        self.has_calls = true;
                        let id = call_id(self.form.tools);
                        json!({"type": "tool_use", "id": id, "name": name, "input": {}})
                    }
                };
                json!({"type": "content_block_start", "index": self.num_blocks - 1, "content_block": block})
            }
            Step::Add(block, text) => {
                let delta = match block {
                    Block::Thoughts => json!({"type": "thinking_delta", "thinking": text}),
                    Block::Call(_) => json!({"type": "input_json_delta", "partial_json": text}),
                    Block::Text => json!({"type": "text_delta", "text": text}),
                };
                json!({"type": "content_block_delta", "index": index, "delta": delta})
            }
            Step::Close => json!({"type": "content_block_stop", "index": index}),
        };
        named_event(frame, &event);
    }
}

impl Wire for Anthropic {
    fn whole(&mut self, choices: &[Whole], usage: Usage, timings: Timings) -> Value {
        let whole = &choices[0];
        let mut content = Vec::new();
        if !whole.said.reasoning.is_empty() {
            content.push(
                json!({"type": "thinking", "thinking": whole.said.reasoning, "signature": ""}),
            );
        }
        if !whole.said.content.is_empty() {
            content.push(json!({"type": "text", "text": whole.said.content}));
        }
        for (name, arguments) in &whole.said.calls {
            self.has_calls = true;
            // An answer that was cut short may end within them.
            let input = serde_json::from_str(arguments).unwrap_or_else(|_| json!({}));
            let id = call_id(self.form.tools);
            content.push(json!({"type": "tool_use", "id": id, "name": name, "input": input}));
        }
        let end = self.end_of(whole.finish, whole.stopped.as_deref());
        let mut body = self.message(content.into(), &end, usage);
        body["flambeau"] = flambeau(&self.form, usage, Some(timings));
        body
    }

    fn delta(&mut self, _: usize, delta: &Delta, usage: Usage, frame: &mut Vec<u8>) {
        let steps = self.blocks.steps(&delta.pieces);
        if steps.is_empty() && delta.finish.is_none() {
            return;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            let none = Usage {
                completion: 0,
                ..usage
            };
            let mut message = self.message(json!([]), &Value::Null, none);
            message["flambeau"] = flambeau(&self.form, usage, None);
            named_event(frame, &json!({"type": "message_start", "message": message}));
        }
        for step in steps {
            self.step(step, frame);
        }
        if delta.finish.is_some() {
            if let Some(step) = self.blocks.close() {
                self.step(step, frame);
            }
            self.end = self.end_of(delta.finish, delta.stopped.as_deref());
        }
    }

    fn end(&mut self, usage: Usage, timings: Timings, frame: &mut Vec<u8>) {
        let mut event =
            json!({"type": "message_delta", "delta": self.end, "usage": usage_json(usage)});
        event["flambeau"] = flambeau(&self.form, usage, Some(timings));
        named_event(frame, &event);
        named_event(frame, &json!({"type": "message_stop"}));
    }

    fn continued_by(&mut self, name: &str) {
        self.form.continued_by = Some(name.to_owned());
    }

    fn fail(&mut self, error: &ApiError, frame: &mut Vec<u8>) {
        named_event(frame, &error.anthropic_body());
    }
}

/// What was cached counts apart from what was not.
fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt - usage.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached,
        "output_tokens": usage.completion,
    })
}
