//! Words that stand for one another in questions.

use std::sync::LazyLock;

use super::inflection;
use super::lexicon::Class;
use super::map::{self, Map};
use super::synonyms_table::{NOUNS, OTHERS, TURNS, VERBS};
use super::words::{Kind, Token};

#[derive(Debug)]
struct Entry {
    words: Vec<String>,
    name: String,
    /// A turn of phrase that no question about words is about.
    is_turn: bool,
    is_verb: bool,
}

static ENTRIES: LazyLock<Map<String, Vec<Entry>>> = LazyLock::new(|| {
    let mut entries = Map::default();
    for row in map::rows(VERBS) {
        add_row(row, &inflection::verb, true, &mut entries);
    }
    for row in map::rows(NOUNS) {
        add_row(row, &inflection::noun, false, &mut entries);
    }
    for row in map::rows(OTHERS) {
        add_row(
            row,
            &|word| vec![(word.to_owned(), "")],
            false,
            &mut entries,
        );
    }
    for (name, words) in TURNS {
        for word in words.split_whitespace() {
            add(word, (*name).to_owned(), (true, false), &mut entries);
        }
    }
    for found in entries.values_mut() {
        // The longest counts.
        found.sort_by_key(|entry: &Entry| std::cmp::Reverse(entry.words.len()));
    }
    entries
});

/// Behind these, what looks like a verb is a noun.
const ARTICLES: &[&str] = &[
    "=a", "a", "an", "the", "my", "your", "his", "her", "its", "our", "their", "this", "each",
    "every", "no",
];

/// The name of what the tokens begin with, and how many of them it takes; turns of phrase alone without `has_synonyms`. `before` is the
/// token before them.
pub(super) fn find(
    tokens: &[Token<'_>],
    before: Option<&Token<'_>>,
    has_synonyms: bool,
) -> Option<(&'static str, usize)> {
    let first = tokens.first().filter(|token| token.kind == Kind::Word)?;
    let entries = ENTRIES.get(first.text.as_ref())?;
    let is_noun = before.is_some_and(|before| ARTICLES.contains(&before.text.as_ref()));
    // "which papers do I need to travel"
    let is_open = before.is_none_or(|before| {
        before.is_mark() || ["when", "where", "why"].contains(&before.text.as_ref())
    });
    let found = entries.iter().find(|entry| {
        let fits = |(i, word): (usize, &String)| {
            tokens.get(i).is_some_and(|token| {
                token.is_word(word)
                    && (entry.is_turn || !token.is_name || token.is(Class::FUNCTION))
            })
        };
        (has_synonyms || entry.is_turn)
            && !(is_noun && entry.is_verb)
            && (is_open || entry.name != "=?must")
            && entry.words.iter().enumerate().all(fits)
    });
    found.map(|entry| (entry.name.as_str(), entry.words.len()))
}

/// A row names the word that stands for all; behind a colon are those that stand for that one, but not for one another. Words are joined
/// by `_`, irregular forms by `/`; one behind `!` has no forms.
fn add_row(
    row: &str,
    forms: &dyn Fn(&str) -> Vec<(String, &'static str)>,
    is_verb: bool,
    entries: &mut Map<String, Vec<Entry>>,
) {
    let (alike, narrower) = row.split_once(" : ").unwrap_or((row, ""));
    let head = alike.split(['/', ' ']).next().unwrap_or_default();
    let items = alike.split(' ').map(|item| (item, String::new()));
    let narrower = narrower
        .split(' ')
        .filter(|item| !item.is_empty())
        .map(|item| {
            let base = item.split('/').next().unwrap_or_default();
            (item, format!(".{base}"))
        });
    for (item, behind) in items.chain(narrower) {
        let made = match item.strip_prefix('!') {
            Some(word) => vec![(word.to_owned(), "")],
            None => forms(item),
        };
        for (word, form) in made {
            add(
                &word,
                format!("={head}{form}{behind}"),
                (false, is_verb),
                entries,
            );
        }
    }
}

fn add(
    words: &str,
    name: String,
    (is_turn, is_verb): (bool, bool),
    entries: &mut Map<String, Vec<Entry>>,
) {
    let words: Vec<String> = words.split('_').map(str::to_owned).collect();
    let known = entries.entry(words[0].clone()).or_default();
    // Of forms that are spelled alike, as "put", the first counts.
    if !known.iter().any(|entry| entry.words == words) {
        known.push(Entry {
            words,
            name,
            is_turn,
            is_verb,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tokens;
    use std::collections::HashMap;

    use super::*;

    fn name(text: &str) -> Option<&'static str> {
        find(&tokens(text), None, true).map(|(name, _)| name)
    }

    #[test]
    fn synonyms_agree_form_by_form() {
        for (a, b) in [
            ("purchased", "bought"),
            ("photos", "pictures"),
            ("children", "kids"),
            ("carried on", "continued"),
            ("bigger", "larger"),
            ("cancelling", "calling off"),
            ("do i have to", "must i"),
            ("an", "a"),
        ] {
            let a = a.replace("cancelling", "canceling");
            assert!(name(&a).is_some() && name(&a) == name(b), "{a} {b}");
        }
        for (a, b) in [
            ("photo", "pictures"),
            ("bought", "buy"),
            ("must i", "can i"),
            ("turn on", "turn off"),
        ] {
            assert_ne!(name(a), name(b), "{a} {b}");
        }
    }

    #[test]
    fn names_are_no_synonyms_of_anything() {
        let text = tokens("We like the Big Apple best");
        assert!(find(&text[3..], None, true).is_none());
    }

    #[test]
    fn no_word_of_the_table_is_in_two_rows() {
        let mut seen: HashMap<&str, &str> = HashMap::new();
        let plain = [VERBS, NOUNS, OTHERS].into_iter().flat_map(map::rows);
        for row in plain.chain(TURNS.iter().map(|(_, words)| *words)) {
            for item in row
                .split([' ', '/', '\n'])
                .filter(|item| !matches!(*item, ":" | ""))
            {
                if let Some(other) = seen.insert(item, row) {
                    assert_eq!(other, row, "{item}");
                }
            }
        }
    }
}
