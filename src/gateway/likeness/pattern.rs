//! Patterns of tokens: words with a space between. `a|b` is either, a trailing `?` makes it optional, `$a|b` keeps which it was. `*` is some
//! tokens of one sentence, as few as fit; `_` is any one word, `#` a number, `@` code or a quotation, `Q` a quotation, `%` a word in "-ing",
//! `V` one in "-s", `P` one in "'s"; `.` ends a sentence, and `END` is where it, or the text, ends. Commas are passed over.

use std::ops::Range;

use super::words::{Kind, Token};

/// `$WH`: begins a question inside another.
const ASKS: &str = "what|who|where|when|why|how|which|if|whether";
/// `$DO`: what may be asked of one that writes.
const ORDERS: &str = "explain|write|give|translate|convert|compose|describe|list|show|calculate|compute|summarize|suggest|recommend|define|compare|draft|\
    provide|tell|rewrite|rephrase";
/// No turn of phrase bends around more tokens.
const MAX_GAP: usize = 14;

/// A part of a pattern.
#[derive(Debug)]
pub(super) enum Part {
    Words {
        words: Vec<&'static str>,
        is_optional: bool,
        is_kept: bool,
    },
    Gap,
    Any,
    Number,
    Literal,
    Quote,
    Gerund,
    Third,
    Possessive,
    Stop,
    End,
}

/// The part that a word of a pattern is.
pub(super) fn part(text: &'static str) -> Part {
    match text {
        "*" => Part::Gap,
        "_" => Part::Any,
        "#" => Part::Number,
        "@" => Part::Literal,
        "Q" => Part::Quote,
        "%" => Part::Gerund,
        "V" => Part::Third,
        "P" => Part::Possessive,
        "." => Part::Stop,
        "END" => Part::End,
        _ => {
            let (words, is_optional) = match text.strip_suffix('?') {
                Some(words) => (words, true),
                None => (text, false),
            };
            let (words, is_kept) = match words.strip_prefix('$') {
                Some(words) => (words, true),
                None => (words, false),
            };
            Part::Words {
                words: match words {
                    "WH" => ASKS.split('|').collect(),
                    "DO" => ORDERS.split('|').collect(),
                    _ => words.split('|').collect(),
                },
                is_optional,
                is_kept,
            }
        }
    }
}

/// Where the tokens end that a pattern matches from `at` on.
pub(super) fn matches(
    pattern: &[Part],
    tokens: &[Token<'_>],
    at: usize,
    kept: &mut Vec<Range<usize>>,
) -> Option<usize> {
    let Some((part, rest)) = pattern.split_first() else {
        return Some(at);
    };
    let next = tokens.get(at);
    if next.is_some_and(|next| next.kind == Kind::Comma) && !matches!(part, Part::End) {
        return matches(pattern, tokens, at + 1, kept);
    }
    let num_kept = kept.len();
    let mut one = |fits: bool, is_kept: bool| {
        if !fits {
            return None;
        }
        if is_kept {
            kept.push(at..at + 1);
        }
        let end = matches(rest, tokens, at + 1, kept);
        if end.is_none() {
            kept.truncate(num_kept);
        }
        end
    };
    let kind = next.map(|next| next.kind);
    match part {
        Part::Words {
            words,
            is_optional,
            is_kept,
        } => {
            let fits = next
                .is_some_and(|next| next.kind == Kind::Word && words.contains(&next.text.as_ref()));
            let end = one(fits, *is_kept);
            match end {
                None if *is_optional => matches(rest, tokens, at, kept),
                _ => end,
            }
        }
        Part::Any => one(kind == Some(Kind::Word), true),
        Part::Number => one(kind == Some(Kind::Number), true),
        Part::Literal => one(matches!(kind, Some(Kind::Code | Kind::Quote)), true),
        Part::Quote => one(kind == Some(Kind::Quote), true),
        Part::Gerund => {
            let is_gerund =
                next.is_some_and(|next| next.text.len() > 4 && next.text.ends_with("ing"));
            one(is_gerund && kind == Some(Kind::Word), true)
        }
        Part::Third => {
            let is_third = next.is_some_and(|next| {
                next.text.len() > 3 && next.text.ends_with('s') && !next.text.ends_with("ss")
            });
            one(is_third && kind == Some(Kind::Word), true)
        }
        Part::Possessive => {
            let is_owner = next.is_some_and(|next| next.text.ends_with("'s"));
            one(is_owner && kind == Some(Kind::Word), true)
        }
        Part::Stop => one(kind == Some(Kind::Stop), false),
        Part::End => {
            let is_end = next.is_none_or(|next| next.kind == Kind::Stop);
            is_end.then_some(at)
        }
        Part::Gap => {
            let sentence = tokens[at..]
                .iter()
                .take_while(|token| token.kind != Kind::Stop);
            for len in 1..=sentence.count().min(MAX_GAP) {
                kept.push(at..at + len);
                if let Some(end) = matches(rest, tokens, at + len, kept) {
                    return Some(end);
                }
                kept.truncate(num_kept);
            }
            None
        }
    }
}
