//! A question that was answered, and what is known of the answer.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::size_of;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Context, QuestionKey};
use crate::gateway::answers::GivenChoice;
use crate::gateway::kept::Keepable;
use crate::gateway::likelihood::LEAST_LOGPROB;
use crate::gateway::likeness::normalised;
use crate::gateway::tags::Tags;
use crate::gateway::vector::Vector;
use crate::gateway::words::Words;

/// What a vector is taken to need before it is known.
const VECTOR_BYTES: usize = 1024;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// What was answered.
    pub choice: GivenChoice,
    /// How likely it was, where that was looked at.
    pub scores: Option<Scores>,
    /// What it can be forgotten by.
    pub tags: Tags,
    /// How long it took.
    pub took: Took,
}

/// How long it took to generate an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Took {
    /// Until its first token.
    pub ttft: Duration,
    /// All of it, from when the scheduler first gave it work.
    pub engine: Duration,
}

/// How likely an answer was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// A digest of the tokens of its prompt.
    pub prompt: [u8; 32],
    /// The log-probability of each of its tokens.
    pub logprobs: Vec<f32>,
}

/// A question that was answered.
#[derive(Debug)]
pub struct Answered {
    pub(super) context: Context,
    /// To the letter.
    pub question: Arc<str>,
    pub(super) words: Words,
    /// Of its normal form.
    pub(super) form: NormalForm,
    /// Where it points, once somebody had to know.
    pub vector: OnceLock<Vector>,
    /// What was answered.
    pub given: Given,
}

/// A number that questions which differ in form alone have in common, and others hardly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormalForm(u64);

impl NormalForm {
    /// Of a question.
    pub fn of(question: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        normalised(question).hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Scores {
    /// Of an answer whose tokens have these log-probabilities behind a prompt with this digest.
    pub fn new(prompt: [u8; 32], logprobs: &[f32]) -> Self {
        // Infinities have no spelling in a record.
        let logprobs = logprobs.iter().map(|score| score.max(LEAST_LOGPROB));
        Self {
            prompt,
            logprobs: logprobs.collect(),
        }
    }
}

impl Answered {
    /// What was answered to a question in a context, and where that points, if it is known. Some 20 µs, which nobody holding a lock should take.
    pub fn new(context: Context, question: Arc<str>, vector: Option<Vector>, given: Given) -> Self {
        Self {
            context,
            words: Words::of(&question),
            form: NormalForm::of(&question),
            question,
            vector: vector.map_or_else(OnceLock::new, OnceLock::from),
            given,
        }
    }
}

impl Keepable for Answered {
    fn num_bytes(&self) -> usize {
        let in_context = size_of::<(Context, QuestionKey)>();
        let Given {
            choice,
            scores,
            tags,
            ..
        } = &self.given;
        self.question.len()
            + self.words.num_bytes()
            + VECTOR_BYTES
            + choice.num_bytes()
            + scores
                .as_ref()
                .map_or(0, |scores| size_of_val(&scores.logprobs[..]))
            + tags.num_bytes()
            + 2 * in_context
    }
}
