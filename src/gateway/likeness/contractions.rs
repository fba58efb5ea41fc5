//! Contractions written out.

use std::sync::LazyLock;

use super::map::{self, Map};
use super::words::{Kind, Token};

const SHORT: &str = "
    can't: can not, cannot: can not, cant: can not, won't: will not, wont: will not, shan't: shall not, let's: let us, dont: do not,
    doesnt: does not, didnt: did not, isnt: is not, arent: are not, wasnt: was not, werent: were not, couldnt: could not,
    shouldnt: should not, wouldnt: would not, havent: have not, hasnt: has not, hadnt: had not, mustnt: must not, whats: what is,
    wheres: where is, hows: how is, whos: who is, thats: that is, theres: there is, im: i am, ive: i have, youre: you are,
    theyre: they are, youve: you have, theyve: they have, weve: we have, youll: you will, itll: it will
";

const PRONOUNS: &[&str] = &[
    "i", "you", "he", "she", "it", "we", "they", "that", "this", "there", "here", "what", "who",
    "where", "when", "how", "why", "which",
];

static BY_WORD: LazyLock<Map<&'static str, &'static str>> =
    LazyLock::new(|| map::pairs(SHORT).collect());

/// The tokens with what is short in full.
pub(super) fn written_out(tokens: Vec<Token<'_>>) -> Vec<Token<'_>> {
    let mut out = Vec::with_capacity(tokens.len() + 4);
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let long = match token.kind {
            Kind::Word => long_form(&token.text, rest.peek()),
            _ => None,
        };
        let Some((first, second)) = long else {
            out.push(token);
            continue;
        };
        let mut first = Token::new(Kind::Word, first);
        first.is_joined = token.is_joined;
        out.extend([first, Token::new(Kind::Word, second)]);
    }
    out
}

fn long_form(word: &str, next: Option<&Token<'_>>) -> Option<(String, &'static str)> {
    if let Some(long) = BY_WORD.get(word) {
        let (first, second) = long.split_once(' ')?;
        return Some((first.to_owned(), second));
    }
    let (host, ending) = word.split_once('\'')?;
    if ending == "t" && word != "ain't" {
        return Some((host.strip_suffix('n')?.to_owned(), "not"));
    }
    let wishes = next.is_some_and(|next| {
        ["like", "love", "prefer", "rather", "appreciate", "be"].contains(&next.text.as_ref())
    });
    let verb = match ending {
        "s" => "is",
        "re" => "are",
        "ve" => "have",
        "ll" => "will",
        "m" => "am",
        "d" if wishes => "would",
        _ => return None,
    };
    (PRONOUNS.contains(&host)).then(|| (host.to_owned(), verb))
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;

    fn text(text: &str) -> String {
        words::joined(&written_out(words::tokens(text)))
    }

    #[test]
    fn contractions_are_written_out_but_no_possessives() {
        assert_eq!(
            text("What's wrong? I can't, won't, don't and I'd like it's end"),
            "what is wrong i can not will not do not and i would like it is end"
        );
        assert_eq!(text("What is the dog's name"), "what is the dog's name");
    }
}
