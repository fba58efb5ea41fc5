//! Two ways to guess, the surer one first.

use super::drafter::PromptLookup;
use super::{DraftSource, Drafter, SequenceId};

/// Looks drafts up where the match is long, and else takes those of another drafter; a short match is for where that one has none.
#[derive(Debug)]
pub struct LookupFirst<D>(pub D);

/// Matches of this length go on more often than a smaller model is right; shorter ones stand in ordinary text by chance.
const LONG_MATCH: usize = 4;

impl<D: Drafter> Drafter for LookupFirst<D> {
    fn draft(
        &mut self,
        id: SequenceId,
        tokens: &[u32],
        limit: usize,
        draft: &mut Vec<u32>,
    ) -> DraftSource {
        let found = PromptLookup::longest_match(tokens);
        if found.as_ref().is_none_or(|found| found.len < LONG_MATCH) {
            let num_before = draft.len();
            let source = self.0.draft(id, tokens, limit, draft);
            if draft.len() > num_before {
                return source;
            }
        }
        if let Some(found) = found {
            draft.extend(tokens[found.end..].iter().take(limit));
        }
        DraftSource::Lookup
    }

    fn forget(&mut self, id: SequenceId) {
        self.0.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guesses the same token again and again, or nothing.
    #[derive(Debug)]
    struct Constant(Option<u32>);

    impl Drafter for Constant {
        fn draft(
            &mut self,
            _id: SequenceId,
            _tokens: &[u32],
            limit: usize,
            draft: &mut Vec<u32>,
        ) -> DraftSource {
            draft.extend(self.0.iter().cycle().take(limit));
            DraftSource::Model
        }
    }

    fn draft(other: Option<u32>, tokens: &[u32]) -> (DraftSource, Vec<u32>) {
        let mut draft = Vec::new();
        let source = LookupFirst(Constant(other)).draft(SequenceId(0), tokens, 2, &mut draft);
        (source, draft)
    }

    #[test]
    fn a_long_match_goes_before_the_other_and_a_short_one_after_it() {
        let long = [1, 2, 3, 4, 5, 6, 1, 2, 3, 4];
        let short = [1, 2, 5, 6, 1, 2];
        assert_eq!(draft(Some(9), &long), (DraftSource::Lookup, vec![5, 6]));
        assert_eq!(draft(Some(9), &short), (DraftSource::Model, vec![9, 9]));
        assert_eq!(draft(None, &short), (DraftSource::Lookup, vec![5, 6]));
        assert_eq!(draft(Some(9), &[1, 2, 3]), (DraftSource::Model, vec![9, 9]));
        assert_eq!(draft(None, &[1, 2, 3]).1, [0; 0]);
    }
}
