//! A tokenizer's vocabulary as the grammar engine wants it.

use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::GrammarError;
use crate::text::tokenizer::{Specials, Tokenizer};

struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        let tokens = self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            self.tokenizer
                .encode(text, Specials::Plain)
                .unwrap_or_else(|_| self.trie.greedy_tokenize(text.as_bytes()))
        });
        // What the vocabulary cannot spell the tokenizer leaves out, and behind it nothing is right.
        let mut rest = bytes;
        let spells = |token: &TokenId| match rest.strip_prefix(self.trie.token(*token)) {
            Some(behind) => {
                rest = behind;
                true
            }
            None => false,
        };
        tokens.into_iter().take_while(spells).collect()
    }

    /// Where the tokenizer puts a space before the first word, text that goes on cannot be tokenised by itself.
    fn tokenize_is_canonical(&self) -> bool {
        !self.tokenizer.strips_leading_space()
    }
}

/// The trie of all tokens; special ones can be named by a grammar, and never are part of text.
pub(super) fn index(tokenizer: &Arc<Tokenizer>) -> Result<TokEnv, GrammarError> {
    let ends = tokenizer.eos_ids();
    let Some(&end) = ends.first() else {
        return Err(GrammarError::whole(
            "the model's vocabulary has no token that ends an answer",
        ));
    };
    let vocab_size = tokenizer.vocab_size() as u32;
    let words: Vec<Vec<u8>> = (0..vocab_size)
        .map(|id| match tokenizer.is_special(id) {
            true => [
                &[TokTrie::SPECIAL_TOKEN_MARKER],
                tokenizer.token_text(id).as_bytes(),
            ]
            .concat(),
            false => tokenizer.token_bytes(id).to_vec(),
        })
        .collect();
    let trie = TokTrie::from(&TokRxInfo::new(vocab_size, end), &words).with_eos_tokens(ends);
    Ok(Arc::new(Vocabulary {
        trie,
        tokenizer: Arc::clone(tokenizer),
    }))
}
