//! Two ways to guess, the cheaper one first.

use super::{DraftSource, Drafter, PromptLookup, SequenceId};

/// Looks drafts up, and takes those of another drafter where nothing is found. That one hears of a sequence only then.
#[derive(Debug)]
pub struct LookupFirst<D>(pub D);

impl<D: Drafter> Drafter for LookupFirst<D> {
    fn draft(
        &mut self,
        id: SequenceId,
        tokens: &[u32],
        limit: usize,
        draft: &mut Vec<u32>,
    ) -> DraftSource {
        if limit == 0 {
            return DraftSource::Lookup;
        }
        let num_before = draft.len();
        let source = PromptLookup.draft(id, tokens, limit, draft);
        match draft.len() > num_before {
            true => source,
            false => self.0.draft(id, tokens, limit, draft),
        }
    }

    fn forget(&mut self, id: SequenceId) {
        self.0.forget(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guesses the same token again and again.
    #[derive(Debug)]
    struct Constant;

    impl Drafter for Constant {
        fn draft(
            &mut self,
            _id: SequenceId,
            _tokens: &[u32],
            limit: usize,
            draft: &mut Vec<u32>,
        ) -> DraftSource {
            draft.extend(std::iter::repeat_n(9, limit));
            DraftSource::Model
        }
    }

    fn draft(tokens: &[u32]) -> (DraftSource, Vec<u32>) {
        let mut draft = Vec::new();
        let source = LookupFirst(Constant).draft(SequenceId(0), tokens, 2, &mut draft);
        (source, draft)
    }

    #[test]
    fn the_other_guesses_where_nothing_is_found() {
        let repeating = [1, 2, 5, 6, 1, 2];
        assert_eq!(draft(&repeating), (DraftSource::Lookup, vec![5, 6]));
        assert_eq!(draft(&[1, 2, 3]), (DraftSource::Model, vec![9, 9]));
    }
}
