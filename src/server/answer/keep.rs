//! Where an answer is kept once it has ended.

use super::again::Keeping;
use super::choice::Choice;
use super::remembering::Remembering;
use crate::gateway::GivenChoice;

/// See the module; nowhere by default.
#[derive(Default)]
pub(crate) struct Keep {
    /// To be given again to the same request.
    pub again: Option<Keeping>,
    /// To be recalled by a question like this one.
    pub question: Option<Remembering>,
}

impl Keep {
    /// Keeps the answer of these choices, as far as they have ended by themselves.
    pub fn keep(self, choices: &[Choice]) {
        if let Some(mut question) = self.question
            && let Some(first) = choices.first()
        {
            let (logprobs, took) = first.seen();
            if let Some(tokens) = first.tokens() {
                question.check(tokens, logprobs);
            }
            if let Some(given) = first.given() {
                question.keep(given, logprobs.to_vec(), took);
            }
        }
        if let Some(again) = self.again {
            let given: Option<Vec<GivenChoice>> = choices.iter().map(Choice::given).collect();
            if let Some(given) = given {
                again.keep(given);
            }
        }
    }
}
