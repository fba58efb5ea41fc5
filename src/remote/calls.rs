//! The tool calls of one choice, put one after the other.
//!
//! [`Piece::Arguments`] go on with the last call. So of calls that come mixed up, the first one that is not complete is
//! passed on as it comes, and those behind it are held until its arguments are a whole JSON value, or the answer ends.

use super::chunk::ToolCall;
use super::error::RemoteError;
use crate::text::Piece;

/// More calls than that are no answer.
const MAX_CALLS: usize = 128;
/// Longer names are none.
const MAX_NAME_BYTES: usize = 1024;
/// The most bytes of arguments that are held.
const MAX_HELD_BYTES: usize = 4 << 20;

/// The calls in the order in which they began.
#[derive(Default)]
pub(super) struct Calls {
    calls: Vec<Call>,
    /// The one that is passed on as it comes; all before it are complete.
    current: usize,
    num_held_bytes: usize,
}

#[derive(Default)]
struct Call {
    index: u64,
    /// Until it is passed on.
    name: Option<String>,
    is_named: bool,
    held: String,
    json: JsonEnd,
}

impl Calls {
    /// Takes the next part of a call, and appends what is certain.
    pub fn push(&mut self, part: &ToolCall, pieces: &mut Vec<Piece>) -> Result<(), RemoteError> {
        let at = self.at(part)?;
        let arguments = part.arguments();
        if at < self.current {
            return match arguments.trim().is_empty() {
                true => Ok(()),
                false => Err(malformed("a tool call goes on after it was complete")),
            };
        }
        let call = &mut self.calls[at];
        if let (false, Some(name)) = (call.is_named, part.name()) {
            if name.len() > MAX_NAME_BYTES {
                return Err(malformed("the name of a tool call is too long"));
            }
            (call.name, call.is_named) = (Some(name.to_owned()), true);
        }
        call.held.push_str(arguments);
        self.num_held_bytes += arguments.len();
        while self.pass_on(pieces) {
            if !self.calls[self.current].json.is_complete() || self.current + 1 == self.calls.len()
            {
                break;
            }
            self.current += 1;
        }
        match self.num_held_bytes > MAX_HELD_BYTES {
            true => Err(malformed("too much of tool calls comes out of turn")),
            false => Ok(()),
        }
    }

    /// Appends all that is held: the answer has ended.
    pub fn finish(&mut self, pieces: &mut Vec<Piece>) -> Result<(), RemoteError> {
        while self.current < self.calls.len() {
            if !self.pass_on(pieces) {
                return Err(malformed("a tool call has no name"));
            }
            self.current += 1;
        }
        Ok(())
    }

    /// Which call `part` is of, which may be a new one.
    fn at(&mut self, part: &ToolCall) -> Result<usize, RemoteError> {
        let known = match part.index {
            Some(index) => self.calls.iter().position(|call| call.index == index),
            // Without an index a name begins a call, and what has none goes on with the last.
            None if part.name().is_some() => None,
            None => self.calls.len().checked_sub(1),
        };
        if let Some(at) = known {
            return Ok(at);
        }
        if self.calls.len() == MAX_CALLS {
            return Err(malformed("there are too many tool calls"));
        }
        self.calls.push(Call {
            index: part.index.unwrap_or(self.calls.len() as u64),
            ..Call::default()
        });
        Ok(self.calls.len() - 1)
    }

    /// Appends what has come of the current call; false while that has no name.
    fn pass_on(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let call = &mut self.calls[self.current];
        if !call.is_named {
            return false;
        }
        pieces.extend(call.name.take().map(Piece::Call));
        let arguments = std::mem::take(&mut call.held);
        if !arguments.is_empty() {
            self.num_held_bytes -= arguments.len();
            call.json.push(&arguments);
            pieces.push(Piece::Arguments(arguments));
        }
        true
    }
}

fn malformed(what: &str) -> RemoteError {
    RemoteError::Malformed(what.to_owned())
}

/// Finds the end of a JSON object, array or string, and of nothing else.
#[derive(Default)]
struct JsonEnd {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    has_ended: bool,
}

impl JsonEnd {
    fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if std::mem::take(&mut self.is_escaped) {
                continue;
            }
            match (self.in_string, byte) {
                (true, b'\\') => self.is_escaped = true,
                (_, b'"') => {
                    self.in_string = !self.in_string;
                    self.has_ended |= !self.in_string && self.depth == 0;
                }
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.has_ended |= self.depth == 0;
                }
                _ => {}
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.has_ended && self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Parts are an index, a name and arguments.
    fn read(
        parts: &[(Option<u64>, Option<&str>, &str)],
    ) -> Result<(Vec<Vec<Piece>>, Vec<Piece>), RemoteError> {
        let (mut calls, mut all) = (Calls::default(), Vec::new());
        for (index, name, arguments) in parts {
            let part = json!({"index": index, "function": {"name": name, "arguments": arguments}});
            let mut pieces = Vec::new();
            calls.push(&serde_json::from_value(part).unwrap(), &mut pieces)?;
            all.push(pieces);
        }
        let mut last = Vec::new();
        calls.finish(&mut last)?;
        Ok((all, last))
    }

    fn call(name: &str) -> Piece {
        Piece::Call(name.into())
    }

    fn arguments(text: &str) -> Piece {
        Piece::Arguments(text.into())
    }

    #[test]
    fn calls_one_after_the_other_are_passed_on_as_they_come() {
        let (all, last) = read(&[
            (Some(0), Some("a"), ""),
            (Some(0), None, r#"{"x":"}\""#),
            (Some(0), None, r#"}"}"#),
            (Some(1), Some("b"), "{"),
            (Some(1), None, "}"),
        ])
        .unwrap();
        assert_eq!(
            all,
            [
                vec![call("a")],
                vec![arguments(r#"{"x":"}\""#)],
                vec![arguments(r#"}"}"#)],
                vec![call("b"), arguments("{")],
                vec![arguments("}")],
            ]
        );
        assert!(last.is_empty());
    }

    #[test]
    fn calls_that_come_mixed_up_are_put_in_the_order_in_which_they_began() {
        let (all, last) = read(&[
            (Some(7), Some("a"), "{"),
            (Some(2), Some("b"), "[1"),
            (Some(3), Some("c"), ""),
            (Some(2), None, "]"),
            (Some(7), Some("a"), "}"),
            (Some(7), None, "\n"),
        ])
        .unwrap();
        assert_eq!(
            all[..4],
            [vec![call("a"), arguments("{")], vec![], vec![], vec![]]
        );
        assert_eq!(
            all[4],
            [arguments("}"), call("b"), arguments("[1]"), call("c")]
        );
        assert!(all[5].is_empty() && last.is_empty());
    }

    #[test]
    fn a_call_without_arguments_holds_the_next_one_until_the_end() {
        let (all, last) = read(&[(Some(0), Some("a"), ""), (Some(1), Some("b"), "{}")]).unwrap();
        assert_eq!(all, [vec![call("a")], vec![]]);
        assert_eq!(last, [call("b"), arguments("{}")]);
    }

    #[test]
    fn without_an_index_a_name_begins_a_call() {
        let (all, _) = read(&[
            (None, Some("a"), "{}"),
            (None, Some("b"), "{"),
            (None, None, "}"),
        ])
        .unwrap();
        assert_eq!(
            all,
            [
                vec![call("a"), arguments("{}")],
                vec![call("b"), arguments("{")],
                vec![arguments("}")],
            ]
        );
    }

    #[test]
    fn what_makes_no_calls_is_an_error() {
        let held = "x".repeat(MAX_HELD_BYTES + 1);
        let many: Vec<_> = (0..=128).map(|i| (Some(i), Some("a"), "{}")).collect();
        for (parts, says) in [
            (&[(Some(0), None, "{}")][..], "no name"),
            (&[(None, None, "{}")], "no name"),
            (&[(Some(0), None, &*held)], "out of turn"),
            (&many, "too many"),
            (
                &[
                    (Some(0), Some("a"), "{}"),
                    (Some(1), Some("b"), ""),
                    (Some(0), None, "{}"),
                ],
                "goes on",
            ),
        ] {
            let error = read(parts).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
