//! Drafts from the answer to a request like this one.

/// Shorter matches say too little.
const MIN_MATCH: usize = 2;
/// A match of this length is as good as a longer one.
const MAX_MATCH: usize = 8;

/// What `answer` has after what was drawn so far, `outputs`: from its beginning as long as nothing is drawn, then after the longest match of
/// their end, of equal ones after the one that is as far into the answer. So what follows a difference is found again.
pub(super) fn recalled<'a>(answer: &'a [u32], outputs: &[u32]) -> &'a [u32] {
    let Some(last) = outputs.last() else {
        return answer;
    };
    // All that was drawn is a match, however short it is.
    if answer.starts_with(outputs) {
        return &answer[outputs.len()..];
    }
    let match_len = |end: usize| {
        let pairs = answer[..end].iter().rev().zip(outputs.iter().rev());
        let pairs = pairs.take(MAX_MATCH);
        pairs.take_while(|(a, b)| a == b).count()
    };
    let ends = (1..=answer.len()).filter(|&end| answer[end - 1] == *last);
    let matches = ends.map(|end| (match_len(end), end));
    let best = matches
        .filter(|(len, _)| *len >= MIN_MATCH)
        .max_by_key(|&(len, end)| (len, std::cmp::Reverse(end.abs_diff(outputs.len()))));
    best.map_or(&[], |(_, end)| &answer[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_begins_alike_goes_on_alike() {
        assert_eq!(recalled(&[1, 2, 3], &[]), [1, 2, 3]);
        assert_eq!(recalled(&[1, 2, 3], &[1]), [2, 3]);
        assert_eq!(recalled(&[1, 2, 3], &[1, 2, 3]), [0; 0]);
        assert_eq!(recalled(&[], &[]), [0; 0]);
    }

    #[test]
    fn after_a_difference_the_rest_is_found_again() {
        let answer = [1, 2, 3, 4, 5, 6, 7];
        assert_eq!(recalled(&answer, &[1, 2, 9]), [0; 0]);
        // One token in common says too little, two are enough.
        assert_eq!(recalled(&answer, &[1, 2, 9, 4]), [0; 0]);
        assert_eq!(recalled(&answer, &[1, 2, 9, 4, 5]), [6, 7]);
        // Also where something was left out, or added.
        assert_eq!(recalled(&answer, &[8, 8, 8, 8, 1, 2]), [3, 4, 5, 6, 7]);
    }

    #[test]
    fn of_equal_matches_the_one_as_far_in_counts_and_a_longer_one_before_it() {
        let answer = [5, 6, 1, 5, 6, 2, 5, 6, 3];
        assert_eq!(recalled(&answer, &[9, 5, 6]), [1, 5, 6, 2, 5, 6, 3]);
        assert_eq!(recalled(&answer, &[9, 9, 9, 5, 6]), [2, 5, 6, 3]);
        assert_eq!(recalled(&answer, &[9, 2, 5, 6]), [3]);
    }
}
