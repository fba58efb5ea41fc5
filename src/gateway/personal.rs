//! Whether a text names somebody: what is asked then is that one's business, and no answer to it is given to a question that is merely like it.

/// Digits of a telephone, an account or a card, at least.
const MIN_DIGITS: usize = 7;

/// Whether the text has an address of e-mail, or a number that is somebody's: of seven digits or more, grouped or not.
pub fn is_personal(text: &str) -> bool {
    text.split_whitespace().any(is_address) || has_long_number(text)
}

/// `name@host.tld`, with whatever stands around it.
fn is_address(word: &str) -> bool {
    let Some((name, host)) = word.rsplit_once('@') else {
        return false;
    };
    let labels: Vec<&str> = host.split('.').collect();
    let is_label = |label: &&str| label.starts_with(char::is_alphanumeric);
    name.ends_with(char::is_alphanumeric) && labels.len() >= 2 && labels.iter().all(is_label)
}

/// Digits that only what groups them stands between.
fn has_long_number(text: &str) -> bool {
    let mut num_digits = 0;
    for c in text.chars() {
        if c.is_numeric() {
            num_digits += 1;
            if num_digits >= MIN_DIGITS {
                return true;
            }
        } else if !matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '\u{a0}' | '\u{202f}') {
            num_digits = 0;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_long_numbers_are_somebodys() {
        for text in [
            "Is ann.o'neil@example.co.uk a customer?",
            "Write to <a@b.org>, please.",
            "Call +44 (0)20 7946-0958 for me",
            "Where is parcel 00340434161094?",
            "What is wrong with card 4111 1111 1111 1111?",
            "Ist IBAN DE89 3704 0044 0532 0130 00 gültig?",
        ] {
            assert!(is_personal(text), "{text}");
        }
    }

    #[test]
    fn what_anybody_may_ask_is_nobodys() {
        for text in [
            "",
            "What does @media do in CSS?",
            "How do I use user@host in ssh?",
            "Who won in 1998, 2002 and 2006?",
            "What is 125000 divided by 8?",
            "Why is 3.14159 nearly pi?",
        ] {
            assert!(!is_personal(text), "{text}");
        }
    }
}
