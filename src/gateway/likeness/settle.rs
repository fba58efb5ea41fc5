//! What can be said of a token only when all others are known.

use super::lexicon::Class;
use super::words::{Kind, Token};

/// Takes dashes between words for commas, and an end that stands apart from the last word for one; all others are code.
pub(super) fn marks(tokens: &mut [Token<'_>]) {
    for i in 0..tokens.len() {
        let is_long = |token: Option<&Token<'_>>| {
            token.is_some_and(|token| token.kind == Kind::Word && token.text.len() > 1)
        };
        let is_said = |token: &&Token<'_>| !token.is_mark();
        if matches!(tokens[i].text.as_ref(), "-" | "–" | "—")
            && is_long(tokens[..i].iter().rev().find(is_said))
            && is_long(tokens[i + 1..].iter().find(is_said))
        {
            tokens[i] = Token::new(Kind::Comma, "–");
        }
    }
    let mut said = tokens.iter_mut().rev().filter(|token| !token.is_mark());
    if let (Some(last), Some(before)) = (said.next(), said.next())
        && matches!(last.text.as_ref(), "?" | ".")
        && before.kind == Kind::Word
        && !before.is(Class::FUNCTION)
    {
        last.kind = Kind::Stop;
    }
}

/// Keeps the capitals that make a difference. In a text of capitals, or one where every word has one, they say nothing; nor where a sentence
/// begins.
pub(super) fn case(tokens: &mut [Token<'_>]) {
    let is_sentence_start =
        |tokens: &[Token<'_>], i: usize| i == 0 || tokens[i - 1].kind == Kind::Stop;
    let is_mixed = tokens.iter().enumerate().any(|(i, token)| {
        token.kind == Kind::Word
            && !token.is_name
            && token.text.len() > 3
            && !matches!(
                token.text.as_ref(),
                "from" | "with" | "into" | "than" | "over"
            )
            && token.text.starts_with(char::is_alphabetic)
            && !is_sentence_start(tokens, i)
    });
    let first = tokens.first();
    let is_careful =
        is_mixed && first.is_some_and(|token| token.is_name || token.kind != Kind::Word);
    for i in 0..tokens.len() {
        let is_start = is_sentence_start(tokens, i);
        let is_counted = i > 0 && tokens[i - 1].kind == Kind::Number;
        let token = &mut tokens[i];
        if token.kind != Kind::Word {
            continue;
        }
        let is_capitals = token.is_vague;
        let is_acronym = token.is(Class::ACRONYM);
        token.is_name &= is_mixed && !is_start;
        token.is_vague = false;
        if !(token.is(Class::CASED) || is_acronym) {
            continue;
        }
        let differs = token.is_name && (is_capitals || token.is(Class::CASED)) && !is_counted;
        if differs {
            let mut text = token.text.to_uppercase();
            if !is_acronym {
                let end = text.chars().next().map_or(0, char::len_utf8);
                text.truncate(end);
                text.push_str(token.text.get(end..).unwrap_or_default());
            }
            token.text = text.into();
            token.class = Class::default();
        } else {
            token.is_vague = is_start || !is_careful;
        }
    }
}
