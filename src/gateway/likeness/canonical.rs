//! What a question asks, in words that stand for all ways to ask it.

use super::frames;
use super::fronted;
use super::inflection;
use super::lexicon::Class;
use super::numbers;
use super::spelling;
use super::synonyms;
use super::words::{Kind, Token};

/// No question is within more turns of phrase, one in the other.
const MAX_FRAMES: usize = 4;

/// Languages that programs are written in, as far as their names are nothing else.
const LANGUAGES: &str = "python java javascript js typescript kotlin scala haskell clojure erlang elixir ocaml fortran cobol matlab \
    php sql bash powershell golang c++ c# f# numpy css html excel pandas";

/// A question, its sentences in order, without commas.
#[derive(Debug)]
pub(super) struct Form<'a> {
    pub(super) tokens: Vec<Token<'a>>,
    /// How many tokens at the end stood before the question.
    pub(super) num_moved: usize,
}

/// The form of a text; words stand for others if `has_synonyms`.
pub(super) fn form<'a>(tokens: Vec<Token<'a>>, has_synonyms: bool) -> Form<'a> {
    let mut usual = Vec::with_capacity(tokens.len());
    numbers::in_digits(&tokens, &mut usual);
    spell(&mut usual);
    let mut out: Vec<Token<'a>> = Vec::with_capacity(usual.len() + 4);
    let mut num_moved = 0;
    let mut rest = &usual[..];
    while !rest.is_empty() {
        let starts_text = out.is_empty();
        let (mut sentence, used, moved) = sentence(rest, starts_text);
        rest = &rest[used..];
        num_moved = if starts_text && rest.is_empty() {
            moved
        } else {
            0
        };
        out.append(&mut sentence);
    }
    let moved_from = out.len() - num_moved;
    let (mut front, mut moved) = (Vec::new(), Vec::new());
    finish(&out[..moved_from], has_synonyms, &mut front);
    finish(&out[moved_from..], has_synonyms, &mut moved);
    let num_moved = moved.len();
    front.append(&mut moved);
    Form {
        tokens: front,
        num_moved,
    }
}

fn spell(tokens: &mut Vec<Token<'_>>) {
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i].kind == Kind::Word && !tokens[i].is_name {
            let one = match tokens.get(i + 1) {
                Some(next) if next.kind == Kind::Word => {
                    spelling::as_one(&tokens[i].text, &next.text)
                }
                _ => None,
            };
            if let Some(one) = one {
                tokens[i] = Token::new(Kind::Word, one);
                tokens.remove(i + 1);
            } else if let Some(usual) = spelling::usual(&tokens[i].text) {
                tokens[i].text = usual;
            }
        }
        i += 1;
    }
}

/// The next sentence with its frames, how many tokens it took, and how many of it stood before the question.
fn sentence<'a>(tokens: &[Token<'a>], starts_text: bool) -> (Vec<Token<'a>>, usize, usize) {
    let end = |tokens: &[Token<'_>]| {
        let at = tokens.iter().position(|token| token.kind == Kind::Stop);
        at.map_or(tokens.len(), |at| at + 1)
    };
    let num_before = starts_text
        .then(|| fronted::phrase(&tokens[..end(tokens)]))
        .flatten();
    let (phrase, main) = tokens.split_at(num_before.unwrap_or(0));
    // A rule may take a sentence that follows, as in "I want to leave. How?"
    let (mut framed, used) = match frames::FRAMES.rewrite(main) {
        Some((mut begin, len)) => {
            let is_whole = len > 0 && main[len - 1].kind == Kind::Stop;
            let used = len + if is_whole { 0 } else { end(&main[len..]) };
            begin.extend_from_slice(&main[len..used]);
            (begin, used)
        }
        None => (main[..end(main)].to_vec(), end(main)),
    };
    for _ in 1..MAX_FRAMES {
        let Some((mut begin, len)) = frames::FRAMES.rewrite(&framed) else {
            break;
        };
        begin.extend_from_slice(&framed[len..]);
        framed = begin;
    }
    let stop = match framed.last() {
        Some(last) if last.kind == Kind::Stop => framed.pop(),
        _ => None,
    };
    let moved: Vec<_> = phrase
        .iter()
        .filter(|token| !token.is_mark())
        .cloned()
        .collect();
    let num_moved = moved.len();
    framed.extend(moved);
    framed.extend(stop);
    (framed, phrase.len() + used, num_moved)
}

/// Adds tokens with their synonyms and without commas.
fn finish<'a>(tokens: &[Token<'a>], has_synonyms: bool, out: &mut Vec<Token<'a>>) {
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        i += 1;
        if token.kind == Kind::Comma {
            continue;
        }
        let follows_frame = out
            .last()
            .is_some_and(|last| last.kind == Kind::Sign && last.text.ends_with(':'));
        // "sort a list using Python"; not "by using Python", where it is a verb.
        let is_language = |next: &Token<'_>| {
            let mut names = LANGUAGES.split(' ');
            names.any(|name| name.eq_ignore_ascii_case(&next.text))
        };
        let is_bare = out
            .last()
            .is_none_or(|last| !last.is(Class::FUNCTION | Class::NEGATION));
        if token.is_word("using") && is_bare && tokens.get(i).is_some_and(is_language) {
            out.push(Token::new(Kind::Word, "in"));
            continue;
        }
        if let Some((name, len)) = bound(&tokens[i - 1..]) {
            i += len - 1;
            out.push(Token::new(Kind::Sign, name));
            continue;
        }
        let found = synonyms::find(&tokens[i - 1..], out.last(), has_synonyms);
        let token = match found {
            Some((name, len)) => {
                i += len - 1;
                out.push(match follows_frame {
                    true => Token::new(Kind::Sign, name.replacen("+ing", "", 1)),
                    false => Token::new(Kind::Sign, name),
                });
                continue;
            }
            None if follows_frame && token.kind == Kind::Word => {
                let mut token = token.clone();
                token.text = inflection::stem(&token.text).into();
                token
            }
            None => token.clone(),
        };
        out.push(token);
    }
}

/// A bound of the number that stands behind it, and how many words name it.
fn bound(tokens: &[Token<'_>]) -> Option<(&'static str, usize)> {
    let (first, rest) = tokens
        .split_first()
        .filter(|(first, _)| first.is(Class::SCOPE | Class::OPENER))?;
    let is_than = rest.first().is_some_and(|token| token.is_word("than"));
    let len = 1 + usize::from(is_than);
    let is_number = tokens
        .get(len)
        .is_some_and(|token| token.kind == Kind::Number);
    let name = match (first.text.as_ref(), is_than) {
        ("over" | "above", false) | ("more", true) => "=over",
        ("under" | "below", false) | ("less" | "fewer", true) => "=under",
        ("about" | "around" | "approximately" | "roughly", false) => "=about",
        _ => return None,
    };
    is_number.then_some((name, len))
}
