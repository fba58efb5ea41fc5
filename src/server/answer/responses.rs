//! OpenAI's newer spelling of a chat: a response of items, and a stream of numbered events about them.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::account::{Timings, Usage};
use super::blocks::{Block, Blocks, Step};
use super::choice::Delta;
use super::form::Form;
use super::openai::flambeau;
use super::wire::{Whole, Wire, call_id, named_event};
use crate::request::FinishReason;
use crate::server::error::ApiError;

/// One answer's spelling.
pub(crate) struct Responses {
    form: Form,
    created: u64,
    /// What answers repeat of the request.
    echo: Map<String, Value>,
    blocks: Blocks,
    /// Items that are whole.
    output: Vec<Value>,
    /// The one that is open, its text so far.
    open: Option<(Block, Value, String)>,
    num_events: u64,
    has_begun: bool,
    finish: Option<FinishReason>,
}

impl Responses {
    pub fn new(form: Form, echo: Map<String, Value>) -> Self {
        Self {
            form,
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            echo,
            blocks: Blocks::default(),
            output: Vec::new(),
            open: None,
            num_events: 0,
            has_begun: false,
            finish: None,
        }
    }

    fn response(&self, status: &str, output: &[Value], usage: Option<Usage>) -> Value {
        let is_cut = status == "incomplete";
        let mut response = json!({
            "id": format!("resp_{}", self.form.request_id),
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": is_cut.then(|| json!({"reason": "max_output_tokens"})),
            "model": self.form.model,
            "output": output,
            "previous_response_id": null,
            "store": false,
            "truncation": "disabled",
            "usage": usage.map(usage_json),
        });
        for (key, value) in &self.echo {
            response[key] = value.clone();
        }
        response
    }

    fn status(&self) -> &'static str {
        match self.finish {
            Some(FinishReason::Stop) | None => "completed",
            Some(FinishReason::Length | FinishReason::Deadline) => "incomplete",
        }
    }

    fn item_id(&self, kind: &str) -> String {
        format!("{kind}_{}_{}", self.form.request_id, self.output.len())
    }

    /// An item as it is when it begins.
    fn item(&self, block: &Block) -> Value {
        match block {
            Block::Thoughts => {
                json!({"type": "reasoning", "id": self.item_id("rs"), "summary": [], "content": []})
            }
            Block::Text => json!({
                "type": "message", "id": self.item_id("msg"), "role": "assistant", "status": "in_progress", "content": [],
            }),
            Block::Call(name) => json!({
                "type": "function_call", "id": self.item_id("fc"), "call_id": call_id(self.form.tools), "name": name,
                "arguments": "", "status": "in_progress",
            }),
        }
    }

    fn finished(mut item: Value, block: &Block, text: &str, status: &str) -> Value {
        match block {
            Block::Thoughts => item["content"] = json!([part(block, text)]),
            Block::Text => {
                item["content"] = json!([part(block, text)]);
                item["status"] = status.into();
            }
            Block::Call(_) => {
                item["arguments"] = text.into();
                item["status"] = status.into();
            }
        }
        item
    }

    fn event(&mut self, frame: &mut Vec<u8>, kind: &str, fields: Value) {
        let mut event =
            json!({"type": format!("response.{kind}"), "sequence_number": self.num_events});
        if let Value::Object(fields) = fields {
            for (key, value) in fields {
                event[key] = value;
            }
        }
        self.num_events += 1;
        named_event(frame, &event);
    }

    fn step(&mut self, step: Step, frame: &mut Vec<u8>) {
        let index = self.output.len();
        match step {
            Step::Open(block) => {
                let item = self.item(&block);
                self.event(
                    frame,
                    "output_item.added",
                    json!({"output_index": index, "item": item}),
                );
                if !matches!(block, Block::Call(_)) {
                    let added = json!({"item_id": item["id"], "output_index": index, "content_index": 0, "part": part(&block, "")});
                    self.event(frame, "content_part.added", added);
                }
                self.open = Some((block, item, String::new()));
            }
            Step::Add(block, more) => {
                let Some((_, item, text)) = &mut self.open else {
                    return;
                };
                text.push_str(&more);
                let mut delta =
                    json!({"item_id": item["id"], "output_index": index, "delta": more});
                let kind = match block {
                    Block::Thoughts => "reasoning_text.delta",
                    Block::Text => "output_text.delta",
                    Block::Call(_) => "function_call_arguments.delta",
                };
                if !matches!(block, Block::Call(_)) {
                    delta["content_index"] = 0.into();
                }
                if block == Block::Text {
                    delta["logprobs"] = json!([]);
                }
                self.event(frame, kind, delta);
            }
            Step::Close => {
                let Some((block, item, text)) = self.open.take() else {
                    return;
                };
                let id = item["id"].clone();
                let place = json!({"item_id": id, "output_index": index, "content_index": 0});
                let mut done = place.clone();
                let kind = match &block {
                    Block::Thoughts => "reasoning_text.done",
                    Block::Text => "output_text.done",
                    Block::Call(name) => {
                        done = json!({"item_id": id, "output_index": index, "name": name});
                        "function_call_arguments.done"
                    }
                };
                match &block {
                    Block::Call(_) => done["arguments"] = text.as_str().into(),
                    Block::Text => {
                        (done["text"], done["logprobs"]) = (text.as_str().into(), json!([]))
                    }
                    Block::Thoughts => done["text"] = text.as_str().into(),
                }
                self.event(frame, kind, done);
                if !matches!(block, Block::Call(_)) {
                    let mut done = place;
                    done["part"] = part(&block, &text);
                    self.event(frame, "content_part.done", done);
                }
                let item = Self::finished(item, &block, &text, self.status());
                self.event(
                    frame,
                    "output_item.done",
                    json!({"output_index": index, "item": item}),
                );
                self.output.push(item);
            }
        }
    }
}

fn part(block: &Block, text: &str) -> Value {
    match block {
        Block::Thoughts => json!({"type": "reasoning_text", "text": text}),
        _ => json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []}),
    }
}

impl Wire for Responses {
    fn whole(&mut self, choices: &[Whole], usage: Usage, timings: Timings) -> Value {
        let whole = &choices[0];
        self.finish = whole.finish;
        let said = &whole.said;
        let mut all = Vec::new();
        if !said.reasoning.is_empty() {
            all.push((Block::Thoughts, said.reasoning.as_str()));
        }
        if !said.content.is_empty() || said.calls.is_empty() {
            all.push((Block::Text, said.content.as_str()));
        }
        for (name, arguments) in &said.calls {
            all.push((Block::Call(name.clone()), arguments.as_str()));
        }
        for (block, text) in all {
            let item = self.item(&block);
            let item = Self::finished(item, &block, text, self.status());
            self.output.push(item);
        }
        let mut body = self.response(self.status(), &self.output, Some(usage));
        body["flambeau"] = flambeau(&self.form, usage, Some(timings));
        body
    }

    fn delta(&mut self, _: usize, delta: &Delta, _: Usage, frame: &mut Vec<u8>) {
        let steps = self.blocks.steps(&delta.pieces);
        if steps.is_empty() && delta.finish.is_none() {
            return;
        }
        if !std::mem::replace(&mut self.has_begun, true) {
            for kind in ["created", "in_progress"] {
                let response = self.response("in_progress", &[], None);
                self.event(frame, kind, json!({"response": response}));
            }
        }
        for step in steps {
            self.step(step, frame);
        }
        if delta.finish.is_some() {
            self.finish = delta.finish;
            if self.output.is_empty() && self.open.is_none() {
                // An answer that says nothing is an empty message.
                self.step(Step::Open(Block::Text), frame);
                self.step(Step::Close, frame);
            } else if let Some(step) = self.blocks.close() {
                self.step(step, frame);
            }
        }
    }

    fn end(&mut self, usage: Usage, timings: Timings, frame: &mut Vec<u8>) {
        let status = self.status();
        let mut response = self.response(status, &self.output, Some(usage));
        response["flambeau"] = flambeau(&self.form, usage, Some(timings));
        self.event(frame, status, json!({"response": response}));
    }

    fn continued_by(&mut self, name: &str) {
        self.form.continued_by = Some(name.to_owned());
    }

    fn fail(&mut self, error: &ApiError, frame: &mut Vec<u8>) {
        let mut response = self.response("failed", &self.output, None);
        let error = error.body()["error"].take();
        response["error"] = json!({"code": "server_error", "message": error["message"]});
        self.event(frame, "failed", json!({"response": response}));
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cached},
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    })
}
