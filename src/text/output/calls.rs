//! The part of the splitter that reads calls.

use super::{Piece, Splitter, Stage, certain_len, emit};
use crate::text::tools::{CallEvent, ToolFormat};

const BEGIN_HERMES: &str = "<tool_call>";
const END_HERMES: &str = "</tool_call>";
const BEGIN_MISTRAL: &str = "[TOOL_CALLS]";
const BEGIN_LLAMA: &str = "<|python_tag|>";

impl Splitter {
    /// Content up to where calls begin.
    pub(super) fn say(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let mark = match self.marks.tools {
            Some(ToolFormat::Hermes) => BEGIN_HERMES,
            Some(ToolFormat::Mistral) => BEGIN_MISTRAL,
            Some(ToolFormat::Llama3) => return self.begin_llama(),
            None => {
                self.stage = Stage::Text;
                return true;
            }
        };
        if let Some((before, rest)) = self.held.split_once(mark) {
            emit(Piece::Content, before.trim_end(), pieces);
            self.held = rest.to_owned();
            self.stage = match self.marks.tools {
                Some(ToolFormat::Mistral) => Stage::AfterCall,
                _ => new_call(),
            };
            return true;
        }
        let certain = certain_len(&self.held, mark);
        // White space before a mark is no content.
        let certain = self.held[..certain].trim_end().len();
        let text: String = self.held.drain(..certain).collect();
        emit(Piece::Content, &text, pieces);
        false
    }

    /// Llama's calls are the whole answer, or none of it.
    fn begin_llama(&mut self) -> bool {
        let begun = self.held.trim_start();
        if begun.is_empty() || (BEGIN_LLAMA.starts_with(begun) && begun.len() < BEGIN_LLAMA.len()) {
            return false;
        }
        let call = begun.strip_prefix(BEGIN_LLAMA);
        match call.or_else(|| begun.starts_with('{').then_some(begun)) {
            Some(call) => {
                self.held = call.to_owned();
                self.stage = new_call();
            }
            None => self.stage = Stage::Text,
        }
        true
    }

    pub(super) fn call(&mut self, pieces: &mut Vec<Piece>) -> bool {
        let Stage::Call { reader, raw } = &mut self.stage else {
            return false;
        };
        let mut events = Vec::new();
        let mut is_call = true;
        let mut num_bytes = 0;
        for c in self.held.chars() {
            is_call = reader.push(c, &mut events);
            num_bytes += c.len_utf8();
            if !is_call || reader.is_over() {
                break;
            }
        }
        let read: String = self.held.drain(..num_bytes).collect();
        raw.push_str(&read);
        let is_over = reader.is_over();
        let raw = match is_call || reader.has_name() {
            true => None,
            false => Some(std::mem::take(raw)),
        };
        for event in events {
            match (event, pieces.last_mut()) {
                (CallEvent::Name(name), _) => pieces.push(Piece::Call(name)),
                (CallEvent::Arguments(text), Some(Piece::Arguments(last))) => last.push_str(&text),
                (CallEvent::Arguments(text), _) => pieces.push(Piece::Arguments(text)),
                (CallEvent::End, _) => {}
            }
        }
        if !is_call {
            self.held.insert_str(0, &raw.unwrap_or_default());
            self.stage = Stage::Text;
        } else if is_over {
            self.stage = Stage::AfterCall;
        }
        !self.held.is_empty() && (!is_call || is_over)
    }

    /// What stands after a call, and before the first of a list.
    pub(super) fn after_call(&mut self) -> bool {
        let begun = self.held.trim_start().to_owned();
        let Some(first) = begun.chars().next() else {
            return false;
        };
        let (rest, stage) = match (self.marks.tools, first) {
            (Some(ToolFormat::Hermes), _) if begun.starts_with(END_HERMES) => {
                (&begun[END_HERMES.len()..], Stage::Between)
            }
            (Some(ToolFormat::Hermes), _) if END_HERMES.starts_with(begun.as_str()) => {
                return false;
            }
            (Some(ToolFormat::Mistral), '[' | ',') | (Some(ToolFormat::Llama3), ';' | ',') => {
                (&begun[1..], new_call())
            }
            (Some(ToolFormat::Mistral), ']') => (&begun[1..], Stage::Between),
            _ => (begun.as_str(), Stage::Text),
        };
        self.held = rest.to_owned();
        self.stage = stage;
        true
    }
}

fn new_call() -> Stage {
    Stage::Call {
        reader: Box::default(),
        raw: String::new(),
    }
}
