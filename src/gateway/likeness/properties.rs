//! What holds for any two texts.

use proptest::prelude::*;

use super::*;

/// Texts that are made of what the rules look at.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "Hi",
        "hello,",
        "Hey there!",
        "Please",
        "please",
        "thanks",
        "Thanks!",
        "thank you",
        ",",
        ".",
        "?",
        "!",
        ";",
        ":",
        " - ",
        "—",
        "…",
        "how",
        "How do I",
        "can I",
        "may i",
        "what is",
        "What's",
        "tell me",
        "the",
        "a",
        "an",
        "not",
        "can't",
        "don't",
        "I'd like to",
        "to",
        "from",
        "in",
        "before",
        "Rome",
        "Paris",
        "Rust",
        "rust",
        "US",
        "us",
        "MB",
        "Mb",
        "10 MB",
        "5kg",
        "$40",
        "1,000",
        "3.10",
        "-5",
        "twenty five",
        "two",
        "first",
        "2nd",
        "March 3",
        "3 May",
        "buy",
        "purchase",
        "photos",
        "if",
        "than",
        "only",
        "`a b`",
        "`",
        "\"yes\"",
        "\"",
        "'no'",
        "'",
        "it's",
        "dog's",
        "(",
        ")",
        "(or",
        "so)",
        "f(x)",
        "a[1:]",
        "--x",
        "x!",
        "C++",
        "c#",
        "node.js",
        "U.S.",
        "p.m.",
        "and/or",
        "e-mail",
        "iPhone",
        "getName",
        "é",
        "Straße",
        "东京",
        "İ",
        "ß",
        "\u{301}",
        "🙂",
        "\n",
        "\n\n",
        "\n    ",
        "\t",
        "  ",
        "°C",
        "%",
        "per cent",
        "=",
        "=?how:",
        "$1",
        "END",
    ]);
    prop::collection::vec(
        (pieces, prop::sample::select(vec![" ", " ", " ", ""])),
        0..14,
    )
    .prop_map(|pieces| {
        pieces
            .into_iter()
            .flat_map(|(piece, space)| [piece, space])
            .collect()
    })
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![2 => texts(), 1 => any::<String>()]
}

fn questions() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "How do I ship 48213 parcels by 17:30 on May 5?",
        "What is 15% of 240 in room 101b?",
        "Is the flat at 10-12 Main Street open since 1999?",
        "Which of the 3 trains to Ghent leaves at 7 pm?",
        "Are orders over $1,250.50 free in version 3.10 of `app2`?",
        "Explain RFC 2616, section 4.3.1, in 100 words.",
        "How warm is -40 °C at 5000m?",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn a_text_is_the_same_as_itself(text in any_text()) {
        prop_assert_eq!(compare(&text, &text), Ok(Likeness::Same));
    }

    #[test]
    fn a_pair_passes_in_either_direction_or_in_none(a in any_text(), b in any_text()) {
        prop_assert_eq!(compare(&a, &b).ok(), compare(&b, &a).ok());
    }

    #[test]
    fn a_normal_form_is_its_own_and_that_of_all_that_are_the_same(a in any_text(), b in texts()) {
        let normal = normalised(&a);
        prop_assert_eq!(normalised(&normal), normal.clone(), "{:?}", a);
        if compare(&a, &b) == Ok(Likeness::Same) {
            prop_assert_eq!(normalised(&b), normal);
        }
    }

    #[test]
    fn another_digit_speaks_against_a_pair(text in questions(), at in any::<prop::sample::Index>(), digit in 1..10u8) {
        let places: Vec<usize> = (0..text.len()).filter(|i| text.as_bytes()[*i].is_ascii_digit()).collect();
        let at = places[at.index(places.len())];
        let other = (text.as_bytes()[at] - b'0' + digit) % 10;
        let mut changed = text.clone();
        changed.replace_range(at..=at, &other.to_string());
        prop_assert!(compare(&text, &changed).is_err(), "{} {}", text, changed);
    }

    #[test]
    fn a_not_more_speaks_against_a_pair(text in prop_oneof![questions(), texts()], at in any::<prop::sample::Index>()) {
        // What is quoted has gates of its own.
        let text = text.replace(['`', '"', '\''], "");
        let words: Vec<&str> = text.split(' ').collect();
        let at = at.index(words.len() + 1);
        let denied = [&words[..at], &["not"], &words[at..]].concat().join(" ");
        prop_assert!(compare(&text, &denied).is_err(), "{:?} {:?}", text, denied);
    }

    #[test]
    fn what_a_direction_binds_cannot_be_swapped(
        (a, b) in prop::sample::select(vec![
            ("Paris", "Rome"), ("tea", "coffee"), ("miles", "inches"), ("the first draft", "the second draft"), ("Java", "Rust"), ("2 cups", "3 bowls"),
        ]),
        frame in prop::sample::select(vec![
            "How do I get from A to B?", "How long does the train from A to B take?", "Can I have A before B?", "Is A better than B?",
            "How do I turn A into B?", "Should A stand over B?", "From A to B, how far is it?", "Why does A come after B?",
            "What can I use instead of A for B?", "How do I move A under B?", "Before A, can I have B?", "Does A contain B?",
        ]),
    ) {
        let (first, second) = (frame.replace('A', "\0").replace('B', b).replace('\0', a), frame.replace('A', "\0").replace('B', a).replace('\0', b));
        prop_assert!(compare(&first, &second).is_err(), "{} {}", first, second);
    }

    #[test]
    fn no_text_makes_the_rules_panic(a in any::<String>(), b in any_text()) {
        let _ = (compare(&a, &b), speaks_of_now(&a), normalised(&b));
    }
}
