//! The tokenizer: text to ids and ids to bytes.
//!
//! Invariants: added tokens are recognised by our own splitter only ([`AddedTokens`]); the pipeline
//! behind it (normaliser, pre-tokenizer, BPE) sees ordinary text only. Nothing is truncated or padded.

use tokenizers::models::bpe::BPE;
use tokenizers::normalizer::Range;
use tokenizers::tokenizer::{
    Model, Normalizer, NormalizerWrapper, OffsetType, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, Token,
};

use super::detokeniser::Detokeniser;
use super::error::TokenizerError;
use super::special::{AddedTokens, Segment};
use super::token_table::TokenTable;

/// Whether text that spells a special token is that token.
///
/// User-defined tokens (GGUF type 4, added tokens that are not special) are ordinary text with an id of
/// their own; they are matched either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// No: it is ordinary text.
    Plain,
    /// Yes, at the longest match.
    Parse,
}

/// Tokens that end an assistant's message, in the families' own spellings, where the vocabulary has
/// them as special tokens.
const END_OF_MESSAGE: &[&str] = &[
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|end_of_text|>",
];

/// What the vocabulary says about the ends of a text.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) bos: Option<u32>,
    pub(super) eos: Option<u32>,
    pub(super) eot: Option<u32>,
    pub(super) add_bos: bool,
    pub(super) add_eos: bool,
    /// The vocabulary puts a space before the first word, which is not part of the text.
    pub(super) strip_leading_space: bool,
}

/// A model's tokenizer. `Send + Sync`; share it by `Arc`.
#[derive(Debug)]
pub struct Tokenizer {
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    bpe: BPE,
    added: AddedTokens,
    table: TokenTable,
    ends: Ends,
    eos_ids: Vec<u32>,
}

impl Tokenizer {
    pub(super) fn assemble(
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        bpe: BPE,
        added: AddedTokens,
        table: TokenTable,
        ends: Ends,
    ) -> Self {
        let by_name = END_OF_MESSAGE
            .iter()
            .filter_map(|name| added.id(name))
            .filter(|&id| table.is_special(id));
        let mut eos_ids: Vec<u32> = by_name.chain(ends.eos).chain(ends.eot).collect();
        eos_ids.sort_unstable();
        eos_ids.dedup();
        Self {
            normalizer,
            pre_tokenizer,
            bpe,
            added,
            table,
            ends,
            eos_ids,
        }
    }

    /// The token ids of `text`; nothing is put before or after it.
    ///
    /// A character that the vocabulary can spell in no way, and for which it has no unknown token, has
    /// no id (a few control characters, in small byte-level vocabularies).
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, TokenizerError> {
        self.encode_guarded(text, specials, None)
    }

    /// The token ids of a bare prompt: special tokens are parsed, and BOS and EOS are added where the
    /// model's metadata asks for them and the text does not have them already.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = self.encode(text, Specials::Parse)?;
        if let (true, Some(bos)) = (self.ends.add_bos, self.ends.bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        if let (true, Some(eos)) = (self.ends.add_eos, self.ends.eos)
            && ids.last() != Some(&eos)
        {
            ids.push(eos);
        }
        Ok(ids)
    }

    /// [`Self::encode`], with every `guard` removed from the ordinary text once the special tokens are
    /// found.
    pub(super) fn encode_guarded(
        &self,
        text: &str,
        specials: Specials,
        guard: Option<char>,
    ) -> Result<Vec<u32>, TokenizerError> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        let segments = self.added.split(text, specials == Specials::Parse);
        let mut pieces = PreTokenizedString::from(text);
        self.tokenise(&mut pieces, segments, guard)
            .and_then(|()| pieces.into_encoding(None, 0, OffsetType::None))
            .map(|encoding| encoding.get_ids().to_vec())
            .map_err(|e| TokenizerError::Encode(e.to_string()))
    }

    /// Gives every piece of the text its tokens. The pieces are slices of one string, because a
    /// pre-tokenizer may treat the piece at offset 0 unlike the others.
    fn tokenise(
        &self,
        pieces: &mut PreTokenizedString,
        segments: Vec<Segment>,
        guard: Option<char>,
    ) -> tokenizers::Result<()> {
        let mut segments = Some(segments);
        pieces.split(|_, whole| {
            let segments = segments.take().unwrap_or_default().into_iter();
            let slices = segments.map(|(range, id)| {
                let mut slice = whole
                    .slice(Range::Normalized(range))
                    .ok_or("a segment is not a slice of the text")?;
                if let (None, Some(guard)) = (id, guard) {
                    slice.filter(|c| c != guard);
                }
                let tokens = id.map(|id| vec![Token::new(id, String::new(), (0, 0))]);
                Ok((slice, tokens))
            });
            slices.collect::<tokenizers::Result<Vec<_>>>()
        })?;
        if let Some(normalizer) = &self.normalizer {
            pieces.normalize(|piece| normalizer.normalize(piece))?;
        }
        if let Some(pre_tokenizer) = &self.pre_tokenizer {
            pre_tokenizer.pre_tokenize(pieces)?;
        }
        pieces.tokenize(|piece| self.bpe.tokenize(piece.get()))
    }

    /// The added tokens, for keeping messages from spelling them.
    pub(super) fn added(&self) -> &AddedTokens {
        &self.added
    }

    /// The raw bytes a token stands for, often a part of a character; a special token's are its text.
    /// Empty for an id the vocabulary does not have.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.table.bytes(id)
    }

    /// A token as text to show; bytes that are not UTF-8 become U+FFFD.
    pub fn token_text(&self, id: u32) -> String {
        String::from_utf8_lossy(self.table.bytes(id)).into_owned()
    }

    /// Whether the token is a control token, which never stands for text of a message.
    pub fn is_special(&self, id: u32) -> bool {
        self.table.is_special(id)
    }

    /// The id of an added token by its text, or of an ordinary one by its spelling in the vocabulary
    /// (`Ġthe`, `▁the`).
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.added.id(text).or_else(|| self.bpe.token_to_id(text))
    }

    /// How many ids there are; they run from 0.
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }

    /// The first id that stands for other bytes in `other`, of those that both have.
    pub fn first_difference(&self, other: &Self) -> Option<u32> {
        let num_common = self.vocab_size().min(other.vocab_size()) as u32;
        (0..num_common).find(|&id| self.token_bytes(id) != other.token_bytes(id))
    }

    /// The most bytes a token stands for: a text of `n` bytes has at least `n / max_token_bytes` tokens.
    pub fn max_token_bytes(&self) -> usize {
        self.table.max_bytes()
    }

    /// Whether a prompt begins with [`bos_id`](Self::bos_id) of itself.
    pub fn adds_bos(&self) -> bool {
        self.ends.add_bos
    }

    /// The token that begins a text, if the vocabulary has one.
    pub fn bos_id(&self) -> Option<u32> {
        self.ends.bos
    }

    /// The token that ends a text, if the vocabulary has one.
    pub fn eos_id(&self) -> Option<u32> {
        self.ends.eos
    }

    /// Adds tokens that end an answer.
    ///
    /// # Errors
    /// If one is not in the vocabulary.
    pub fn with_eos_ids(mut self, ids: &[u32]) -> Result<Self, TokenizerError> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocab_size()) {
            let problem = format!("{id} is not below {}", self.vocab_size());
            return Err(TokenizerError::field("token id", problem));
        }
        self.eos_ids.extend_from_slice(ids);
        self.eos_ids.sort_unstable();
        self.eos_ids.dedup();
        Ok(self)
    }

    /// All tokens that end an answer (of text, turn or message), ascending.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos_ids
    }

    /// Whether a prompt gets an EOS after it.
    pub fn adds_eos(&self) -> bool {
        self.ends.add_eos
    }

    /// Whether a text begins with a space that is not its own, and that detokenising drops.
    pub(super) fn strips_leading_space(&self) -> bool {
        self.ends.strip_leading_space
    }

    /// A detokeniser for one text of this vocabulary.
    pub fn detokeniser(&self) -> Detokeniser {
        Detokeniser::new(self.ends.strip_leading_space)
    }

    /// The text of `ids`; with `skip_special` without the special tokens. Bytes that are not UTF-8
    /// become U+FFFD.
    pub fn detokenise(&self, ids: &[u32], skip_special: bool) -> String {
        let mut detokeniser = self.detokeniser();
        let mut text = String::new();
        for &id in ids {
            if !(skip_special && self.is_special(id)) {
                text.push_str(detokeniser.push(self.token_bytes(id)));
            }
        }
        text.push_str(detokeniser.finish());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_vocab::{byte_level, sentence_piece};
    use super::*;

    #[test]
    fn a_tokenizer_can_be_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Tokenizer>();
    }

    #[test]
    fn text_that_looks_special_is_ordinary_unless_parsed() {
        let tokenizer = byte_level();
        let text = "a<|im_end|>";
        let end = tokenizer.token_id("<|im_end|>").unwrap();
        let plain = tokenizer.encode(text, Specials::Plain).unwrap();
        assert!(!plain.contains(&end));
        assert_eq!(tokenizer.detokenise(&plain, true), text);
        let parsed = tokenizer.encode(text, Specials::Parse).unwrap();
        assert_eq!(parsed.last(), Some(&end));
        assert_eq!(tokenizer.detokenise(&parsed, true), "a");
        assert_eq!(tokenizer.detokenise(&parsed, false), text);
    }

    #[test]
    fn any_text_comes_back_from_its_ids() {
        let text = "Hé 日本 🔥\r\n\t  <0x41> ▁ <think>\u{1}";
        for tokenizer in [byte_level(), sentence_piece(true), sentence_piece(false)] {
            let ids = tokenizer.encode(text, Specials::Plain).unwrap();
            let back = tokenizer.detokenise(&ids, true);
            let expected = match tokenizer.token_id("▁") {
                // A vocabulary that spells the space ▁ can't tell the two apart.
                Some(_) => text.replace('▁', " "),
                None => text.to_owned(),
            };
            assert_eq!(back, expected);
        }
    }

    #[test]
    fn user_defined_tokens_are_matched_in_both_modes() {
        let tokenizer = byte_level();
        let think = tokenizer.token_id("<think>").unwrap();
        for mode in [Specials::Plain, Specials::Parse] {
            assert_eq!(tokenizer.encode("<think>", mode).unwrap(), [think]);
        }
        assert!(!tokenizer.is_special(think));
    }

    #[test]
    fn bos_is_added_once_and_only_where_asked() {
        let tokenizer = sentence_piece(true);
        let bos = tokenizer.bos_id().unwrap();
        let ids = tokenizer.encode_prompt("a").unwrap();
        assert_eq!(ids[0], bos);
        assert_eq!(tokenizer.encode_prompt("<s>a").unwrap(), ids);
        let tokenizer = byte_level();
        assert_ne!(
            tokenizer.encode_prompt("a").unwrap()[0],
            tokenizer.bos_id().unwrap()
        );
    }

    #[test]
    fn answers_end_at_eos_and_at_the_end_of_a_message() {
        let tokenizer = byte_level();
        let mut expected = ["<|endoftext|>", "<|im_end|>"].map(|t| tokenizer.token_id(t).unwrap());
        expected.sort_unstable();
        assert_eq!(tokenizer.eos_ids(), expected);
    }

    #[test]
    fn an_empty_text_has_no_ids() {
        for tokenizer in [byte_level(), sentence_piece(true)] {
            assert!(tokenizer.encode("", Specials::Parse).unwrap().is_empty());
        }
    }
}
