//! Rules that rewrite tokens: what they match, and what they leave. What a pattern kept is `$1`, `$2`, … there, and `-$1` as
//! the word that it is a form of. What begins with `=?` stands for
//! a way to ask, which no text can spell; where it ends in `:`, a verb follows, in any form.

use super::inflection;
use super::map::Map;
use super::pattern::{Part, matches, part};
use super::words::{Kind, Token};

#[derive(Debug)]
enum Left {
    Word(&'static str),
    Sign(&'static str),
    Kept(usize),
    Base(usize),
}

#[derive(Debug)]
struct Rule {
    pattern: Vec<Part>,
    leaves: Vec<Left>,
}

/// Rules by the word they begin with.
#[derive(Debug)]
pub(super) struct Rules {
    rules: Vec<Rule>,
    by_word: Map<&'static str, Vec<usize>>,
    /// Those that begin with anything.
    others: Vec<usize>,
}

impl Rules {
    /// From patterns and what they leave; of several that match, the first counts.
    pub(super) fn new(table: impl IntoIterator<Item = (&'static str, &'static str)>) -> Self {
        let mut rules = Self {
            rules: Vec::new(),
            by_word: Map::default(),
            others: Vec::new(),
        };
        for (i, (pattern, leaves)) in table.into_iter().enumerate() {
            let rule = Rule {
                pattern: pattern.split(' ').map(part).collect(),
                leaves: leaves
                    .split(' ')
                    .filter(|left| !left.is_empty())
                    .map(left)
                    .collect(),
            };
            let mut is_word = false;
            for part in &rule.pattern {
                let Part::Words {
                    words, is_optional, ..
                } = part
                else {
                    break;
                };
                is_word = true;
                for word in words {
                    rules.by_word.entry(word).or_default().push(i);
                }
                if !is_optional {
                    break;
                }
            }
            if !is_word {
                rules.others.push(i);
            }
            rules.rules.push(rule);
        }
        rules
    }

    /// Rewrites the beginning of `tokens`, if a rule matches it: what is left, and how many tokens that replaces.
    pub(super) fn rewrite<'a>(&self, tokens: &[Token<'a>]) -> Option<(Vec<Token<'a>>, usize)> {
        let first = tokens.first().filter(|token| token.kind == Kind::Word);
        let by_word = first.and_then(|first| self.by_word.get(first.text.as_ref()));
        let mut kept = Vec::new();
        for i in by_word.into_iter().flatten().chain(&self.others) {
            let rule = &self.rules[*i];
            kept.clear();
            let Some(end) = matches(&rule.pattern, tokens, 0, &mut kept) else {
                continue;
            };
            let mut out = Vec::with_capacity(end + 2);
            for left in &rule.leaves {
                match left {
                    Left::Word(word) => out.push(Token::new(Kind::Word, *word)),
                    Left::Sign(sign) => out.push(Token::new(Kind::Sign, *sign)),
                    Left::Kept(n) => {
                        let range = kept.get(*n).cloned().unwrap_or_default();
                        out.extend_from_slice(&tokens[range]);
                    }
                    Left::Base(n) => {
                        let range = kept.get(*n).cloned().unwrap_or_default();
                        for token in &tokens[range] {
                            let mut token = token.clone();
                            token.text = inflection::base(&token.text).into();
                            out.push(token);
                        }
                    }
                }
            }
            return Some((out, end));
        }
        None
    }
}

fn left(text: &'static str) -> Left {
    let number = |prefix: &str| text.strip_prefix(prefix)?.parse::<usize>().ok();
    match (number("$"), number("-$")) {
        (Some(n), _) => Left::Kept(n - 1),
        (_, Some(n)) => Left::Base(n - 1),
        _ if text.starts_with('=') => Left::Sign(text),
        _ => Left::Word(text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tokens;
    use super::*;

    fn rewritten(rule: (&'static str, &'static str), text: &str) -> Option<String> {
        let (out, _) = Rules::new([rule]).rewrite(&tokens(text))?;
        let texts: Vec<&str> = out.iter().map(|token| token.text.as_ref()).collect();
        Some(texts.join(" "))
    }

    #[test]
    fn a_rule_keeps_what_its_gaps_and_choices_matched() {
        let rule = ("what $is|are the * of? * END", "=x $3 $2 $1");
        assert_eq!(
            rewritten(rule, "What are the legs of cats?"),
            Some("=x cats legs are".to_owned())
        );
        assert_eq!(
            rewritten(("what does * do", "=does $1"), "What does the old cat do"),
            Some("=does the old cat".to_owned())
        );
    }

    #[test]
    fn a_gap_stays_in_its_sentence() {
        assert_eq!(rewritten(("i * home", "$1"), "I run. Go home"), None);
        assert_eq!(
            rewritten(("i * . how", "$1"), "I run. How?"),
            Some("run".to_owned())
        );
    }
}
