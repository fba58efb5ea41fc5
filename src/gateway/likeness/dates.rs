//! Days of a month, in one order.

use super::lexicon::Class;
use super::numbers;
use super::words::{Kind, Token};

const MONTHS: &[(&str, &str)] = &[
    ("january", "jan"),
    ("february", "feb"),
    ("March", "mar"),
    ("april", "apr"),
    ("May", "may"),
    ("june", "jun"),
    ("july", "jul"),
    ("August", "aug"),
    ("september", "sep"),
    ("october", "oct"),
    ("november", "nov"),
    ("december", "dec"),
];

/// Puts a month before the day that stands beside it.
pub(super) fn days(tokens: &mut Vec<Token<'_>>) {
    let month = |token: &Token<'_>| {
        let is_word = token.kind == Kind::Word;
        let found = MONTHS.iter().find(|(name, short)| {
            token.text == *name
                || token.text == *short && *short != "may"
                || token.text == "sept" && *short == "sep"
        });
        found.filter(|_| is_word).map(|(name, _)| *name)
    };
    let day = |token: &Token<'_>| -> Option<String> {
        let text = token.text.trim_end_matches("th");
        let n = numbers::ordinal(text).or_else(|| text.parse().ok())?;
        (1..32).contains(&n).then(|| n.to_string())
    };
    let mut i = 0;
    while i + 1 < tokens.len() {
        let is_of = tokens[i + 1].is_word("of");
        let may_be = |token: &Token<'_>| {
            token.kind == Kind::Number || token.is(Class::SCOPE) || token.text.ends_with("th")
        };
        if !(may_be(&tokens[i]) || may_be(&tokens[i + 1])) {
            i += 1;
            continue;
        }
        let behind = i + 1 + usize::from(is_of);
        let found = if let (Some(month), Some(day), false) =
            (month(&tokens[i]), day(&tokens[i + 1]), is_of)
        {
            Some((month, day, i + 2))
        } else if let (Some(day), Some(month)) =
            (day(&tokens[i]), tokens.get(behind).and_then(month))
        {
            Some((month, day, behind + 1))
        } else {
            None
        };
        if let Some((month, day, end)) = found {
            let date = [Token::new(Kind::Word, month), Token::new(Kind::Number, day)];
            tokens.splice(i..end, date);
            i += 1;
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::words;
    use super::*;

    fn text(text: &str) -> String {
        let mut tokens = words::tokens(text);
        days(&mut tokens);
        words::joined(&tokens)
    }

    #[test]
    fn a_day_and_its_month_have_one_order() {
        assert_eq!(text("on the third of june"), text("on the june third"));
        assert_eq!(text("on 24 dec"), "on december 24");
        assert_ne!(text("on 24 dec"), text("on 12 dec"));
    }

    #[test]
    fn what_only_looks_like_a_day_stays() {
        for text_ in ["may 3 people enter", "in june 1999", "the second of them"] {
            assert_eq!(text(text_), text_);
        }
    }
}
