//! From a checked vocabulary and merge list to the BPE model.

use std::collections::HashSet;

use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::error::TokenizerError;
use super::special::AddedToken;

/// The parts of a BPE model, whatever file they came from.
pub(super) struct BpeParts {
    pub(super) vocab: Vocab,
    pub(super) merges: Merges,
    /// The field the merges stand in, for messages.
    pub(super) merges_field: &'static str,
    pub(super) unk_token: Option<String>,
    pub(super) fuse_unk: bool,
    pub(super) byte_fallback: bool,
    pub(super) ignore_merges: bool,
}

impl BpeParts {
    /// Builds the model. Special tokens that no merge makes are taken out of it, so that ordinary text
    /// can't become one by being a whole word of the vocabulary (`ignore_merges`).
    pub(super) fn build(mut self, added: &[AddedToken]) -> Result<BPE, TokenizerError> {
        let mut unreachable: HashSet<&str> = added
            .iter()
            .filter(|t| t.special && t.text.chars().nth(1).is_some())
            .map(|t| t.text.as_str())
            .filter(|&text| Some(text) != self.unk_token.as_deref())
            .collect();
        let mut product = String::new();
        for (i, (left, right)) in self.merges.iter().enumerate() {
            product.clear();
            product.push_str(left);
            product.push_str(right);
            for token in [left.as_str(), right, &product] {
                unreachable.remove(token);
                if !self.vocab.contains_key(token) {
                    return Err(TokenizerError::field(
                        format!("{}[{i}]", self.merges_field),
                        format!("{left:?} + {right:?}: {token:?} is not in the vocabulary"),
                    ));
                }
            }
        }
        self.vocab
            .retain(|token, _| !unreachable.contains(token.as_str()));
        let mut builder = BPE::builder()
            .vocab_and_merges(self.vocab, self.merges)
            .fuse_unk(self.fuse_unk)
            .byte_fallback(self.byte_fallback)
            .ignore_merges(self.ignore_merges);
        if let Some(unk) = self.unk_token {
            builder = builder.unk_token(unk);
        }
        builder
            .build()
            .map_err(|e| TokenizerError::field(self.merges_field, e.to_string()))
    }
}

/// Splits a merge written as `left right`.
pub(super) fn split_merge(merge: &str) -> Option<(String, String)> {
    let (left, right) = merge.split_once(' ')?;
    let whole = !left.is_empty() && !right.is_empty() && !right.contains(' ');
    whole.then(|| (left.to_owned(), right.to_owned()))
}
