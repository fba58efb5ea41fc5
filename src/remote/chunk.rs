//! The chunks of OpenAI's chats and completions, as far as they are read. What is not named here is ignored.

use serde::Deserialize;
use serde_json::Value;

use super::delta::{RemoteFinish, RemoteUsage};

/// A chunk of a stream, or a whole answer, which has `message` for `delta` and is one chunk otherwise.
#[derive(Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    pub choices: Option<Vec<ChunkChoice>>,
    usage: Option<ChunkUsage>,
    error: Option<Value>,
    object: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct ChunkChoice {
    pub index: Option<usize>,
    /// Of a completion.
    pub text: Option<String>,
    pub delta: Option<Message>,
    pub message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Message {
    pub content: Option<String>,
    reasoning_content: Option<String>,
    /// vLLM's name of the same.
    reasoning: Option<String>,
    pub tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
pub(super) struct ToolCall {
    /// Some servers leave it out where it is plain.
    pub index: Option<u64>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct ChunkUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl Chunk {
    /// Whether an error stands here in place of an answer.
    pub fn is_error(&self) -> bool {
        self.error.is_some() || self.object.as_ref().is_some_and(|object| object == "error")
    }

    pub fn usage(&self) -> Option<RemoteUsage> {
        let usage = self.usage.as_ref()?;
        let details = usage.prompt_tokens_details.as_ref();
        Some(RemoteUsage {
            prompt: usage.prompt_tokens.unwrap_or(0),
            completion: usage.completion_tokens.unwrap_or(0),
            cached: details
                .and_then(|details| details.cached_tokens)
                .unwrap_or(0),
        })
    }
}

impl ChunkChoice {
    pub fn finish(&self) -> Option<RemoteFinish> {
        Some(match self.finish_reason.as_deref()? {
            "" => return None,
            "stop" => RemoteFinish::Stop,
            "length" => RemoteFinish::Length,
            "tool_calls" | "function_call" => RemoteFinish::ToolCalls,
            "content_filter" => RemoteFinish::ContentFilter,
            _ => RemoteFinish::Other,
        })
    }
}

impl Message {
    /// The thoughts, once: servers that have both names say the same under both.
    pub fn take_reasoning(&mut self) -> Option<String> {
        let both = [self.reasoning_content.take(), self.reasoning.take()];
        both.into_iter().flatten().find(|text| !text.is_empty())
    }
}

impl ToolCall {
    pub fn name(&self) -> Option<&str> {
        let name = self.function.as_ref()?.name.as_deref();
        name.filter(|name| !name.is_empty())
    }

    pub fn arguments(&self) -> &str {
        let function = self.function.as_ref();
        function.and_then(|f| f.arguments.as_deref()).unwrap_or("")
    }
}
