//! Whether a model finds the answer to one question as likely as an answer to another: where what is asked makes a difference to a word of it,
//! that word loses. The bounds were chosen on the part of the benchmark set for that (`scripts/calibrate_verification.py`): two of three pairs that
//! the gates let pass stay within them, and one of six that need another answer.

use serde::Serialize;

/// What an answer may lose a token, on average, in nats.
const MAX_MEAN: f32 = 0.25;
/// What the token may lose that loses most.
const MAX_WORST: f32 = 2.0;
/// What is less likely is as unlikely.
pub const LEAST_LOGPROB: f32 = -100.0;

/// What is lost when an answer stands behind another question.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Loss {
    /// A token, on average, in nats.
    pub mean: f32,
    /// By the token that loses most.
    pub worst: f32,
}

impl Loss {
    /// Of tokens with these log-probabilities behind the question that they were said to, and behind another; `None` where these are not of
    /// the same tokens, or of none, or no numbers.
    pub fn between(own: &[f32], other: &[f32]) -> Option<Self> {
        let has_nan = own.iter().chain(other).any(|score| score.is_nan());
        if own.is_empty() || own.len() != other.len() || has_nan {
            return None;
        }
        let losses = own
            .iter()
            .zip(other)
            .map(|(own, other)| own.max(LEAST_LOGPROB) - other.max(LEAST_LOGPROB));
        Some(Self {
            mean: losses.clone().sum::<f32>() / own.len() as f32,
            worst: losses.fold(f32::NEG_INFINITY, f32::max),
        })
    }

    /// Whether the answer is one to the other question, too.
    pub fn is_small(self) -> bool {
        self.mean <= MAX_MEAN && self.worst <= MAX_WORST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_loses_where_one_word_is_not_said_to_the_other_question() {
        let own = [-0.1; 40];
        let small = |other: &[f32]| Loss::between(&own, other).unwrap().is_small();
        assert!(small(&own));
        // More likely is as good.
        assert!(small(&[-0.01; 40]));
        let mut other = own;
        other[7] = -2.0;
        assert!(small(&other));
        other[7] = -3.0;
        assert!(!small(&other));
        // A little everywhere is too much as well.
        assert!(!small(&[-0.4; 40]));
    }

    #[test]
    fn what_cannot_be_compared_is_no_loss() {
        assert_eq!(Loss::between(&[], &[]), None);
        assert_eq!(Loss::between(&[-1.0], &[-1.0, -1.0]), None);
        assert!(
            !Loss::between(&[-1.0], &[f32::NEG_INFINITY])
                .unwrap()
                .is_small()
        );
        let both = Loss::between(&[f32::NEG_INFINITY], &[f32::NEG_INFINITY]);
        assert_eq!(
            both,
            Some(Loss {
                mean: 0.0,
                worst: 0.0
            })
        );
        assert_eq!(Loss::between(&[f32::NAN, -1.0], &[-1.0, -1.0]), None);
    }
}
