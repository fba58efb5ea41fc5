//! Log-probabilities of the raw logits.

use super::by_rank;
use crate::request::TokenLogprobs;

/// The normaliser and the likeliest tokens of one row, read before anything changes it.
pub(super) struct Raw {
    log_sum: f64,
    top: Vec<(u32, f32)>,
}

impl Raw {
    /// Reads a row: `log_sum = ln Σ exp(logit)`, and the `count` likeliest tokens.
    pub(super) fn of(logits: &[f32], count: usize) -> Self {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits
            .iter()
            .map(|&logit| f64::from((logit - max).exp()))
            .sum();
        let log_sum = f64::from(max) + sum.ln();
        let logprob = |logit: f32| (f64::from(logit) - log_sum) as f32;

        let by_rank = by_rank(logits);
        let mut ids: Vec<u32> = (0..if count == 0 { 0 } else { logits.len() as u32 }).collect();
        if count > 0 && count < ids.len() {
            ids.select_nth_unstable_by(count - 1, by_rank);
            ids.truncate(count);
        }
        ids.sort_unstable_by(by_rank);
        Self {
            log_sum,
            top: ids
                .into_iter()
                .map(|id| (id, logprob(logits[id as usize])))
                .collect(),
        }
    }

    /// Completes it with the raw logit, and its rank, of the token that was drawn.
    pub(super) fn with_chosen(self, logit: f32, rank: u32) -> TokenLogprobs {
        TokenLogprobs {
            chosen: (f64::from(logit) - self.log_sum) as f32,
            rank,
            top: self.top,
        }
    }

    /// Of a row that is drawn nothing from: `token_id` is known to come next.
    pub(super) fn of_known(logits: &[f32], token_id: u32, count: usize) -> Option<TokenLogprobs> {
        let logit = *logits.get(token_id as usize)?;
        let raw = Self::of(logits, count);
        Some(raw.with_chosen(logit, rank(logits, logit)))
    }
}

/// How many logits are at least as large.
pub(super) fn rank(logits: &[f32], logit: f32) -> u32 {
    logits.iter().filter(|&&other| other >= logit).count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_and_descend() {
        let logits: Vec<f32> = (0..100)
            .map(|i| ((i * 37) % 100) as f32 / 10.0 + 500.0)
            .collect();
        let all = Raw::of_known(&logits, 5, 100).unwrap();
        let sum: f64 = all
            .top
            .iter()
            .map(|&(_, logprob)| f64::from(logprob).exp())
            .sum();
        assert!((sum - 1.0).abs() < 1e-4);
        assert!(all.top.is_sorted_by(|a, b| a.1 >= b.1));
        assert_eq!(
            all.top.iter().find(|&&(id, _)| id == 5).unwrap().1,
            all.chosen
        );
        assert_eq!(all.top[all.rank as usize - 1].0, 5);
        assert_eq!(Raw::of_known(&logits, 100, 1), None);
    }

    #[test]
    fn ties_are_ranked_by_id_and_none_may_be_asked() {
        assert_eq!(
            Raw::of(&[-0.0, 0.0, 0.0], 2)
                .top
                .iter()
                .map(|&(id, _)| id)
                .collect::<Vec<_>>(),
            [0, 1]
        );
        assert!(Raw::of(&[1.0, 2.0], 0).top.is_empty());
    }
}
