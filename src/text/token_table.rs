//! What every token id stands for: its raw bytes and whether it is special.
//!
//! Ids are dense from 0; an id nothing was set for has no bytes.

use super::byte_level;

/// How a vocabulary spells bytes in its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Every byte is a character of the byte-level alphabet.
    ByteLevel,
    /// `▁` is a space and `<0xNN>` a single byte.
    SentencePiece,
}

impl Spelling {
    /// The bytes an ordinary entry stands for; an entry outside the spelling stands for its own text.
    pub(super) fn bytes_of(self, token: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => {
                byte_level::bytes_of(token).unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::SentencePiece => match byte_token(token) {
                Some(byte) => vec![byte],
                None => token.replace('▁', " ").into_bytes(),
            },
        }
    }
}

/// The byte that `<0xNN>` stands for.
pub(super) fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let plain = hex.len() == 2 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| u8::from_str_radix(hex, 16).ok())?
}

/// The table, in two flat arrays.
#[derive(Debug)]
pub(super) struct TokenTable {
    bytes: Vec<u8>,
    starts: Vec<usize>,
    special: Vec<bool>,
    max_bytes: usize,
}

impl TokenTable {
    /// From one `(bytes, special)` an id, in ascending order of ids.
    pub(super) fn new(entries: impl ExactSizeIterator<Item = (Vec<u8>, bool)>) -> Self {
        let mut table = Self {
            bytes: Vec::new(),
            starts: Vec::with_capacity(entries.len() + 1),
            special: Vec::with_capacity(entries.len()),
            max_bytes: 0,
        };
        table.starts.push(0);
        for (bytes, special) in entries {
            table.max_bytes = table.max_bytes.max(bytes.len());
            table.bytes.extend(bytes);
            table.starts.push(table.bytes.len());
            table.special.push(special);
        }
        table
    }

    pub(super) fn len(&self) -> usize {
        self.special.len()
    }

    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        let id = id as usize;
        match (self.starts.get(id), self.starts.get(id + 1)) {
            (Some(&start), Some(&end)) => &self.bytes[start..end],
            _ => &[],
        }
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(false)
    }

    pub(super) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_token_is_its_byte_and_a_lookalike_is_text() {
        let spelling = Spelling::SentencePiece;
        assert_eq!(spelling.bytes_of("<0x0A>"), b"\n");
        assert_eq!(spelling.bytes_of("<0x+A>"), b"<0x+A>");
        assert_eq!(spelling.bytes_of("<0xA>"), b"<0xA>");
        assert_eq!(spelling.bytes_of("▁a▁"), b" a ");
    }

    #[test]
    fn an_id_past_the_end_has_no_bytes() {
        let table =
            TokenTable::new(vec![(b"ab".to_vec(), false), (b"c".to_vec(), true)].into_iter());
        assert_eq!((table.bytes(0), table.bytes(1)), (&b"ab"[..], &b"c"[..]));
        assert_eq!(table.bytes(2), b"");
        assert_eq!(table.bytes(u32::MAX), b"");
        assert!(table.is_special(1) && !table.is_special(2));
        assert_eq!(table.max_bytes(), 2);
    }
}
