//! Answers that were given before, by exactly what was asked.

use super::kept::{Keepable, Kept};
use super::tags::Tags;

/// What a request asks, as far as it makes a difference to the answer. Two that differ cannot be found on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskedKey(pub [u8; 32]);

/// A choice of an answer, which ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenChoice {
    /// All tokens that the model drew.
    pub tokens: Vec<u32>,
    /// Whether the last one is a token that ends answers; else a text ended it.
    pub has_end: bool,
}

/// An answer to prompts.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// A digest of the prompts' tokens. They may differ where requests are the same: a template may say what day it is.
    pub prompts: [u8; 32],
    /// The choices of each, one prompt after the other.
    pub choices: Vec<GivenChoice>,
    /// What it can be forgotten by.
    pub tags: Tags,
}

/// All answers.
pub type Answers = Kept<AskedKey, Answer>;

impl Keepable for GivenChoice {
    fn num_bytes(&self) -> usize {
        size_of_val(&self.tokens[..])
    }
}

impl Keepable for Answer {
    fn num_bytes(&self) -> usize {
        let tokens = self.choices.iter().map(Keepable::num_bytes);
        tokens.sum::<usize>() + size_of_val(&self.choices[..]) + self.tags.num_bytes()
    }
}
