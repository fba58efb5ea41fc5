//! What a model writes, taken apart into the parts of a message, while it writes.

/// A piece of a message; consecutive ones of a kind belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What is said to the reader.
    Content(String),
}

/// Takes text apart as it comes.
#[derive(Clone, Debug, Default)]
pub struct Splitter {}

impl Splitter {
    /// Takes the next text and appends the pieces that are certain.
    pub fn push(&mut self, text: &str, pieces: &mut Vec<Piece>) {
        if !text.is_empty() {
            pieces.push(Piece::Content(text.to_owned()));
        }
    }
}
