//! What stands between two spaces, as tokens.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::map::Set;
use super::units;
use super::words::{Kind, Token};

const ENDS: &[char] = &[
    '.', ',', ';', ':', '!', '?', '…', '"', '”', '’', '\'', '»', ')',
];

/// Names of products with a capital inside, which are written in many ways.
const PRODUCTS: &str = "
    airbnb airpods airtag android bigquery bitbucket bitcoin bittorrent chatgpt clickhouse cloudflare cosmosdb couchdb datadog
    digitalocean dropbox duckdb dynamodb ebay elasticsearch facebook facetime fedex github gitlab graphql hubspot icloud imac imessage
    instagram ios ipad iphone ipod itunes javascript jenkins jquery latex linkedin macbook macos mariadb mcdonalds mongodb mysql nosql
    onedrive openai openssl opengl paypal photoshop playstation postgresql powerpoint powershell pytorch rabbitmq sharepoint snapchat
    soundcloud sqlite stackoverflow tensorflow tiktok typescript virtualbox vmware watchos webassembly wechat whatsapp wifi wordpress
    youtube coffeescript actionscript webgl numpy scipy
";

static PRODUCTS_SET: LazyLock<Set<&'static str>> =
    LazyLock::new(|| PRODUCTS.split_whitespace().collect());

/// Adds the tokens of `chunk`, which has no white space; `is_glued` where none stands before it, `next` is what comes after it.
pub(super) fn split<'a>(
    chunk: &'a str,
    is_glued: bool,
    next: Option<char>,
    out: &mut Vec<Token<'a>>,
) {
    if chunk.chars().all(|c| ENDS.contains(&c)) {
        if is_glued && !chunk.contains(')') {
            out.push(mark(chunk));
        } else {
            out.push(Token::new(Kind::Code, chunk));
        }
        return;
    }
    let mut core = chunk.trim_start_matches(['"', '“', '‘', '\'', '«']);
    if let Some(inner) = core.strip_prefix('(')
        && inner.starts_with(char::is_alphabetic)
    {
        out.push(Token::new(Kind::Word, "("));
        core = inner;
    }
    let is_program = core.contains(['[', '{', '(']);
    let mut has_close = false;
    let whole = core;
    while let Some(c) = core.chars().next_back().filter(|c| ENDS.contains(c)) {
        if is_program && matches!(c, ',' | ';' | ':' | ')') {
            break;
        }
        has_close |= c == ')';
        core = &core[..core.len() - c.len_utf8()];
    }
    let after = &whole[core.len()..];
    // A factorial, a length in inches, or a name that ends in a mark.
    let is_short = core.chars().all(|c| c.is_ascii_digit()) || core.chars().nth(1).is_none();
    let is_called = next.is_some_and(char::is_lowercase) && after.chars().nth(1).is_none();
    let is_part = after.starts_with('!') && (is_short || is_called)
        || after.starts_with('?') && is_called
        || after.starts_with(['"', '\'', '’', '”']) && core.ends_with(|c: char| c.is_ascii_digit());
    if core.is_empty() || is_part {
        out.push(Token::new(Kind::Code, whole));
        return;
    }
    classify(core, out);
    if has_close {
        out.push(Token::new(Kind::Word, ")"));
    }
    if !after.is_empty() {
        out.push(mark(after));
    }
}

fn mark(text: &str) -> Token<'_> {
    let kind = match text.contains(['.', '!', '?', '…']) {
        true => Kind::Stop,
        false => Kind::Comma,
    };
    Token::new(kind, text)
}

fn classify<'a>(core: &'a str, out: &mut Vec<Token<'a>>) {
    let letters = core.trim_end_matches(['#', '+']);
    let is_counted = out.last().is_some_and(|last| last.kind == Kind::Number);
    if is_counted && (units::is_cased(core) || core == "%") {
        out.push(Token::new(Kind::Word, core));
    } else if core.bytes().all(|c| c.is_ascii_alphabetic()) {
        out.push(word(core, core));
    } else if is_number(core) {
        out.push(Token::new(Kind::Number, number(core)));
    } else if matches!(&core[letters.len()..], "#" | "++") && is_word(letters) {
        out.push(Token::new(Kind::Word, core.to_lowercase()));
    } else if core.contains('.') && core.split('.').all(|part| part.len() == 1 && is_word(part)) {
        out.push(word(core, core.replace('.', "")));
    } else if core.split('/').nth(1).is_some() && core.split('/').all(is_word) {
        for (i, part) in core.split('/').enumerate() {
            if i > 0 {
                out.push(Token::new(Kind::Word, "/"));
            }
            out.push(word(part, part));
        }
    } else if let Some((before, behind)) = core.split_once(['—', '–'])
        && is_word(before)
        && is_word(behind)
    {
        out.push(word(before, before));
        out.push(Token::new(Kind::Comma, "–"));
        out.push(word(behind, behind));
    } else if core.split('-').all(|part| is_word(part) || is_number(part))
        && !core.split('-').all(is_number)
        && !core.starts_with('-')
    {
        for (i, part) in core.split('-').enumerate() {
            let mut token = match is_number(part) {
                true => Token::new(Kind::Number, number(part)),
                false => word(part, part),
            };
            token.is_joined = i > 0;
            out.push(token);
        }
    } else if let Some(scale) = core.strip_prefix('°').filter(|scale| is_word(scale)) {
        out.push(word(core, format!("°{scale}")));
    } else {
        out.push(Token::new(Kind::Code, core));
    }
}

/// A word as it was written, or in place of what was.
fn word<'a>(written: &str, text: impl Into<Cow<'a, str>>) -> Token<'a> {
    let text = text.into();
    let lower = match text.chars().any(char::is_uppercase) || text.contains('’') {
        true => text.to_lowercase().replace('’', "'").into(),
        false => text.clone(),
    };
    let mut chars = written.chars();
    let mut is_lower = false;
    let has_hump = chars.any(|c| {
        let is_hump = is_lower && c.is_uppercase();
        is_lower = c.is_lowercase();
        is_hump
    });
    if has_hump && !PRODUCTS_SET.contains(lower.as_ref()) {
        return Token::new(Kind::Code, text);
    }
    let mut token = Token::new(Kind::Word, lower);
    token.is_name = written.starts_with(char::is_uppercase);
    // All capitals, for now; what that says is seen when all words are there.
    token.is_vague = token.is_name && !written.chars().any(char::is_lowercase);
    token
}

fn is_word(part: &str) -> bool {
    let mut chars = part.chars();
    let is_letter = |c: char| c.is_alphabetic() && c.to_lowercase().all(char::is_alphabetic);
    chars.next().is_some_and(is_letter)
        && chars.all(|c| is_letter(c) || c.is_ascii_digit() || matches!(c, '\'' | '’'))
}

/// Digits, with a sign or a currency before them and a unit behind.
fn is_number(part: &str) -> bool {
    let unsigned = part.strip_prefix(['-', '+', '−']).unwrap_or(part);
    let digits = unsigned.strip_prefix(units::CURRENCIES).unwrap_or(unsigned);
    let unit = digits.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | ','));
    let value = &digits[..digits.len() - unit.len()];
    let is_unit = unit.is_empty()
        || matches!(unit, "%" | "°")
        || unit.chars().all(|c| c.is_ascii_alphabetic())
        || unit.strip_prefix('°').is_some_and(is_word)
        || unit.strip_prefix(units::CURRENCIES) == Some("");
    let groups = value.split(['.', ',']);
    is_unit
        && !value.is_empty()
        && groups.clone().all(|group| !group.is_empty())
        && groups.count() < 5
        && value.matches('.').count() < 2
}

fn number(core: &str) -> Cow<'_, str> {
    let digits = core.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if units::is_cased(&core[digits.len()..]) || !core.contains(|c: char| c.is_ascii_uppercase()) {
        core.into()
    } else {
        core.to_lowercase().into()
    }
}
