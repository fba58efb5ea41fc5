//! The keys `tokenizer.ggml.*` as a `tokenizer.json` and a `tokenizer_config.json`, for folders that are written from GGUF files.

use serde_json::{Map, Value, json};

use super::{GgufVocab, sentence_piece};
use crate::text::bpe::split_merge;
use crate::text::error::TokenizerError;
use crate::text::pre_tokenizer::Family;
use crate::text::tokenizer::Tokenizer;

/// The files of a folder.
pub struct TokenizerFiles {
    /// `tokenizer.json`.
    pub tokenizer: Value,
    /// `tokenizer_config.json`.
    pub config: Value,
}

/// What depends on how a vocabulary spells bytes.
struct Kind {
    normalizer: Value,
    pre_tokenizer: Value,
    decoder: Value,
    model: Value,
    add_bos: bool,
}

fn unwritable(error: serde_json::Error) -> TokenizerError {
    TokenizerError::field("tokenizer.ggml.pre", error.to_string())
}

impl GgufVocab {
    /// The files of which [`Tokenizer::from_json`] makes the tokenizer that [`Tokenizer::from_gguf`] makes of this.
    ///
    /// # Errors
    /// Those of [`Tokenizer::from_gguf`].
    pub fn to_json(&self, chat_template: Option<&str>) -> Result<TokenizerFiles, TokenizerError> {
        Tokenizer::from_gguf(self.clone())?;
        let mut kind = match self.model.as_str() {
            "llama" => self.sentence_piece(),
            _ => self.byte_level()?,
        };
        let ids = self.tokens.iter().zip(0u32..);
        let vocab: Map<String, Value> = ids
            .map(|(token, id)| (token.clone(), Value::from(id)))
            .collect();
        kind.model["vocab"] = Value::Object(vocab);
        let added = self.added_tokens().into_iter().map(|token| {
            json!({
                "id": token.id, "content": token.text, "single_word": token.single_word,
                "lstrip": token.lstrip, "rstrip": token.rstrip, "normalized": false,
                "special": token.special,
            })
        });
        let add_bos = self.add_bos.unwrap_or(kind.add_bos);
        let add_eos = self.add_eos.unwrap_or(false);
        let (bos, eos) = (self.added_text(self.bos_id), self.added_text(self.eos_id));
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added.collect::<Vec<_>>(),
            "normalizer": kind.normalizer,
            "pre_tokenizer": kind.pre_tokenizer,
            "post_processor": post_processor(bos.filter(|_| add_bos), eos.filter(|_| add_eos)),
            "decoder": kind.decoder,
            "model": kind.model,
        });
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_bos_token": add_bos,
            "add_eos_token": add_eos,
            "clean_up_tokenization_spaces": false,
        });
        for (key, token) in [("bos_token", bos), ("eos_token", eos)] {
            if let Some((text, _)) = token {
                config[key] = text.into();
            }
        }
        if let Some(template) = chat_template {
            config["chat_template"] = template.into();
        }
        Ok(TokenizerFiles { tokenizer, config })
    }

    /// The text of a token that is one of its own in any text.
    fn added_text(&self, id: Option<u32>) -> Option<(&str, u32)> {
        let id = id?;
        let is_added = self.added_tokens().iter().any(|token| token.id == id);
        is_added.then(|| (self.tokens[id as usize].as_str(), id))
    }

    fn byte_level(&self) -> Result<Kind, TokenizerError> {
        let family = Family::find(self.pre.as_deref())?;
        let merges: Vec<_> = self
            .merges
            .iter()
            .filter_map(|merge| split_merge(merge))
            .collect();
        Ok(Kind {
            normalizer: serde_json::to_value(family.normalizer()).map_err(unwritable)?,
            pre_tokenizer: serde_json::to_value(family.pre_tokenizer()?).map_err(unwritable)?,
            decoder: json!({
                "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true,
            }),
            model: json!({
                "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": family.ignore_merges, "vocab": null, "merges": merges,
            }),
            add_bos: family.add_bos,
        })
    }

    fn sentence_piece(&self) -> Kind {
        let replace = |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let mut normalizers = vec![replace(" ", "▁")];
        let mut decoders = vec![
            replace("▁", " "),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if self.add_space_prefix.unwrap_or(true) {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let unk = self.unk_id.map(|id| self.tokens[id as usize].as_str());
        Kind {
            normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
            pre_tokenizer: Value::Null,
            decoder: json!({"type": "Sequence", "decoders": decoders}),
            model: json!({
                "type": "BPE", "dropout": null, "unk_token": unk, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
                "ignore_merges": false, "vocab": null, "merges": sentence_piece::merges_from_scores(self),
            }),
            add_bos: true,
        }
    }
}

/// What other programs go by that add tokens to a text.
fn post_processor(bos: Option<(&str, u32)>, eos: Option<(&str, u32)>) -> Value {
    if bos.is_none() && eos.is_none() {
        return Value::Null;
    }
    let special = |(text, _): (&str, u32)| json!({"SpecialToken": {"id": text, "type_id": 0}});
    let text = |id: &str| {
        let sequence = json!({"Sequence": {"id": id, "type_id": 0}});
        let pieces = bos.map(special).into_iter().chain([sequence]);
        pieces.chain(eos.map(special)).collect::<Vec<_>>()
    };
    let tokens = bos.into_iter().chain(eos).map(|(text, id)| {
        let token = json!({"id": text, "ids": [id], "tokens": [text]});
        (text.to_owned(), token)
    });
    let pair = [text("A"), text("B")].concat();
    json!({
        "type": "TemplateProcessing",
        "single": text("A"),
        "pair": pair,
        "special_tokens": tokens.collect::<Map<_, _>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::test_vocab::{byte_level_vocab, sentence_piece_vocab};
    use crate::text::tokenizer::Specials;

    fn read_again(vocab: &GgufVocab) -> Tokenizer {
        let files = vocab.to_json(Some("{{ 1 }}")).unwrap();
        let bytes = |json: &Value| json.to_string().into_bytes();
        assert_eq!(files.config["chat_template"], "{{ 1 }}");
        Tokenizer::from_json(&bytes(&files.tokenizer), Some(&bytes(&files.config))).unwrap()
    }

    #[test]
    fn the_files_give_the_same_ids() {
        let with_bos = GgufVocab {
            add_bos: Some(true),
            add_eos: Some(true),
            ..byte_level_vocab()
        };
        let nfc = GgufVocab {
            pre: Some("qwen2".into()),
            ..byte_level_vocab()
        };
        for vocab in [
            byte_level_vocab(),
            with_bos,
            nfc,
            sentence_piece_vocab(true),
            sentence_piece_vocab(false),
        ] {
            let wanted = Tokenizer::from_gguf(vocab.clone()).unwrap();
            let got = read_again(&vocab);
            for text in [
                "hello hell 1234\n\n  x",
                "<|im_start|>user\nhe<|im_end|><think>",
                "abc bc  ab</s>ab é 日本",
                "",
            ] {
                for mode in [Specials::Plain, Specials::Parse] {
                    let ids = |tokenizer: &Tokenizer| tokenizer.encode(text, mode).unwrap();
                    assert_eq!(ids(&got), ids(&wanted), "{text:?}");
                    assert_eq!(
                        got.detokenise(&ids(&got), true),
                        wanted.detokenise(&ids(&got), true)
                    );
                }
                let prompt = |tokenizer: &Tokenizer| tokenizer.encode_prompt(text).unwrap();
                assert_eq!(prompt(&got), prompt(&wanted));
            }
            assert_eq!(got.eos_ids(), wanted.eos_ids());
            assert_eq!(
                (got.bos_id(), got.eos_id()),
                (wanted.bos_id(), wanted.eos_id())
            );
        }
    }

    #[test]
    fn what_is_no_tokenizer_is_not_written() {
        let vocab = GgufVocab {
            pre: Some("nope".into()),
            ..byte_level_vocab()
        };
        let error = vocab.to_json(None).err().unwrap().to_string();
        assert!(error.contains("\"nope\""), "{error}");
    }
}
