//! How far two questions ask the same, by their words: where an embedding finds them near, these gates look at what embeddings do not
//! see, which is order, negation, numbers and single words. What is not known to make no difference speaks against a pair: a refusal
//! costs a hit, a pair that passes wrongly costs an answer.

mod canonical;
mod chunk;
mod contractions;
mod dates;
mod frames;
mod fronted;
mod gates;
mod inflection;
mod lexicon;
mod map;
mod now;
mod numbers;
mod order;
mod pattern;
mod polite;
mod rules;
mod settle;
mod spelling;
mod synonyms;
mod synonyms_table;
mod typos;
mod units;
mod words;

pub use gates::Gate;
pub use now::speaks_of_now;

use lexicon::Class;
use words::{Kind, Token};

/// How far two questions ask the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Likeness {
    /// They differ by case, punctuation, white space, contractions or politeness alone: no check by a model is needed.
    Same,
    /// No gate objects; whether they ask the same is for a model to say.
    Alike,
}

impl Likeness {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Same, Self::Alike];

    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Alike => "alike",
        }
    }
}

/// So many words of English must a text have before rules for English are applied to it; one that begins a question counts twice.
const MIN_WORDS: usize = 2;
/// No text needs more to be its own normal form.
const MAX_ROUNDS: usize = 8;

/// Compares a question that was asked before with one that is asked now. The order of the two makes no difference.
///
/// # Errors
/// What speaks against their asking the same.
pub fn compare(stored: &str, asked: &str) -> Result<Likeness, Gate> {
    let (a, b) = (polite::plain(stored), polite::plain(asked));
    if words::are_equal(&a, &b) {
        return Ok(Likeness::Same);
    }
    let is_english = (is_english(&a), is_english(&b));
    if is_english != (false, false) && typos::are_but_one(&a, &b) {
        return Ok(Likeness::Alike);
    }
    if is_english != (true, true) {
        return Err(Gate::Language);
    }
    // Where words themselves are asked about, none may stand for another.
    let is_about_words = a.iter().chain(&b).any(|token| token.is(Class::META));
    let a = canonical::form(a, !is_about_words);
    let b = canonical::form(b, !is_about_words);
    if order::agree(&a, &b) {
        Ok(Likeness::Alike)
    } else {
        Err(gates::objection(&a, &b))
    }
}

/// A normal form: the same text for all texts between which [`compare`] finds [`Likeness::Same`].
pub fn normalised(text: &str) -> String {
    let mut normal = words::joined(&polite::plain(text));
    // What is left may read otherwise where marks were not in pairs.
    for _ in 0..MAX_ROUNDS {
        let again = words::joined(&polite::plain(&normal));
        if again == normal {
            break;
        }
        normal = again;
    }
    normal
}

fn is_english(tokens: &[Token<'_>]) -> bool {
    let weight = |token: &Token<'_>| {
        usize::from(token.is(Class::FUNCTION)) + usize::from(token.is(Class::STARTER))
    };
    tokens.iter().map(weight).sum::<usize>() >= MIN_WORDS
        && !(tokens.iter()).any(|token| {
            token.kind == Kind::Word && token.text.chars().any(|c| !c.is_ascii() && !is_latin(c))
        })
}

fn is_latin(c: char) -> bool {
    ('\u{c0}'..='\u{24f}').contains(&c)
}

#[cfg(test)]
mod pairs;
#[cfg(test)]
mod properties;
