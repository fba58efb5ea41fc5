//! What speaks against a pair.

use std::sync::LazyLock;

use super::canonical::Form;
use super::lexicon::Class;
use super::map::{self, Set};
use super::order;
use super::words::{Kind, Token};

macro_rules! gates {
    ($($(#[$doc:meta])* $gate:ident = $name:literal,)*) => {
        /// What speaks against two questions' asking the same.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Gate {
            $($(#[$doc])* $gate,)*
        }

        impl Gate {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$gate,)*];

            /// Its name, in lower case.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$gate => $name,)*
                }
            }
        }
    };
}

gates! {
    /// Code, or a quotation.
    Code = "code",
    /// A number.
    Number = "number",
    /// What a number counts.
    Unit = "unit",
    /// A day, or another time.
    Date = "date",
    /// One says no where the other does not.
    Negation = "negation",
    /// One says the opposite of the other.
    Antonym = "antonym",
    /// How many of those there are: all, some, the first, the most.
    Scope = "scope",
    /// May, must or should.
    Modality = "modality",
    /// Whom it is about.
    Subject = "subject",
    /// A name.
    Name = "name",
    /// One asks for something more.
    Constraint = "constraint",
    /// A word with content has another in its place.
    Content = "content",
    /// A word without content.
    Form = "form",
    /// The same words in another order.
    Order = "order",
    /// A language that the rules do not know.
    Language = "language",
}

/// Pairs that refusals are counted by; a word that is not known refuses all the same.
const ANTONYMS: &str = "
    open: close, open: shut, opened: closed, on: off, in: out, up: down, before: after, over: under, above: below, more: less,
    most: least, buy: sell, lend: borrow, start: stop, begin: end, increase: decrease, raise: lower, add: remove, add: subtract,
    enable: disable, activate: deactivate, install: uninstall, lock: unlock, encode: decode, encrypt: decrypt, compress: decompress,
    zip: unzip, upload: download, import: export, push: pull, send: receive, give: take, lost: found, win: lose, pass: fail,
    accept: reject, allow: forbid, love: hate, hot: cold, warm: cool, big: small, large: small, long: short, tall: short, high: low,
    old: new, old: young, early: late, fast: slow, good: bad, best: worst, cheap: expensive, safe: dangerous, legal: illegal,
    public: private, ascending: descending, first: last, minimum: maximum, min: max, arrive: leave, arrival: departure, raw: cooked,
    wet: dry, light: dark, light: heavy, freeze: thaw, inside: outside, indoors: outdoors, left: right, north: south, east: west,
    true: false, full: empty, shorter: longer, smaller: larger, increase: reduce, import: export, deposit: withdraw, credit: debit,
    hire: fire, entry: exit
";

static PAIRS: LazyLock<Set<(&'static str, &'static str)>> =
    LazyLock::new(|| map::pairs(ANTONYMS).collect());

/// Why forms that do not agree do not.
pub(super) fn objection(a: &Form<'_>, b: &Form<'_>) -> Gate {
    let (left, right) = (rest(&a.tokens, &b.tokens), rest(&b.tokens, &a.tokens));
    if left.is_empty() && right.is_empty() {
        return Gate::Order;
    }
    let all = || left.iter().chain(&right);
    let any = |class: Class| all().any(|token| token.is(class));
    let kind = |kind: Kind| all().any(|token| token.kind == kind);
    let is_unit = |token: &&Token<'_>| token.text.starts_with("=unit ");
    let content = |tokens: &[&Token<'_>]| {
        tokens
            .iter()
            .any(|token| !token.is(Class::FUNCTION) && token.kind == Kind::Word)
    };
    if kind(Kind::Code) || kind(Kind::Quote) {
        Gate::Code
    } else if kind(Kind::Number) {
        Gate::Number
    } else if all().any(is_unit) {
        Gate::Unit
    } else if any(Class::DATE) {
        Gate::Date
    } else if any(Class::NEGATION) {
        Gate::Negation
    } else if left
        .iter()
        .any(|a| right.iter().any(|b| are_antonyms(&a.text, &b.text)))
    {
        Gate::Antonym
    } else if any(Class::SCOPE) {
        Gate::Scope
    } else if any(Class::MODAL) {
        Gate::Modality
    } else if any(Class::PERSON) {
        Gate::Subject
    } else if all().any(|token| token.is_name) {
        Gate::Name
    } else {
        match (content(&left), content(&right)) {
            (true, true) => Gate::Content,
            (false, false) => Gate::Form,
            _ => Gate::Constraint,
        }
    }
}

fn are_antonyms(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim_start_matches('='), b.trim_start_matches('='));
    let denies = |a: &str, b: &str| {
        ["un", "in", "im", "il", "ir", "dis", "non", "de", "mis"]
            .iter()
            .any(|prefix| a.strip_prefix(prefix) == Some(b))
    };
    denies(a, b) || denies(b, a) || PAIRS.contains(&(a, b)) || PAIRS.contains(&(b, a))
}

/// The tokens of `a` that `b` does not have.
fn rest<'b, 'a>(a: &'b [Token<'a>], b: &[Token<'_>]) -> Vec<&'b Token<'a>> {
    let mut is_used = vec![false; b.len()];
    let left = a.iter().filter(|token| !token.is_mark()).filter(|token| {
        let same = (0..b.len()).find(|i| !is_used[*i] && order::is_equal(token, &b[*i]));
        if let Some(i) = same {
            is_used[i] = true;
        }
        same.is_none()
    });
    left.collect()
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use super::*;

    #[test]
    fn names_of_gates_are_bounded_and_in_lower_case() {
        assert!(
            Gate::ALL
                .iter()
                .all(|gate| gate.as_str().chars().all(|c| c.is_ascii_lowercase()))
        );
        let mut names: Vec<_> = Gate::ALL.iter().map(|gate| gate.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Gate::ALL.len());
    }

    #[test]
    fn a_refusal_says_what_speaks_against_the_pair() {
        for (a, b, gate) in [
            (
                "Is the order 48213 on its way?",
                "Is the order 48231 on its way?",
                Gate::Number,
            ),
            (
                "Are dogs allowed in the hotel?",
                "Are dogs not allowed in the hotel?",
                Gate::Negation,
            ),
            (
                "How do I fly from Paris to Rome?",
                "How do I fly from Rome to Paris?",
                Gate::Order,
            ),
            (
                "How do I lock my phone?",
                "How do I unlock my phone?",
                Gate::Antonym,
            ),
            ("Can I pay on Monday?", "Can I pay on Tuesday?", Gate::Date),
            ("Can I leave a tip?", "Must I leave a tip?", Gate::Modality),
            (
                "How far is 5 km to walk?",
                "How far is 5 miles to walk?",
                Gate::Unit,
            ),
            (
                "What does `a` do in C?",
                "What does `A` do in C?",
                Gate::Code,
            ),
            (
                "Where can I park my car?",
                "Where can I park your car?",
                Gate::Subject,
            ),
            (
                "What is the capital of Peru?",
                "What is the capital of Kenya?",
                Gate::Name,
            ),
            (
                "How do I cook rice?",
                "How do I cook rice with saffron?",
                Gate::Constraint,
            ),
            (
                "How do I sort all rows?",
                "How do I sort some rows?",
                Gate::Scope,
            ),
            ("Wie koche ich Reis?", "Wie brate ich Reis?", Gate::Language),
        ] {
            assert_eq!(compare(a, b), Err(gate), "{a} {b}");
        }
    }
}
