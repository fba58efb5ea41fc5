//! What a model writes, taken apart into the parts of a message while it writes: what it thinks, what it says, what it calls.
//!
//! Text is held back only as long as it may turn out to be a mark. What looks like a call and is none is text after all.

mod calls;

use super::tools::{CallReader, ToolFormat};

/// A piece of a message; consecutive ones of a kind belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What is thought before the answer.
    Reasoning(String),
    /// What is said to the reader.
    Content(String),
    /// A tool is called; its arguments follow.
    Call(String),
    /// The next part of the last call's arguments, which are JSON.
    Arguments(String),
}

const THINK: &str = "<think>";
const END_THINK: &str = "</think>";

/// What marks an answer may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Whether thoughts may come first, between `<think>` and `</think>`.
    pub may_think: bool,
    /// Whether the prompt has begun them.
    pub is_thinking: bool,
    /// How calls are spelt, where tools may be called.
    pub tools: Option<ToolFormat>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Before anything but white space.
    Start,
    Thoughts,
    /// After thoughts or calls: white space is nobody's.
    Between,
    Content,
    Call {
        reader: Box<CallReader>,
        /// What it has read, in case that it is no call.
        raw: String,
    },
    AfterCall,
    /// Nothing but text may follow.
    Text,
}

/// Takes text apart as it comes.
#[derive(Clone, Debug)]
pub struct Splitter {
    marks: Marks,
    stage: Stage,
    /// Text that is not certain yet.
    held: String,
    has_thoughts: bool,
}

impl Splitter {
    /// For an answer with these marks; without any, all text is content at once.
    pub fn new(marks: Marks) -> Self {
        let stage = match marks {
            Marks {
                is_thinking: true, ..
            } => Stage::Thoughts,
            Marks {
                may_think: true, ..
            } => Stage::Start,
            Marks { tools: Some(_), .. } => Stage::Content,
            Marks { tools: None, .. } => Stage::Text,
        };
        Self {
            marks,
            stage,
            held: String::new(),
            has_thoughts: false,
        }
    }

    /// Whether what comes next is thoughts.
    pub fn is_in_thoughts(&self) -> bool {
        matches!(self.stage, Stage::Thoughts)
    }

    /// Takes the next text and appends the pieces that are certain.
    pub fn push(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        self.held.push_str(text);
        while self.advance(pieces) {}
    }

    /// Ends the text: what was held back is certain now.
    pub fn finish(&mut self, pieces: &mut Vec<Piece>) {
        let held = std::mem::take(&mut self.held);
        match std::mem::replace(&mut self.stage, Stage::Text) {
            Stage::Thoughts => emit(Piece::Reasoning, held.trim_end(), pieces),
            Stage::Call { reader, raw } if !reader.has_name() => {
                emit(Piece::Content, &(raw + &held), pieces);
            }
            Stage::Call { .. } | Stage::AfterCall | Stage::Between => {}
            Stage::Start | Stage::Content | Stage::Text => emit(Piece::Content, &held, pieces),
        }
    }

    /// One step; false where more text is needed.
    fn advance(&mut self, pieces: &mut Vec<Piece>) -> bool {
        match &mut self.stage {
            Stage::Start => {
                let begun = self.held.trim_start();
                if begun.is_empty() || (THINK.starts_with(begun) && begun.len() < THINK.len()) {
                    return false;
                }
                match begun.strip_prefix(THINK) {
                    Some(rest) => {
                        self.held = rest.to_owned();
                        self.stage = Stage::Thoughts;
                    }
                    None => self.stage = self.content(),
                }
                true
            }
            Stage::Thoughts => self.think(pieces),
            Stage::Between => {
                self.held = self.held.trim_start().to_owned();
                if self.held.is_empty() {
                    return false;
                }
                self.stage = self.content();
                true
            }
            Stage::Content => self.say(pieces),
            Stage::Call { .. } => self.call(pieces),
            Stage::AfterCall => self.after_call(),
            Stage::Text => {
                emit(Piece::Content, &std::mem::take(&mut self.held), pieces);
                false
            }
        }
    }

    fn content(&self) -> Stage {
        match self.marks.tools {
            Some(_) => Stage::Content,
            None => Stage::Text,
        }
    }

    fn think(&mut self, pieces: &mut Vec<Piece>) -> bool {
        if !self.has_thoughts {
            self.held = self.held.trim_start().to_owned();
            self.has_thoughts = !self.held.is_empty();
        }
        if let Some((thoughts, rest)) = self.held.split_once(END_THINK) {
            emit(Piece::Reasoning, thoughts.trim_end(), pieces);
            self.held = rest.to_owned();
            self.stage = Stage::Between;
            return true;
        }
        let certain = certain_len(&self.held, END_THINK);
        let certain = self.held[..certain].trim_end().len();
        let thoughts: String = self.held.drain(..certain).collect();
        emit(Piece::Reasoning, &thoughts, pieces);
        false
    }
}

/// How much of `text` cannot be the beginning of `mark`.
fn certain_len(text: &str, mark: &str) -> usize {
    let longest = (1..mark.len())
        .rev()
        .find(|&len| text.ends_with(&mark[..len]));
    text.len() - longest.unwrap_or(0)
}

fn emit(kind: fn(String) -> Piece, text: &str, pieces: &mut Vec<Piece>) {
    if !text.is_empty() {
        pieces.push(kind(text.to_owned()));
    }
}

#[cfg(test)]
mod tests;
