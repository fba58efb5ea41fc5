//! Whether two forms say the same, in the same order but for phrases that are as good before a question as behind it.

use super::canonical::Form;
use super::lexicon::Class;
use super::words::{Kind, Token};

/// Whether all tokens agree.
pub(super) fn agree(a: &Form<'_>, b: &Form<'_>) -> bool {
    let (first, second) = (without_stops(&a.tokens), without_stops(&b.tokens));
    are_equal(&first, &second) && (a.num_moved == b.num_moved || may_move(a) && may_move(b))
        || a.num_moved > 0 && is_moved(&first, a.num_moved, &second)
        || b.num_moved > 0 && is_moved(&second, b.num_moved, &first)
        || are_swapped(&a.tokens, &b.tokens)
}

/// What weighs things against each other may mean another of them with a phrase behind it: "With milk, is tea better than coffee?"
fn may_move(form: &Form<'_>) -> bool {
    let (main, phrase) = form.tokens.split_at(form.tokens.len() - form.num_moved);
    let belongs = phrase.first().is_some_and(|first| {
        ["with", "without", "from", "to", "of"].contains(&first.text.trim_start_matches('='))
    });
    !belongs
        || !main
            .iter()
            .any(|token| token.text == "than" || token.text.starts_with("=?differ"))
}

fn without_stops<'b, 'a>(tokens: &'b [Token<'a>]) -> Vec<&'b Token<'a>> {
    tokens.iter().filter(|token| !token.is_mark()).collect()
}

fn are_equal(a: &[&Token<'_>], b: &[&Token<'_>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b))
}

/// Whether one token stands for the other. A sign does for all that are made more precise behind a dot.
pub(super) fn is_equal(a: &Token<'_>, b: &Token<'_>) -> bool {
    if a.text == b.text {
        // No text spells a sign.
        return (a.kind == Kind::Sign) == (b.kind == Kind::Sign);
    }
    let is_broader = |a: &str, b: &str| b.strip_prefix(a).is_some_and(|rest| rest.starts_with('.'));
    match (a.kind, b.kind) {
        (Kind::Sign, Kind::Sign) => is_broader(&a.text, &b.text) || is_broader(&b.text, &a.text),
        (Kind::Word, Kind::Word) => {
            (a.is_vague || b.is_vague) && a.text.eq_ignore_ascii_case(&b.text)
        }
        // Code of one word, with its marks and without.
        (Kind::Code, Kind::Code | Kind::Word) | (Kind::Word, Kind::Code) => {
            bare(&a.text) == bare(&b.text)
        }
        _ => false,
    }
}

fn bare(code: &str) -> &str {
    let inner = code
        .strip_prefix('`')
        .and_then(|code| code.strip_suffix('`'));
    inner.unwrap_or(code)
}

/// Whether `b` has the phrase that `a` had before its question inside, and all else as it is.
fn is_moved(a: &[&Token<'_>], num_moved: usize, b: &[&Token<'_>]) -> bool {
    let (main, phrase) = a.split_at(a.len() - num_moved);
    if a.len() != b.len() || phrase.is_empty() || main.is_empty() {
        return false;
    }
    // What the phrase belongs to must not depend on where it stands.
    let is_plain = |token: &&Token<'_>| !token.is(Class::JOINS) && token.text != phrase[0].text;
    // The word that asks joins nothing.
    if !main[1..].iter().all(is_plain) || !phrase[1..].iter().all(is_plain) {
        return false;
    }
    (1..=main.len()).any(|at| {
        are_equal(&main[..at], &b[..at])
            && are_equal(phrase, &b[at..at + num_moved])
            && are_equal(&main[at..], &b[at + num_moved..])
    })
}

/// Whether one is a question behind what is told, and the other the same question before it.
fn are_swapped(a: &[Token<'_>], b: &[Token<'_>]) -> bool {
    let (Some((first, second)), Some((third, fourth))) = (halves(a), halves(b)) else {
        return false;
    };
    let asks = |half: &[&Token<'_>]| {
        let first = half.first();
        first.is_some_and(|token| {
            token.text.starts_with("=?") || token.is(Class::STARTER) && token.is(Class::FUNCTION)
        })
    };
    let tells = |half: &[&Token<'_>]| half.first().is_some_and(|token| token.is(Class::TELLS));
    let is_order = tells(&first) && asks(&second) || asks(&first) && tells(&second);
    is_order && are_equal(&first, &fourth) && are_equal(&second, &third)
}

type Half<'b, 'a> = Vec<&'b Token<'a>>;

/// Two sentences.
fn halves<'b, 'a>(tokens: &'b [Token<'a>]) -> Option<(Half<'b, 'a>, Half<'b, 'a>)> {
    let mut sentences = tokens
        .split(|token| token.kind == Kind::Stop)
        .filter(|sentence| !sentence.is_empty());
    let halves = (sentences.next()?, sentences.next()?);
    let none = sentences.next();
    none.is_none()
        .then(|| (without_stops(halves.0), without_stops(halves.1)))
}
