//! The tokenizer of an encoder: text to ids, and the special tokens around them.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::error::TokenizerError;

const FILE: &str = "tokenizer.json";

/// What a tokenizer.json says. Nothing is truncated or padded, and text that spells a special token is ordinary text.
/// `Send + Sync`; share it by `Arc`.
#[derive(Debug)]
pub struct EncoderTokenizer {
    inner: tokenizers::Tokenizer,
    /// Before a text's own tokens, and behind them.
    before: Vec<u32>,
    after: Vec<u32>,
    num_ids: usize,
}

impl EncoderTokenizer {
    /// Reads the text of a tokenizer.json.
    ///
    /// # Errors
    /// If it is not one, or puts special tokens elsewhere than around a text.
    pub fn from_json(json: &[u8]) -> Result<Self, TokenizerError> {
        let broken = |problem: &str| TokenizerError::field(FILE, problem);
        // The crate indexes with what the file says.
        let read = catch_unwind(AssertUnwindSafe(|| Self::read(json)));
        read.unwrap_or_else(|_| Err(broken("it contradicts itself: reading it panicked")))
    }

    fn read(json: &[u8]) -> Result<Self, TokenizerError> {
        let broken = |problem: String| TokenizerError::field(FILE, problem);
        let mut inner =
            tokenizers::Tokenizer::from_bytes(json).map_err(|error| broken(error.to_string()))?;
        inner.with_padding(None);
        let truncates = inner.with_truncation(None).map(|_| ());
        truncates.map_err(|error| broken(error.to_string()))?;
        inner.set_encode_special_tokens(true);
        let mut made = Self {
            inner,
            before: Vec::new(),
            after: Vec::new(),
            num_ids: 0,
        };
        for sample in ["a", "a b c"] {
            let own = made.encode(sample)?;
            let framed = made.inner.encode_fast(sample, true);
            let framed = framed.map_err(|error| broken(error.to_string()))?;
            let framed = framed.get_ids();
            if made.num_specials() == 0 {
                let is_own = |at: &usize| framed[*at..].starts_with(&own);
                let at = (0..=framed.len()).find(is_own).unwrap_or(0);
                made.before = framed[..at].to_vec();
                made.after = framed[(at + own.len()).min(framed.len())..].to_vec();
            }
            let is_around = !made.before.is_empty() && !made.after.is_empty();
            if !is_around || made.framed(&own) != framed {
                let problem = "post_processor: special tokens must stand before and behind a text";
                return Err(broken(problem.into()));
            }
        }
        let vocabulary = made.inner.get_vocab(true);
        let ids = vocabulary.values().chain(&made.before).chain(&made.after);
        made.num_ids = ids.max().map_or(0, |id| *id as usize + 1);
        Ok(made)
    }

    /// A text's own tokens.
    ///
    /// # Errors
    /// If the tokenizer fails on it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = self.inner.encode_fast(text, false);
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The special tokens around a text, which count in the model's window.
    pub fn num_specials(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// A text's own tokens with the special ones around them.
    pub fn framed(&self, own: &[u32]) -> Vec<u32> {
        [&self.before, own, &self.after].concat()
    }

    /// The own tokens of a text that stands with its special ones; `None` if they are not around it.
    pub fn unframed<'a>(&self, ids: &'a [u32]) -> Option<&'a [u32]> {
        ids.strip_prefix(&*self.before)?.strip_suffix(&*self.after)
    }

    /// The largest id that it may give, plus one.
    pub fn num_ids(&self) -> usize {
        self.num_ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = include_bytes!("../../tests/data/embeddings/tiny/tokenizer.json");

    #[test]
    fn special_tokens_stand_around_a_text_and_never_in_it() {
        let tokenizer = EncoderTokenizer::from_json(TINY).unwrap();
        let own = tokenizer.encode("[SEP] paris [CLS]").unwrap();
        assert!(
            !own.is_empty() && own.iter().all(|id| ![2, 3].contains(id)),
            "{own:?}"
        );
        let framed = tokenizer.framed(&own);
        assert_eq!((framed.first(), framed.last()), (Some(&2), Some(&3)));
        assert_eq!(tokenizer.unframed(&framed), Some(&*own));
        assert_eq!(tokenizer.unframed(&own), None);
        assert_eq!(tokenizer.framed(&[]).len(), tokenizer.num_specials());
    }

    #[test]
    fn nothing_is_cut_or_padded() {
        let tokenizer = EncoderTokenizer::from_json(TINY).unwrap();
        assert_eq!(tokenizer.encode(&"word ".repeat(5000)).unwrap().len(), 5000);
        assert!(tokenizer.encode("").unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_an_error_naming_it() {
        let text = std::str::from_utf8(TINY).unwrap();
        // A special token that nothing says the id of.
        let unknown = text.replacen("{\"id\": \"[CLS]\"", "{\"id\": \"[X]\"", 1);
        assert_ne!(unknown, text);
        for json in ["{}".to_owned(), unknown] {
            let error = EncoderTokenizer::from_json(json.as_bytes());
            let error = error.unwrap_err().to_string();
            assert!(error.starts_with("tokenizer.json: "), "{error}");
        }
    }
}
