//! Phrases that stand before a question.

use super::lexicon::Class;
use super::words::{Kind, Token};

/// How many tokens before the question are a phrase that may as well stand behind it.
pub(super) fn phrase(sentence: &[Token<'_>]) -> Option<usize> {
    let first = sentence.first()?;
    let is_asked = |token: Option<&Token<'_>>| {
        token.is_some_and(|token| token.kind == Kind::Word && token.is(Class::STARTER))
    };
    let is_when =
        ["when", "because", "since"].contains(&first.text.as_ref()) && is_asked(sentence.get(1));
    let comma = sentence.iter().enumerate().position(|(i, token)| {
        token.kind == Kind::Comma
            && (is_asked(sentence.get(i + 1))
                || sentence.get(i + 1).is_some_and(|next| next.is_word("i")))
    });
    if let Some(at) = comma {
        let fits = first.is(Class::OPENER) && first.kind == Kind::Word && !is_when;
        return fits.then_some(at + 1);
    }
    // Without a comma, where it is plain where the question begins.
    let is_place = [
        "in", "on", "at", "for", "with", "from", "to", "during", "after", "before",
    ]
    .contains(&first.text.as_ref());
    let asks = ["how", "what", "why", "when", "where", "who", "which"];
    let at = sentence
        .iter()
        .skip(2)
        .take(6)
        .position(|token| asks.contains(&token.text.as_ref()))?
        + 2;
    let is_question = is_asked(sentence.get(at + 1))
        || sentence[at].is_word("what")
        || sentence[at].is_word("which");
    (is_place
        && is_question
        && first.kind == Kind::Word
        && !sentence.iter().any(|token| token.kind == Kind::Comma))
    .then_some(at)
}

#[cfg(test)]
mod tests {
    use super::super::polite::plain;
    use super::*;

    #[test]
    fn a_phrase_ends_where_the_question_begins() {
        for (text, len) in [
            ("In Spain, when do shops open?", Some(3)),
            ("In Spain when do shops open?", Some(2)),
            ("If it rains, is the pool open?", Some(4)),
            ("Before I leave, in short, what is left?", Some(7)),
            ("When do shops open in Spain, and where?", None),
            ("Which is larger, in general, what do you think?", None),
            ("", None),
        ] {
            assert_eq!(phrase(&plain(text)), len, "{text}");
        }
    }
}
