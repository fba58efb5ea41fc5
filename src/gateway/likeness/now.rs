//! Texts whose answers age.

use std::sync::LazyLock;

use super::map::{self, Set};
use super::words::{self, Kind};

const NOW: &str = "
    today today's tonight tonight's now nowadays currently current latest recent recently lately yesterday yesterday's tomorrow
    tomorrow's upcoming still yet newest presently breaking ongoing trending forecast weather ago anymore news outdated
";
/// What is near makes these a time that passes.
const NEAR: &[&str] = &[
    "this",
    "next",
    "last",
    "past",
    "coming",
    "previous",
    "these",
    "following",
];
const SPANS: &str = "
    second minute hour morning afternoon evening night day days week weeks weekend month months quarter season semester term spring
    summer autumn fall winter year years decade century monday tuesday wednesday thursday friday saturday sunday january february
    march april may june july august september october november december moment minutes hours christmas easter time election
";
const PHRASES: &str = "
    right now, at the moment, at present, at this time, up to date, as of, so far, these days, just now, any more, in the last,
    in the past, in the next, how old is, how old are, what time is it, what day is it, what date is it, what year is it,
    who is the president, who is the prime minister, until now, to date, what is new, stock price, share price, exchange rate,
    open now, on air, up to now
";

static WORDS: LazyLock<Set<&'static str>> = LazyLock::new(|| NOW.split_whitespace().collect());
static NEAR_SPANS: LazyLock<Set<&'static str>> =
    LazyLock::new(|| SPANS.split_whitespace().collect());

/// Whether a text speaks of a time that passes (today, now, the latest, this week, tomorrow), so that an answer to it ages.
pub fn speaks_of_now(text: &str) -> bool {
    let mut tokens = words::tokens(text);
    tokens.retain(|token| token.kind == Kind::Word);
    let words: Vec<&str> = tokens.iter().map(|token| token.text.as_ref()).collect();
    let has = |phrase: &str| {
        let len = phrase.split(' ').count();
        (words.windows(len)).any(|window| phrase.split(' ').eq(window.iter().copied()))
    };
    words.iter().any(|word| WORDS.contains(word))
        || (words.windows(2)).any(|pair| NEAR.contains(&pair[0]) && NEAR_SPANS.contains(pair[1]))
        || map::rows(PHRASES).any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for text in [
            "What's the weather like?",
            "Who won this week?",
            "What is the latest version of Python",
            "what time is it in Tokyo",
            "Is the shop open right now?",
            "Is it legal next year?",
            "How many people live there as of now?",
        ] {
            assert!(speaks_of_now(text), "{text}");
        }
        for text in [
            "What is the capital of Mongolia?",
            "How many days are in a leap year?",
            "Who wrote Jane Eyre?",
            "How do I sort a list in Python?",
        ] {
            assert!(!speaks_of_now(text), "{text}");
        }
    }
}
