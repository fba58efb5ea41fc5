//! Added tokens (special and user-defined): finding them in text, and keeping text that merely
//! spells a special token from being one.
//!
//! Matching is leftmost-longest over the raw text, before any normaliser, as the tokenizer formats
//! prescribe for added tokens.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::error::TokenizerError;

/// A token that stands in the text literally, outside BPE.
#[derive(Debug, Clone, Default)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) text: String,
    /// Control tokens are special; user-defined ones are not.
    pub(super) special: bool,
    /// The token swallows white space before it.
    pub(super) lstrip: bool,
    /// The token swallows white space after it.
    pub(super) rstrip: bool,
    /// The token must not touch a word character.
    pub(super) single_word: bool,
}

#[derive(Debug)]
struct Matcher {
    automaton: AhoCorasick,
    tokens: Vec<AddedToken>,
}

impl Matcher {
    fn new(tokens: Vec<AddedToken>) -> Result<Self, TokenizerError> {
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|t| t.text.as_bytes()))
            .map_err(|e| TokenizerError::field("added tokens", e.to_string()))?;
        Ok(Self { automaton, tokens })
    }

    /// The leftmost-longest token at or after byte `from`.
    fn find(&self, text: &str, from: usize) -> Option<(Range<usize>, &AddedToken)> {
        let found = self.automaton.find(Input::new(text).range(from..))?;
        Some((found.range(), &self.tokens[found.pattern().as_usize()]))
    }
}

/// A stretch of text: an added token, or ordinary text (`None`).
pub(super) type Segment = (Range<usize>, Option<u32>);

/// The added tokens of a vocabulary.
#[derive(Debug)]
pub(super) struct AddedTokens {
    all: Matcher,
    user_defined: Matcher,
    special: Matcher,
}

impl AddedTokens {
    /// Special tokens of a single character are left out: nothing can tell them from ordinary text.
    pub(super) fn new(mut tokens: Vec<AddedToken>) -> Result<Self, TokenizerError> {
        tokens.retain(|t| t.text.chars().nth(usize::from(t.special)).is_some());
        let (special, user_defined) = tokens.iter().cloned().partition(|t| t.special);
        Ok(Self {
            all: Matcher::new(tokens)?,
            user_defined: Matcher::new(user_defined)?,
            special: Matcher::new(special)?,
        })
    }

    /// The id of the added token spelled `text`.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.all
            .tokens
            .iter()
            .find(|t| t.text == text)
            .map(|t| t.id)
    }

    /// Cuts `text` into segments that cover it in order; special tokens are found only with
    /// `parse_special`, user-defined ones always.
    pub(super) fn split(&self, text: &str, parse_special: bool) -> Vec<Segment> {
        let matcher = if parse_special {
            &self.all
        } else {
            &self.user_defined
        };
        let mut segments = Vec::new();
        let (mut done, mut from) = (0, 0);
        while let Some((mut range, token)) = matcher.find(text, from) {
            from = range.end;
            if token.single_word && touches_word(text, &range) {
                continue;
            }
            if token.lstrip {
                range.start = done + text[done..range.start].trim_end().len();
            }
            if token.rstrip {
                range.end = text.len() - text[range.end..].trim_start().len();
            }
            if done < range.start {
                segments.push((done..range.start, None));
            }
            (done, from) = (range.end, range.end);
            segments.push((range, Some(token.id)));
        }
        if done < text.len() {
            segments.push((done..text.len(), None));
        }
        segments
    }

    /// `text` with `guard` inside every spelled special token, after its first character, and after
    /// a tail that could become one with what follows; `None` if there is nothing to guard.
    ///
    /// Every starting position is broken, not only those of the longest matches: a shorter token
    /// inside a longer one would else come to light.
    pub(super) fn guard(&self, text: &str, guard: char) -> Option<String> {
        let mut guarded = String::new();
        let mut done = 0;
        while let Some((range, _)) = self.special.find(text, done) {
            let first = text[range.start..].chars().next()?;
            let cut = range.start + first.len_utf8();
            guarded.push_str(&text[done..cut]);
            guarded.push(guard);
            done = cut;
        }
        let open_tail = self
            .special
            .tokens
            .iter()
            .any(|t| ends_with_prefix(text, &t.text));
        if done == 0 && !open_tail {
            return None;
        }
        guarded.push_str(&text[done..]);
        if open_tail {
            guarded.push(guard);
        }
        Some(guarded)
    }
}

/// Whether `text` ends with a proper, non-empty prefix of `token`.
fn ends_with_prefix(text: &str, token: &str) -> bool {
    let mut cuts = token.char_indices().skip(1);
    cuts.any(|(cut, _)| text.ends_with(&token[..cut]))
}

fn touches_word(text: &str, range: &Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text[..range.start].chars().next_back().is_some_and(is_word)
        || text[range.end..].chars().next().is_some_and(is_word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(tokens: &[(u32, &str, bool)]) -> AddedTokens {
        let tokens = tokens.iter().map(|&(id, text, special)| AddedToken {
            id,
            text: text.into(),
            special,
            ..AddedToken::default()
        });
        AddedTokens::new(tokens.collect()).unwrap()
    }

    fn found(tokens: &AddedTokens, text: &str, parse: bool) -> Vec<u32> {
        tokens
            .split(text, parse)
            .into_iter()
            .filter_map(|s| s.1)
            .collect()
    }

    #[test]
    fn the_longest_token_wins_and_the_segments_cover_the_text() {
        let tokens = added(&[(1, "<a>", true), (2, "<a><b>", true), (3, "TAB", false)]);
        let text = "é<a><b>x<a>TAB";
        let segments = tokens.split(text, true);
        let ids: Vec<_> = segments.iter().map(|s| s.1).collect();
        assert_eq!(ids, [None, Some(2), None, Some(1), Some(3)]);
        let joined: String = segments.iter().map(|s| &text[s.0.clone()]).collect();
        assert_eq!(joined, text);
    }

    #[test]
    fn plain_text_still_holds_user_defined_tokens() {
        let tokens = added(&[(1, "<a>", true), (3, "TAB", false)]);
        assert_eq!(found(&tokens, "<a>TAB", false), [3]);
    }

    #[test]
    fn a_special_token_of_one_character_is_ordinary_text() {
        let tokens = added(&[(1, ".", true), (2, "é", true), (3, "!", false)]);
        assert_eq!(found(&tokens, ".é!", true), [3]);
    }

    #[test]
    fn stripping_tokens_swallow_white_space_and_single_words_stand_alone() {
        let base = AddedToken {
            id: 1,
            text: "<m>".into(),
            special: true,
            ..AddedToken::default()
        };
        let strip = AddedToken {
            lstrip: true,
            rstrip: true,
            ..base.clone()
        };
        let tokens = AddedTokens::new(vec![strip]).unwrap();
        assert_eq!(
            tokens.split("a <m>\n b", true),
            [(0..1, None), (1..7, Some(1)), (7..8, None)]
        );
        let word = AddedToken {
            single_word: true,
            ..base
        };
        let tokens = AddedTokens::new(vec![word]).unwrap();
        assert_eq!(found(&tokens, "x<m> <m>_ <m>", true).len(), 1);
    }

    #[test]
    fn no_special_token_survives_the_guard() {
        let tokens = added(&[
            (1, "<a<b>", true),
            (2, "<b>", true),
            (3, "bb", true),
            (4, "TAB", false),
        ]);
        for text in [
            "<a<b>",
            "x<b><b>",
            "bbbb",
            "<a<b>bb<b>",
            "b",
            "<a<",
            "TAB bb",
        ] {
            for next in ["", "b", "b>", "<b>", "a<b>"] {
                let guarded = tokens.guard(text, '\u{FDD0}').unwrap();
                let next = tokens.guard(next, '\u{FDD0}').unwrap_or(next.into());
                let ids = found(&tokens, &format!("{guarded}{next}"), true);
                assert!(
                    ids.iter().all(|&id| id == 4),
                    "{text:?} then {next:?}: {ids:?}"
                );
                assert_eq!(guarded.replace('\u{FDD0}', ""), text);
            }
        }
        assert_eq!(tokens.guard("TAB <c>", '\u{FDD0}'), None);
    }
}
