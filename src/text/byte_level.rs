//! The byte-level alphabet: how byte-level BPE vocabularies spell a byte as a printable character.
//!
//! Printable Latin-1 bytes stand for themselves; the other 68, in ascending order, are U+0100 and
//! up (GPT-2, `encoder.py`, `bytes_to_unicode`).

/// The byte that character `c` spells, if it is one of the 256 of the alphabet.
pub(super) fn byte_of(c: char) -> Option<u8> {
    match c {
        '!'..='~' | '¡'..='¬' | '®'..='ÿ' => u8::try_from(u32::from(c)).ok(),
        '\u{100}'..='\u{143}' => {
            // The bytes left over are 0..=32, 127..=160 and 173.
            let rank = u32::from(c) - 0x100;
            let byte = match rank {
                0..=32 => rank,
                33..=66 => rank - 33 + 127,
                _ => 173,
            };
            u8::try_from(byte).ok()
        }
        _ => None,
    }
}

/// The bytes a vocabulary entry spells, or `None` if it holds a character outside the alphabet.
pub(super) fn bytes_of(token: &str) -> Option<Vec<u8>> {
    token.chars().map(byte_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;

    #[test]
    fn the_alphabet_is_a_bijection_with_the_bytes() {
        let mut bytes: Vec<u8> = ByteLevel::alphabet()
            .into_iter()
            .map(|c| byte_of(c).unwrap())
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
        assert_eq!(byte_of('\u{144}'), None);
        assert_eq!(byte_of('\u{a0}'), None);
    }

    #[test]
    fn a_spelled_word_is_its_utf8_bytes() {
        assert_eq!(bytes_of("ĠhÃ©Ċ").unwrap(), " hé\n".as_bytes());
        assert_eq!(bytes_of("日"), None);
    }
}
