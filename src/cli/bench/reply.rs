//! Reads one streamed reply of the OpenAI protocol and keeps the times of its content.
//!
//! Chat and completion chunks are told apart by their fields alone. A chunk has content when its text or its
//! reasoning is not empty: the first chunk of a chat stream, which only names the role, doesn't count.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;
use crate::http::{SseEvent, SseParser, excerpt};

/// The tokens the server says it read and wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Usage {
    pub(super) prompt_tokens: u64,
    #[serde(default)]
    pub(super) completion_tokens: u64,
}

/// A complete reply.
#[derive(Debug)]
pub(super) struct Reply {
    /// When the first chunk with content came; `None` if no chunk had any.
    pub(super) first_content: Option<Instant>,
    /// The times between one chunk with content and the next. Chunks that one read brings share its time.
    pub(super) gaps: Vec<Duration>,
    /// How many chunks had content.
    pub(super) num_chunks: u64,
    /// The last usage the stream gave.
    pub(super) usage: Option<Usage>,
    /// When `[DONE]` came.
    pub(super) done: Instant,
}

/// Builds a [`Reply`] from bytes as they arrive.
#[derive(Default)]
pub(super) struct ReplyReader {
    parser: SseParser,
    events: Vec<SseEvent>,
    first_content: Option<Instant>,
    last_content: Option<Instant>,
    gaps: Vec<Duration>,
    num_chunks: u64,
    usage: Option<Usage>,
    has_finish_reason: bool,
    done: Option<Instant>,
}

impl ReplyReader {
    /// Takes `bytes` that arrived at `at`; what follows `[DONE]` is ignored.
    pub(super) fn push(&mut self, bytes: &[u8], at: Instant) -> Result<(), Failure> {
        let mut events = std::mem::take(&mut self.events);
        self.parser
            .push(bytes, &mut events)
            .map_err(|error| Failure::Malformed(error.to_string()))?;
        for event in events.drain(..) {
            if self.done.is_none() {
                self.take(&event, at)?;
            }
        }
        self.events = events;
        Ok(())
    }

    /// Whether `[DONE]` came.
    pub(super) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// The reply, or why it is none.
    pub(super) fn finish(self) -> Result<Reply, Failure> {
        let done = self.done.ok_or(Failure::NoDone)?;
        if !self.has_finish_reason {
            return Err(Failure::NoFinishReason);
        }
        let Self {
            first_content,
            gaps,
            num_chunks,
            usage,
            ..
        } = self;
        Ok(Reply {
            first_content,
            gaps,
            num_chunks,
            usage,
            done,
        })
    }

    fn take(&mut self, event: &SseEvent, at: Instant) -> Result<(), Failure> {
        if event.name == "error" {
            return Err(Failure::ErrorEvent(excerpt(&event.data)));
        }
        if event.data == "[DONE]" {
            self.done = Some(at);
            return Ok(());
        }
        let chunk: Chunk = serde_json::from_str(&event.data).map_err(|error| {
            Failure::Malformed(format!("{error} in `{}`", excerpt(&event.data)))
        })?;
        if let Some(error) = chunk.error {
            return Err(Failure::ErrorEvent(error_message(&error)));
        }
        if chunk.choices.is_none() && chunk.usage.is_none() {
            let text = excerpt(&event.data);
            return Err(Failure::Malformed(format!(
                "a chunk with neither `choices` nor `usage`: `{text}`"
            )));
        }
        self.usage = chunk.usage.or(self.usage);
        let choices = chunk.choices.unwrap_or_default();
        self.has_finish_reason |= choices.iter().any(|choice| choice.finish_reason.is_some());
        if choices.iter().any(Choice::has_content) {
            self.num_chunks += 1;
            self.first_content.get_or_insert(at);
            if let Some(last) = self.last_content.replace(at) {
                self.gaps.push(at.saturating_duration_since(last));
            }
        }
        Ok(())
    }
}

/// The message in an OpenAI error object, or the start of whatever stands there instead.
pub(super) fn error_message(error: &Value) -> String {
    let message = error.get("message").unwrap_or(error);
    excerpt(
        &message
            .as_str()
            .map_or_else(|| message.to_string(), str::to_owned),
    )
}

#[derive(Deserialize)]
struct Chunk {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    text: Option<String>,
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

impl Choice {
    fn has_content(&self) -> bool {
        let delta = self.delta.as_ref();
        [
            self.text.as_deref(),
            delta.and_then(|delta| delta.content.as_deref()),
            delta.and_then(|delta| delta.reasoning_content.as_deref()),
            delta.and_then(|delta| delta.reasoning.as_deref()),
        ]
        .into_iter()
        .flatten()
        .any(|text| !text.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINISH: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;

    /// Reads one event a millisecond, the first at 0.
    fn read(events: &[&str]) -> Result<(Reply, Instant), Failure> {
        let (start, mut reader) = (Instant::now(), ReplyReader::default());
        for (i, event) in events.iter().enumerate() {
            let at = start + Duration::from_millis(i as u64);
            reader.push(format!("data: {event}\n\n").as_bytes(), at)?;
        }
        reader.finish().map(|reply| (reply, start))
    }

    fn millis(from: Instant, to: Instant) -> u128 {
        (to - from).as_millis()
    }

    #[test]
    fn the_role_chunk_is_not_the_first_token() {
        let (reply, start) = read(&[
            r#"{"choices":[{"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":null},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":"a"}}]}"#,
            r#"{"choices":[{"delta":{}}]}"#,
            r#"{"choices":[{"delta":{"content":"b"}}]}"#,
            FINISH,
            r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#,
            "[DONE]",
        ])
        .unwrap();
        assert_eq!(millis(start, reply.first_content.unwrap()), 2);
        assert_eq!(reply.gaps, [Duration::from_millis(2)]);
        assert_eq!((reply.num_chunks, millis(start, reply.done)), (2, 7));
        assert_eq!(
            reply.usage,
            Some(Usage {
                prompt_tokens: 7,
                completion_tokens: 2
            })
        );
    }

    #[test]
    fn reasoning_and_completion_text_are_content() {
        for chunk in [
            r#"{"choices":[{"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"hm"}}]}"#,
            r#"{"choices":[{"text":"hm"}]}"#,
        ] {
            let (reply, _) = read(&[chunk, FINISH, "[DONE]"]).unwrap();
            assert_eq!(reply.num_chunks, 1, "{chunk}");
        }
    }

    #[test]
    fn a_reply_without_content_or_usage_is_complete_but_has_no_first_token() {
        let (reply, _) = read(&[FINISH, "[DONE]"]).unwrap();
        assert!(reply.first_content.is_none() && reply.usage.is_none() && reply.num_chunks == 0);
    }

    #[test]
    fn what_follows_done_is_ignored() {
        assert!(read(&[FINISH, "[DONE]", "rubbish"]).is_ok());
    }

    #[test]
    fn every_fault_of_a_stream_has_its_kind() {
        for (events, kind, says) in [
            (&[FINISH][..], "no_done", "[DONE]"),
            (&["[DONE]"], "no_finish_reason", "finish_reason"),
            (&["{\"choices\":"], "malformed", "EOF"),
            (&["{\"object\":\"error\"}"], "malformed", "neither"),
            (
                &["{\"choices\":[{\"text\":3}]}"],
                "malformed",
                "invalid type",
            ),
            (
                &["{\"error\":{\"message\":\"out of memory\"}}"],
                "error_event",
                "out of memory",
            ),
        ] {
            let failure = read(events).err().unwrap();
            assert_eq!(failure.kind(), kind, "{events:?}");
            assert!(failure.to_string().contains(says), "{failure}");
        }
        let failure = ReplyReader::default()
            .push(b"event: error\ndata: gone\n\n", Instant::now())
            .unwrap_err();
        assert_eq!(failure.kind(), "error_event");
    }
}
