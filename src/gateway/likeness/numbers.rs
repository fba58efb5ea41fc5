//! Numbers, what they count, and days, each written in one way.

use super::dates;
use super::lexicon::Class;
use super::units;
use super::words::{Kind, Token};

const ONES: &str = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen \
    nineteen";
const TENS: &str = "twenty thirty forty fifty sixty seventy eighty ninety";
const POWERS: &[(&str, u64)] = &[
    ("thousand", 1_000),
    ("million", 1_000_000),
    ("billion", 1_000_000_000),
    ("trillion", 1_000_000_000_000),
];
const ORDINALS: &str = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth \
    sixteenth seventeenth eighteenth nineteenth twentieth";

/// The place of a word in a list, from zero.
fn place(list: &str, word: &str) -> Option<usize> {
    list.split(' ').position(|listed| listed == word)
}

/// The place in order that an ordinal names, from one.
pub(super) fn ordinal(word: &str) -> Option<usize> {
    place(ORDINALS, word).map(|place| place + 1)
}

/// Behind these, "one" is no number.
const NOT_COUNTED: &str = "does do can could should would must may which the this that another no";

/// The tokens with numbers as digits and units by their names.
pub(super) fn in_digits<'a>(tokens: &[Token<'a>], out: &mut Vec<Token<'a>>) {
    let mut i = 0;
    while i < tokens.len() {
        let token = &tokens[i];
        let before = out.last();
        if token.kind == Kind::Number {
            i += 1 + split(&token.text, tokens.get(i + 1), out);
            continue;
        }
        if token.kind == Kind::Word {
            if token.is(Class::COUNTS)
                && let Some((counted, used)) = counted(&tokens[i..], before)
            {
                out.extend(counted);
                i += used;
                continue;
            }
            // "5 degrees Celsius", "5 °C"
            let is_scale = before.is_some_and(|before| before.text == "=unit degree");
            let is_rate = before.is_some_and(|before| before.text == "=unit per");
            let is_behind =
                is_scale || is_rate || before.is_some_and(|before| before.kind == Kind::Number);
            if let Some(unit) = units::name(&token.text, is_behind) {
                if is_scale {
                    out.pop();
                }
                out.push(Token::new(Kind::Sign, format!("=unit {unit}")));
                i += 1;
                continue;
            }
            let is_unit = before.is_some_and(|before| before.text.starts_with("=unit "));
            if is_unit && matches!(token.text.as_ref(), "per" | "/") {
                out.push(Token::new(Kind::Sign, "=unit per"));
                i += 1;
                continue;
            }
            if token.text == "per" && tokens.get(i + 1).is_some_and(|next| next.is_word("cent")) {
                out.push(Token::new(Kind::Sign, "=unit %"));
                i += 2;
                continue;
            }
        }
        out.push(token.clone());
        i += 1;
    }
    dates::days(out);
}

/// The number in words that `tokens` begin with, and how many of them it takes.
fn counted<'a>(
    tokens: &[Token<'a>],
    before: Option<&Token<'_>>,
) -> Option<(Vec<Token<'a>>, usize)> {
    let first = tokens.first()?;
    if let Some(times) = place("twice thrice", &first.text) {
        let times = Token::new(Kind::Number, (times + 2).to_string());
        return Some((vec![times, Token::new(Kind::Sign, "=unit time")], 1));
    }
    let is_pronoun = |before: &Token<'_>| place(NOT_COUNTED, &before.text).is_some();
    if first.text == "one" && before.is_some_and(is_pronoun) {
        return None;
    }
    let (value, used) = spelled(tokens)?;
    Some((vec![Token::new(Kind::Number, value.to_string())], used))
}

/// Adds what a number in digits is made of; whether the word behind it was needed.
fn split<'a>(text: &str, next: Option<&Token<'a>>, out: &mut Vec<Token<'a>>) -> usize {
    let (sign, unsigned) = match text.strip_prefix(['-', '−']) {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = unsigned.trim_start_matches(units::CURRENCIES);
    let currency = &unsigned[..unsigned.len() - digits.len()];
    let unit = digits.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    let mut value = without_commas(&digits[..digits.len() - unit.len()]);
    if matches!(unit, "st" | "nd" | "rd" | "th") {
        let n = value.parse::<usize>().ok().filter(|n| *n > 0);
        match n.and_then(|n| ORDINALS.split(' ').nth(n - 1)) {
            Some(word) => out.push(Token::new(Kind::Word, word)),
            None => out.push(Token::new(Kind::Number, format!("{value}th"))),
        }
        return 0;
    }
    let power = next.and_then(|next| POWERS.iter().find(|(word, _)| next.is_word(word)));
    let mut used = 0;
    if let Some((_, power)) = power.filter(|_| unit.is_empty())
        && let Some(n) = value
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(*power))
    {
        value = n.to_string();
        used = 1;
    }
    out.push(Token::new(Kind::Number, sign.to_owned() + &value));
    if !currency.is_empty() {
        out.push(Token::new(Kind::Sign, format!("=unit {currency}")));
    }
    if !unit.is_empty() {
        match units::name(unit, currency.is_empty()) {
            Some(unit) => out.push(Token::new(Kind::Sign, format!("=unit {unit}"))),
            None => out.push(Token::new(Kind::Word, unit.to_owned())),
        }
    }
    used
}

/// Without the commas between groups of three digits.
fn without_commas(value: &str) -> String {
    let whole = value.split('.').next().unwrap_or(value);
    let mut groups = whole.split(',');
    let is_grouped = groups
        .next()
        .is_some_and(|first| (1..4).contains(&first.len()))
        && groups.all(|group| group.len() == 3);
    match is_grouped {
        true => value.replace(',', ""),
        false => value.to_owned(),
    }
}

/// A number in words at the beginning, and how many tokens it takes.
fn spelled(tokens: &[Token<'_>]) -> Option<(u64, usize)> {
    let word = |i: usize| {
        let token = tokens.get(i).filter(|token| token.kind == Kind::Word);
        token.map_or("", |token| token.text.as_ref())
    };
    let power = |i: usize| {
        POWERS
            .iter()
            .find(|(name, _)| *name == word(i))
            .map(|(_, value)| *value)
    };
    if matches!(word(0), "a" | "an") {
        let (value, used) = match word(1) {
            "hundred" => (100, 2),
            "dozen" => (12, 2),
            "minute" | "hour" | "day" | "week" | "month" | "year" => (1, 1),
            _ => (power(1)?, 2),
        };
        return Some((value, used));
    }
    let below_hundred = |i: usize| -> Option<(u64, usize)> {
        if let Some(n) = place(ONES, word(i)) {
            return Some((n as u64, 1));
        }
        let tens = 10 * (place(TENS, word(i))? as u64 + 2);
        let ones = place(ONES, word(i + 1));
        match ones.filter(|n| (1..10).contains(n)) {
            Some(n) => Some((tens + n as u64, 2)),
            None => Some((tens, 1)),
        }
    };
    let (mut value, mut used) = below_hundred(0)?;
    if word(used) == "hundred" {
        (value, used) = (value * 100, used + 1);
        let skipped = usize::from(word(used) == "and");
        if let Some((more, len)) = below_hundred(used + skipped) {
            (value, used) = (value + more, used + skipped + len);
        }
    }
    while let Some(product) = power(used).and_then(|power| value.checked_mul(power)) {
        (value, used) = (product, used + 1);
    }
    Some((value, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        in_digits(&super::super::polite::plain(text), &mut out);
        let kept = out.iter().filter(|token| !token.is_mark());
        kept.map(|token| token.text.to_string()).collect()
    }

    #[test]
    fn one_number_has_one_form() {
        for (a, b) in [
            ("twenty-five files", "25 files"),
            ("1,000 files", "a thousand files"),
            ("two hundred and fifty files", "250 files"),
            ("2 million files", "two million files"),
            ("for $40", "for 40 dollars"),
            ("takes 5km", "takes five kilometres"),
            ("at 15%", "at 15 per cent"),
            ("at 20 °C", "at 20 degrees Celsius"),
            ("at 50 km/h", "at 50 kilometers per hour"),
            ("paid twice", "paid two times"),
            ("on 3rd of June", "on June 3"),
            ("a 5-minute walk", "a five minutes walk"),
            ("10 MB", "10 megabytes"),
        ] {
            assert_eq!(texts(a), texts(b));
        }
    }

    #[test]
    fn other_numbers_and_units_have_other_forms() {
        for (a, b) in [
            ("3.1", "3.10"),
            ("-5", "5"),
            ("10 MB", "10 Mb"),
            ("£5", "5 pounds"),
            ("1,5", "15"),
            ("5 km", "5 km per hour"),
            ("3 am", "3 pm"),
            ("June 3", "June 4"),
            ("007", "7"),
        ] {
            assert_ne!(texts(a), texts(b));
        }
    }
}
