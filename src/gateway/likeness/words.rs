//! A text as words, numbers, code, quotations and marks, in order. All that is not known to be mere punctuation stays.

use std::borrow::Cow;

use super::lexicon::Class;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In lower case, but where a capital makes a difference.
    Word,
    /// As it is written.
    Number,
    /// What a number counts, or what stands for a turn of phrase: not as it was written.
    Sign,
    /// To the letter, with its marks.
    Code,
    /// To the letter, with its marks.
    Quote,
    /// A mark inside a sentence; not part of a normal form.
    Comma,
    /// A mark between sentences; not part of a normal form.
    Stop,
}

/// A part of a text.
#[derive(Clone, Debug)]
pub(super) struct Token<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) kind: Kind,
    pub(super) class: Class,
    /// A hyphen joins it to the one before.
    pub(super) is_joined: bool,
    /// A capital that stands inside a sentence.
    pub(super) is_name: bool,
    /// A capital would make a difference, and there is none to be expected where it stands.
    pub(super) is_vague: bool,
}

impl<'a> Token<'a> {
    pub(super) fn new(kind: Kind, text: impl Into<Cow<'a, str>>) -> Self {
        let text = text.into();
        let class = match kind {
            Kind::Word => Class::of(&text),
            // A sign is what the word is that it is named after.
            Kind::Sign => {
                let name = text.trim_start_matches(['=', '?']);
                Class::of(name.split(['+', '.']).next().unwrap_or_default())
            }
            _ => Class::default(),
        };
        Self {
            text,
            kind,
            class,
            is_joined: false,
            is_name: false,
            is_vague: false,
        }
    }

    pub(super) fn is(&self, class: Class) -> bool {
        self.class.has(class)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }

    pub(super) fn is_mark(&self) -> bool {
        matches!(self.kind, Kind::Comma | Kind::Stop)
    }
}

/// The tokens without marks, as a text that has the same tokens again.
pub(super) fn joined(tokens: &[Token<'_>]) -> String {
    let mut text = String::new();
    for token in tokens.iter().filter(|token| !token.is_mark()) {
        if token.is_joined {
            text.push('-');
        } else if !text.is_empty() && !text.ends_with(char::is_whitespace) {
            text.push(' ');
        }
        text.push_str(&token.text);
    }
    text
}

/// Whether two texts have the same tokens without marks.
pub(super) fn are_equal(a: &[Token<'_>], b: &[Token<'_>]) -> bool {
    fn said<'b, 'a>(tokens: &'b [Token<'a>]) -> impl Iterator<Item = (&'b str, Kind, bool)> {
        let kept = tokens.iter().filter(|token| !token.is_mark());
        kept.map(|token| (token.text.as_ref(), token.kind, token.is_joined))
    }
    said(a).eq(said(b))
}

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut is_glued = false;
    while let Some(c) = rest.chars().next() {
        if c.is_whitespace() {
            let next = rest.trim_start();
            let space = &rest[..rest.len() - next.len()];
            let lines = space.matches('\n').count();
            let indent = space.rsplit('\n').next().unwrap_or_default();
            if lines > 1 {
                found.push(Token::new(Kind::Stop, "\n"));
            }
            // White space that leads a line may be a program's.
            if lines > 0 && indent.len() > 1 && !next.is_empty() {
                found.push(Token::new(
                    Kind::Code,
                    &space[space.len() - indent.len() - 1..],
                ));
            }
            (rest, is_glued) = (next, false);
            continue;
        }
        let len = if let Some(len) = code_len(rest) {
            found.push(Token::new(Kind::Code, &rest[..len]));
            len
        } else if let Some((len, quote)) = quote(rest) {
            found.push(Token::new(Kind::Quote, quote));
            len
        } else {
            let len = rest
                .find(|c: char| c.is_whitespace() || c == '`')
                .unwrap_or(rest.len());
            let next = rest[len..].trim_start().chars().next();
            super::chunk::split(&rest[..len], is_glued, next, &mut found);
            len
        };
        rest = &rest[len..];
        is_glued = true;
    }
    super::settle::marks(&mut found);
    found
}

/// The length of code between backticks that `text` begins with.
fn code_len(text: &str) -> Option<usize> {
    let ticks = text.len() - text.trim_start_matches('`').len();
    if ticks == 0 {
        return None;
    }
    // What is not closed is code to the end.
    let close = text[ticks..].find(&text[..ticks]);
    Some(close.map_or(text.len(), |close| 2 * ticks + close))
}

/// The length of a quotation that `text` begins with, and that quotation within one kind of marks.
fn quote(text: &str) -> Option<(usize, Cow<'_, str>)> {
    let open = text.chars().next()?;
    let close = match open {
        '"' => '"',
        '\'' => '\'',
        '“' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    let inner = &text[open.len_utf8()..];
    let is_apostrophe = matches!(close, '\'' | '’');
    let (at, _) = inner.match_indices(close).find(|(at, mark)| {
        let next = inner[at + mark.len()..].chars().next();
        let is_inside = next.is_some_and(char::is_alphanumeric);
        let is_after_space = inner[..*at].ends_with(char::is_whitespace);
        *at > 0 && !(is_apostrophe && (is_inside || is_after_space))
    })?;
    let said = &inner[..at];
    let len = open.len_utf8() + at + close.len_utf8();
    if is_apostrophe && said.starts_with(char::is_whitespace) {
        return None;
    }
    let is_plain = open == '"' || said.contains('"');
    let quoted = if is_plain {
        text[..len].into()
    } else {
        format!("\"{said}\"").into()
    };
    Some((len, quoted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let kept = tokens(text).into_iter().filter(|token| !token.is_mark());
        kept.map(|token| token.text.into_owned()).collect()
    }

    #[test]
    fn code_and_quotations_stay_as_they_are_written() {
        assert_eq!(
            texts("Does `Foo Bar` print “Hi There”, or 'No'?"),
            ["does", "`Foo Bar`", "print", "\"Hi There\"", "or", "\"No\""]
        );
        for code in [
            "a[1:]",
            "a[:1]",
            "--force",
            "-x",
            "foo_bar",
            "getElement",
            "a==b",
            "f(x)",
            "/etc/hosts",
            "https://a.b/C?d=e",
            "x!",
            "192.168.0.1",
            "1/2",
            "[1,",
            "::",
            "+",
            "2024-01-02",
        ] {
            assert_eq!(texts(&format!("Why {code} here?"))[1], code);
        }
    }

    #[test]
    fn punctuation_case_and_white_space_are_dropped_where_they_say_nothing() {
        assert_eq!(
            texts("  Hello,\tWORLD! It's   me… (really)?? "),
            ["hello", "world", "it's", "me", "(", "really", ")"]
        );
    }

    #[test]
    fn the_space_that_leads_a_line_counts() {
        assert_ne!(texts("if x:\n  y\nz"), texts("if x:\n  y\n  z"));
        assert_eq!(texts("one\ntwo"), texts("one two"));
    }
}
