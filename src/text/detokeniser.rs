//! From token bytes to text, one token at a time.
//!
//! The concatenation of everything returned equals `String::from_utf8_lossy` of the concatenated
//! bytes, wherever the tokens cut them; never more than an incomplete character (at most 3 bytes) is
//! held back.

/// An incremental detokeniser of one sequence. Make it with
/// [`Tokenizer::detokeniser`](super::Tokenizer::detokeniser).
#[derive(Debug, Default)]
pub struct Detokeniser {
    /// The beginning of a character, at most 3 bytes between calls.
    pending: Vec<u8>,
    text: String,
    strip_space: bool,
}

impl Detokeniser {
    /// With `strip_leading_space` a space at the very start of the text is dropped: the one that a
    /// SentencePiece vocabulary puts before the first word.
    pub fn new(strip_leading_space: bool) -> Self {
        Self {
            strip_space: strip_leading_space,
            ..Self::default()
        }
    }

    /// Takes the bytes of the next token; returns the whole characters they complete, possibly none.
    /// A byte sequence that is not UTF-8 becomes U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.text.clear();
        self.pending.extend_from_slice(bytes);
        if self.strip_space && !bytes.is_empty() {
            self.strip_space = false;
            if bytes[0] == b' ' {
                self.pending.remove(0);
            }
        }
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        Some(len) => {
                            self.text.push(char::REPLACEMENT_CHARACTER);
                            rest = &rest[len..];
                        }
                        None => break,
                    }
                }
            }
        }
        let done = self.pending.len() - rest.len();
        self.pending.drain(..done);
        &self.text
    }

    /// Ends the text: a character left incomplete becomes U+FFFD.
    pub fn finish(&mut self) -> &str {
        self.text.clear();
        if !self.pending.is_empty() {
            self.pending.clear();
            self.text.push(char::REPLACEMENT_CHARACTER);
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_character_cut_across_tokens_comes_out_whole() {
        let mut detokeniser = Detokeniser::new(false);
        assert_eq!(detokeniser.push(b"a\xF0\x9F"), "a");
        assert_eq!(detokeniser.push(b"\x94"), "");
        assert_eq!(detokeniser.push(b"\xA5b"), "🔥b");
        assert_eq!(detokeniser.finish(), "");
    }

    #[test]
    fn only_the_very_first_space_is_dropped_and_only_if_asked() {
        let mut detokeniser = Detokeniser::new(true);
        assert_eq!(detokeniser.push(b""), "");
        assert_eq!(detokeniser.push(b"  a"), " a");
        assert_eq!(detokeniser.push(b" b"), " b");
        assert_eq!(Detokeniser::new(true).push(b"a b"), "a b");
        assert_eq!(Detokeniser::new(false).push(b" a"), " a");
    }

    /// Bytes that are often, but not always, part of a multi-byte character.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            any::<char>().prop_map(|c| c.to_string().into_bytes()),
            any::<char>()
                .prop_map(|c| c.to_string().as_bytes()[..c.len_utf8().div_ceil(2)].to_vec()),
            any::<u8>().prop_map(|b| vec![b]),
        ];
        proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_lossy_text_of_the_whole(
            bytes in bytes(),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut detokeniser = Detokeniser::new(false);
            let mut text = String::new();
            for pair in cuts.windows(2) {
                text.push_str(detokeniser.push(&bytes[pair[0]..pair[1]]));
                prop_assert!(detokeniser.pending.len() <= 3);
            }
            text.push_str(detokeniser.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
