//! Guesses of what a sequence says next.

use std::fmt;

use super::SequenceId;

/// Where a draft comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftSource {
    /// What was said before.
    Lookup,
    /// A smaller model.
    Model,
    /// The answer to a request like this one.
    Recalled,
}

impl DraftSource {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Lookup, Self::Model, Self::Recalled];
}

/// Guesses the tokens that follow. A wrong guess costs time and never changes an answer: every token of a draft is checked
/// against the one that is drawn in its place.
///
/// It is asked on the engine's thread before steps are planned, so it answers at once, with what it has.
pub trait Drafter: fmt::Debug + Send {
    /// Appends up to `limit` tokens that may follow `tokens`, all that is known of the sequence `id`, to `draft`, and says where they
    /// are from; none where it has no idea. Of one sequence that is not forgotten it always hears what it heard before, or that and more.
    fn draft(
        &mut self,
        id: SequenceId,
        tokens: &[u32],
        limit: usize,
        draft: &mut Vec<u32>,
    ) -> DraftSource;

    /// The sequence has ended, or waits: should it be asked about again, it is as if it were new.
    fn forget(&mut self, _id: SequenceId) {}
}

/// Looks for what the sequence says last in what it said before, and proposes what came after it: the longest match, the
/// latest among equal ones. Source: Saxena, "Prompt Lookup Decoding", 2023.
#[derive(Debug)]
pub struct PromptLookup;

/// Shorter matches say too little.
const MIN_MATCH: usize = 2;
/// A match of this length is as good as a longer one.
const MAX_MATCH: usize = 8;

impl Drafter for PromptLookup {
    fn draft(
        &mut self,
        _id: SequenceId,
        tokens: &[u32],
        limit: usize,
        draft: &mut Vec<u32>,
    ) -> DraftSource {
        let Some((last, before)) = tokens.split_last() else {
            return DraftSource::Lookup;
        };
        // The length of the best match so far, and where what follows it begins.
        let mut best = (MIN_MATCH - 1, 0);
        for end in (1..=before.len()).rev() {
            if before[end - 1] != *last {
                continue;
            }
            let pairs = tokens[..end].iter().rev().zip(tokens.iter().rev());
            let len = pairs.take(MAX_MATCH).take_while(|(a, b)| a == b).count();
            if len > best.0 {
                best = (len, end);
            }
            if len == MAX_MATCH {
                break;
            }
        }
        if best.0 >= MIN_MATCH {
            draft.extend(tokens[best.1..].iter().take(limit));
        }
        DraftSource::Lookup
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(tokens: &[u32], limit: usize) -> Vec<u32> {
        let mut draft = Vec::new();
        PromptLookup.draft(SequenceId(0), tokens, limit, &mut draft);
        draft
    }

    #[test]
    fn what_came_after_the_longest_match_is_proposed() {
        // "2 3" stands twice before, "1 2 3" once.
        assert_eq!(draft(&[1, 2, 3, 7, 8, 9, 2, 3, 5, 1, 2, 3], 3), [7, 8, 9]);
        // Of equal matches the later one counts.
        assert_eq!(draft(&[2, 3, 7, 0, 2, 3, 5, 9, 2, 3], 2), [5, 9]);
    }

    #[test]
    fn a_repetition_goes_on_to_the_end_of_what_is_known() {
        assert_eq!(draft(&[4, 5, 6, 4, 5, 6, 4, 5, 6], 8), [4, 5, 6]);
    }

    #[test]
    fn nothing_is_proposed_where_nothing_matches() {
        assert_eq!(draft(&[], 4), [0; 0]);
        assert_eq!(draft(&[1], 4), [0; 0]);
        assert_eq!(draft(&[1, 2, 3, 4], 4), [0; 0]);
        // One token in common says too little.
        assert_eq!(draft(&[1, 2, 3, 2], 4), [0; 0]);
        assert_eq!(draft(&[1, 2, 1, 2], 0), [0; 0]);
    }
}
