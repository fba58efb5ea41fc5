//! Tokenizers from the vocabulary inside a GGUF file.
//!
//! `gpt2` vocabularies are byte-level BPE with a merge list; `llama` ones are SentencePiece BPE, whose
//! merges follow from the scores of the pieces. A `tokenizer.json` becomes either, for files that are
//! written from folders, and either becomes a `tokenizer.json`, for folders that are written from files.

mod from_json;
mod sentence_piece;
mod to_json;

pub use to_json::TokenizerFiles;

use super::bpe::{BpeParts, split_merge};
use super::error::TokenizerError;
use super::pre_tokenizer::Family;
use super::special::{AddedToken, AddedTokens};
use super::token_table::{Spelling, TokenTable};
use super::tokenizer::{Ends, Tokenizer};

/// The keys `tokenizer.ggml.*` of a GGUF file; `None` or empty where the file lacks the key.
#[derive(Debug, Clone, Default)]
pub struct GgufVocab {
    /// `general.name`: in Phi-3's models, white space after special tokens is none of the text.
    pub name: Option<String>,
    /// `model`: `gpt2` or `llama`.
    pub model: String,
    /// `pre`: the name of the pre-tokenizer; needed by `gpt2` only.
    pub pre: Option<String>,
    /// `tokens`: the entries, by id.
    pub tokens: Vec<String>,
    /// `token_type`, by id: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte. Empty:
    /// all normal.
    pub token_types: Vec<i32>,
    /// `scores`, by id; needed by `llama` only.
    pub scores: Vec<f32>,
    /// `merges`, as `left right`, by rank; needed by `gpt2` only.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub bos_id: Option<u32>,
    /// `eos_token_id`.
    pub eos_id: Option<u32>,
    /// `eot_token_id`.
    pub eot_id: Option<u32>,
    /// `unknown_token_id`.
    pub unk_id: Option<u32>,
    /// `add_bos_token`; without it the kind of vocabulary decides.
    pub add_bos: Option<bool>,
    /// `add_eos_token`; without it no.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`: whether ordinary text at the start and after a special token gets a space
    /// before it; `llama` only, and without it yes.
    pub add_space_prefix: Option<bool>,
}

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

impl Tokenizer {
    /// Builds the tokenizer of a GGUF file. Errors name the key.
    pub fn from_gguf(vocab: GgufVocab) -> Result<Self, TokenizerError> {
        vocab.validate()?;
        match vocab.model.as_str() {
            "gpt2" => byte_level(vocab),
            "llama" => sentence_piece::tokenizer(vocab),
            _ => Err(TokenizerError::UnsupportedGgufModel(vocab.model)),
        }
    }
}

impl GgufVocab {
    fn validate(&self) -> Result<(), TokenizerError> {
        let num_tokens = self.tokens.len();
        if num_tokens == 0 {
            return Err(TokenizerError::field(
                "tokenizer.ggml.tokens",
                "missing or empty",
            ));
        }
        if !self.token_types.is_empty() && self.token_types.len() != num_tokens {
            let problem = format!("{} types for {num_tokens} tokens", self.token_types.len());
            return Err(TokenizerError::field("tokenizer.ggml.token_type", problem));
        }
        let ids = [
            ("bos", self.bos_id),
            ("eos", self.eos_id),
            ("eot", self.eot_id),
            ("unknown", self.unk_id),
        ];
        for (name, id) in ids {
            if let Some(id) = id.filter(|&id| id as usize >= num_tokens) {
                return Err(TokenizerError::field(
                    format!("tokenizer.ggml.{name}_token_id"),
                    format!("{id}, but there are only {num_tokens} tokens"),
                ));
            }
        }
        Ok(())
    }

    fn kind(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(NORMAL)
    }

    /// Control and unknown tokens as special ones, and the user-defined.
    fn added_tokens(&self) -> Vec<AddedToken> {
        // GGUF files cannot say it; llama.cpp goes by the name, too.
        let is_phi3 = self.name.as_ref().is_some_and(|name| {
            let name = name.to_lowercase();
            name.contains("phi-3") || name.contains("phi3")
        });
        let added = (0u32..).zip(&self.tokens).filter_map(|(id, text)| {
            let kind = self.kind(id as usize);
            let keeps_space = ["<unk>", "<s>", "<|endoftext|>"].contains(&text.as_str());
            matches!(kind, CONTROL | UNKNOWN | USER_DEFINED).then(|| AddedToken {
                id,
                text: text.clone(),
                special: kind != USER_DEFINED,
                rstrip: is_phi3 && kind != USER_DEFINED && !keeps_space,
                ..AddedToken::default()
            })
        });
        added.collect()
    }

    fn table(&self, spelling: Spelling) -> TokenTable {
        TokenTable::new(
            self.tokens
                .iter()
                .enumerate()
                .map(|(id, token)| match self.kind(id) {
                    CONTROL | UNKNOWN => (token.as_bytes().to_vec(), true),
                    USER_DEFINED => (token.as_bytes().to_vec(), false),
                    _ => (spelling.bytes_of(token), false),
                }),
        )
    }

    fn ends(&self, add_bos: bool, strip_leading_space: bool) -> Ends {
        Ends {
            bos: self.bos_id,
            eos: self.eos_id,
            eot: self.eot_id,
            add_bos: self.add_bos.unwrap_or(add_bos),
            add_eos: self.add_eos.unwrap_or(false),
            strip_leading_space,
        }
    }
}

fn byte_level(mut vocab: GgufVocab) -> Result<Tokenizer, TokenizerError> {
    let family = Family::find(vocab.pre.as_deref())?;
    let table = vocab.table(Spelling::ByteLevel);
    let added = vocab.added_tokens();
    let ends = vocab.ends(family.add_bos, false);
    let merges = vocab.merges.iter().enumerate().map(|(i, merge)| {
        split_merge(merge).ok_or_else(|| {
            TokenizerError::field(
                format!("tokenizer.ggml.merges[{i}]"),
                format!("{merge:?} is not two tokens with a space between"),
            )
        })
    });
    let bpe = BpeParts {
        merges: merges.collect::<Result<_, _>>()?,
        vocab: std::mem::take(&mut vocab.tokens)
            .into_iter()
            .zip(0..)
            .collect(),
        merges_field: "tokenizer.ggml.merges",
        // The file's unknown token may be a control token; every byte has a spelling anyway.
        unk_token: None,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: family.ignore_merges,
    };
    let bpe = bpe.build(&added)?;
    let (normalizer, pre_tokenizer) = (family.normalizer(), family.pre_tokenizer()?);
    let added = AddedTokens::new(added)?;
    Ok(Tokenizer::assemble(
        normalizer,
        Some(pre_tokenizer),
        bpe,
        added,
        table,
        ends,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::test_vocab::{byte_level_vocab, sentence_piece, sentence_piece_vocab};
    use super::super::tokenizer::Specials;
    use super::*;

    fn error(vocab: GgufVocab) -> String {
        Tokenizer::from_gguf(vocab).unwrap_err().to_string()
    }

    fn texts(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let ids = tokenizer.encode(text, Specials::Parse).unwrap();
        ids.into_iter().map(|id| tokenizer.token_text(id)).collect()
    }

    #[test]
    fn pieces_merge_by_score_and_not_by_length() {
        let tokenizer = sentence_piece(true);
        // "ab" outranks "bc", so "abc" is never made from "a" + "bc".
        assert_eq!(texts(&tokenizer, "abc"), [" ab", "c"]);
        assert_eq!(texts(&tokenizer, "bc"), [" ", "bc"]);
    }

    #[test]
    fn the_space_prefix_follows_the_flag() {
        assert_eq!(
            texts(&sentence_piece(true), "ab</s>ab"),
            [" ab", "</s>", " ab"]
        );
        assert_eq!(
            texts(&sentence_piece(false), "ab</s>ab"),
            ["ab", "</s>", "ab"]
        );
    }

    #[test]
    fn phi_3_has_no_white_space_after_special_tokens() {
        for (name, expected) in [
            ("Phi-3-mini-4k-instruct", &["</s>", "ab"][..]),
            ("another", &["</s>", "\n", "ab"][..]),
        ] {
            let vocab = GgufVocab {
                name: Some(name.into()),
                ..sentence_piece_vocab(false)
            };
            let tokenizer = Tokenizer::from_gguf(vocab).unwrap();
            assert_eq!(texts(&tokenizer, "</s>\nab"), expected);
        }
    }

    #[test]
    fn a_character_outside_the_vocabulary_falls_back_to_its_bytes() {
        let tokenizer = sentence_piece(false);
        let ids = tokenizer.encode("é", Specials::Plain).unwrap();
        let bytes: Vec<&[u8]> = ids.iter().map(|&id| tokenizer.token_bytes(id)).collect();
        assert_eq!(bytes, [&[0xC3][..], &[0xA9]]);
    }

    #[test]
    fn without_byte_tokens_it_is_the_unknown_token() {
        let mut vocab = sentence_piece_vocab(false);
        for (token, kind) in vocab.tokens.iter_mut().zip(&mut vocab.token_types) {
            if *kind == 6 {
                *token = format!("unused {token}");
                *kind = 5;
            }
        }
        let unk = vocab.unk_id.unwrap();
        let tokenizer = Tokenizer::from_gguf(vocab).unwrap();
        let ids = tokenizer.encode("aéèa", Specials::Plain).unwrap();
        assert_eq!(ids.iter().filter(|&&id| id == unk).count(), 1);
        assert_eq!(ids.len(), 3);
    }

    #[test]
    fn an_unknown_model_or_pre_tokenizer_is_refused_by_name() {
        let vocab = GgufVocab {
            model: "t5".into(),
            ..byte_level_vocab()
        };
        assert!(error(vocab).contains("tokenizer.ggml.model is \"t5\""));
        let vocab = GgufVocab {
            pre: Some("nope".into()),
            ..byte_level_vocab()
        };
        assert!(error(vocab).contains("\"nope\""));
        let vocab = GgufVocab {
            pre: None,
            ..byte_level_vocab()
        };
        assert!(error(vocab).contains("tokenizer.ggml.pre is missing"));
    }

    #[test]
    fn fields_that_do_not_fit_are_errors_that_name_them() {
        let vocab = GgufVocab {
            tokens: vec![],
            ..byte_level_vocab()
        };
        assert!(error(vocab).starts_with("tokenizer.ggml.tokens:"));
        let vocab = GgufVocab {
            token_types: vec![1],
            ..byte_level_vocab()
        };
        assert!(error(vocab).starts_with("tokenizer.ggml.token_type: 1 types"));
        let vocab = GgufVocab {
            eos_id: Some(99_999),
            ..byte_level_vocab()
        };
        assert!(error(vocab).starts_with("tokenizer.ggml.eos_token_id: 99999"));
        let vocab = GgufVocab {
            scores: vec![],
            ..sentence_piece_vocab(true)
        };
        assert!(error(vocab).starts_with("tokenizer.ggml.scores: 0 scores"));
        for merge in ["ab", "a b c", " b", "a "] {
            let vocab = GgufVocab {
                merges: vec![merge.into()],
                ..byte_level_vocab()
            };
            assert!(
                error(vocab).starts_with("tokenizer.ggml.merges[0]:"),
                "{merge:?}"
            );
        }
        let vocab = GgufVocab {
            merges: vec!["q q".into()],
            ..byte_level_vocab()
        };
        assert!(error(vocab).contains("\"qq\" is not in the vocabulary"));
    }

    #[test]
    fn a_special_token_is_not_reached_by_being_a_whole_word() {
        let mut vocab = byte_level_vocab();
        vocab.tokens.push("STOP".into());
        vocab.token_types.push(3);
        vocab.pre = Some("llama-bpe".into());
        let tokenizer = Tokenizer::from_gguf(vocab).unwrap();
        let stop = tokenizer.token_id("STOP").unwrap();
        assert_eq!(tokenizer.encode("STOP", Specials::Parse).unwrap(), [stop]);
        assert!(
            !tokenizer
                .encode("STOP", Specials::Plain)
                .unwrap()
                .contains(&stop)
        );
    }
}
