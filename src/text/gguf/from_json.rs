//! A `tokenizer.json` as the keys `tokenizer.ggml.*`, for GGUF files that are written from folders.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::{BYTE, CONTROL, GgufVocab, NORMAL, UNKNOWN, UNUSED, USER_DEFINED, sentence_piece};
use crate::text::bpe::split_merge;
use crate::text::error::TokenizerError;
use crate::text::pre_tokenizer::{DIGIT, Family, GPT2};
use crate::text::token_table::byte_token;
use crate::text::tokenizer::Tokenizer;

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    model: Model,
}

#[derive(Deserialize)]
struct Added {
    id: usize,
    content: String,
    special: bool,
}

#[derive(Deserialize)]
struct Model {
    #[serde(default)]
    vocab: BTreeMap<String, usize>,
    #[serde(default)]
    merges: Vec<Merge>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: Option<bool>,
    unk_token: Option<String>,
}

/// Older files join the pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

impl Merge {
    fn pair(self) -> Option<(String, String)> {
        match self {
            Self::Pair(left, right) => Some((left, right)),
            Self::Joined(joined) => split_merge(&joined),
        }
    }
}

fn fault(field: &str, message: impl Into<String>) -> TokenizerError {
    TokenizerError::field(format!("tokenizer.json: {field}"), message)
}

impl GgufVocab {
    /// The keys for a folder's `tokenizer.json`, of which `tokenizer` was made, in a model of `vocab_size` tokens; ids without a
    /// token are padding.
    ///
    /// # Errors
    /// The field at fault: the file is no JSON, or of a kind that these keys have no name for here.
    pub fn from_json(
        json: &[u8],
        tokenizer: &Tokenizer,
        vocab_size: usize,
    ) -> Result<Self, TokenizerError> {
        let json: Json =
            serde_json::from_slice(json).map_err(|error| fault("not read", error.to_string()))?;
        let is_sentence_piece = json.model.byte_fallback;
        let mut vocab = Self {
            model: if is_sentence_piece { "llama" } else { "gpt2" }.into(),
            bos_id: tokenizer.bos_id(),
            eos_id: tokenizer.eos_id(),
            add_bos: Some(tokenizer.adds_bos()),
            add_eos: Some(tokenizer.adds_eos()),
            ..Self::default()
        };
        if is_sentence_piece {
            let prefix = sentence_piece::has_space_prefix(&json.normalizer, &json.pre_tokenizer);
            let Some(prefix) = prefix else {
                let message = "what it does beside spelling spaces has no name in GGUF files";
                return Err(fault("normalizer", message));
            };
            vocab.add_space_prefix = Some(prefix);
            if json.model.ignore_merges == Some(true) {
                let message = "true has no name in GGUF files for such vocabularies";
                return Err(fault("model.ignore_merges", message));
            }
        } else {
            vocab.pre = Some(pre(&json)?.into());
        }
        let Model {
            vocab: ids,
            merges,
            unk_token,
            ..
        } = json.model;
        vocab.unk_id = unk_token.and_then(|unk| tokenizer.token_id(&unk));
        vocab.tokens = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
        vocab.token_types = vec![UNUSED; vocab_size];
        let ordinary = ids.into_iter().map(|(token, id)| {
            let is_byte = is_sentence_piece && byte_token(&token).is_some();
            (id, token, if is_byte { BYTE } else { NORMAL })
        });
        let merges = merges.into_iter().map(Merge::pair).collect::<Option<_>>();
        let Some(merges): Option<Vec<(String, String)>> = merges else {
            let message = "one is not two tokens with a space between";
            return Err(fault("model.merges", message));
        };
        // A text has spaces as ▁ only once added tokens are split off: those with ▁ come from merges as any other piece, and
        // as one they are spelt with spaces again.
        let spaces: HashSet<String> = (merges.iter())
            .map(|(left, right)| format!("{left}{right}"))
            .filter(|whole| is_sentence_piece && whole.contains('▁'))
            .collect();
        let added = json.added_tokens.into_iter().map(|added| {
            let is_unknown = is_sentence_piece && vocab.unk_id == u32::try_from(added.id).ok();
            let kind = match (is_unknown, added.special) {
                (true, _) => UNKNOWN,
                (false, true) => CONTROL,
                (false, false) if spaces.contains(&added.content) => NORMAL,
                (false, false) => USER_DEFINED,
            };
            (added.id, added.content, kind)
        });
        let mut is_set = vec![false; vocab_size];
        for (id, token, ty) in ordinary.chain(added) {
            if id >= vocab_size {
                let message =
                    format!("{token:?} has the id {id}, but the model has {vocab_size} tokens");
                return Err(fault("model.vocab", message));
            }
            // An added token may stand in the vocabulary, too.
            if std::mem::replace(&mut is_set[id], true) && vocab.tokens[id] != token {
                let message = format!("{token:?} and {:?} have the id {id}", vocab.tokens[id]);
                return Err(fault("model.vocab", message));
            }
            (vocab.tokens[id], vocab.token_types[id]) = (token, ty);
        }
        let mut seen = HashSet::new();
        if let Some(token) = (vocab.tokens.iter()).find(|token| !seen.insert(token.as_str())) {
            let message = format!("{token:?} is there under two ids, which GGUF files cannot say");
            return Err(fault("model.vocab", message));
        }
        if is_sentence_piece {
            sentence_piece::score(&mut vocab, &merges)?;
        } else {
            vocab.merges = merges.iter().map(|(a, b)| format!("{a} {b}")).collect();
        }
        // What cannot be read again is not written.
        Tokenizer::from_gguf(vocab.clone())?;
        Ok(vocab)
    }
}

/// The name of what a byte-level vocabulary does before the merges.
fn pre(json: &Json) -> Result<&'static str, TokenizerError> {
    let mut splits = Vec::new();
    if !json.pre_tokenizer.is_null() {
        collect_splits(&json.pre_tokenizer, &mut splits);
    }
    let has_nfc = json.normalizer["type"] == "NFC";
    if !has_nfc && !json.normalizer.is_null() {
        let message = format!("{} has no name in GGUF files", json.normalizer["type"]);
        return Err(fault("normalizer", message));
    }
    let ignores = json.model.ignore_merges.unwrap_or(false);
    Family::name_of(&splits, ignores, has_nfc).ok_or_else(|| {
        let message = format!("splits by {splits:?}, which GGUF files have no name for here");
        fault("pre_tokenizer", message)
    })
}

/// The expressions that text is split by, in order, as the table of families has them.
fn collect_splits(pre_tokenizer: &Value, splits: &mut Vec<String>) {
    match pre_tokenizer["type"].as_str() {
        Some("Sequence") => {
            let steps = pre_tokenizer["pretokenizers"].as_array();
            for step in steps.into_iter().flatten() {
                collect_splits(step, splits);
            }
        }
        Some("Split") => {
            let regex = pre_tokenizer["pattern"]["Regex"].as_str();
            let behaviour = (
                pre_tokenizer["behavior"].as_str(),
                pre_tokenizer["invert"] == true,
            );
            splits.push(match (regex, behaviour) {
                (Some(regex), (Some("Isolated"), false) | (Some("Removed"), true)) => {
                    regex.to_owned()
                }
                _ => "(another kind of split)".to_owned(),
            });
        }
        Some("Digits") if pre_tokenizer["individual_digits"] == true => {
            splits.push(DIGIT.to_owned());
        }
        Some("ByteLevel") => {
            if pre_tokenizer["add_prefix_space"] == true {
                splits.push("(a space before the text)".to_owned());
            }
            if pre_tokenizer["use_regex"] != false {
                splits.push(GPT2.to_owned());
            }
        }
        other => splits.push(format!("({})", other.unwrap_or("nothing"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::text::test_vocab::sentence_piece_vocab;
    use crate::text::tokenizer::Specials;

    const JSON: &str = r#"{
        "added_tokens": [
            {"id": 3, "content": "<s>", "special": true},
            {"id": 4, "content": "<tool>", "special": false}
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}
        ]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}
    }"#;

    fn read(json: &str, vocab_size: usize) -> Result<GgufVocab, TokenizerError> {
        let tokenizer = Tokenizer::from_json(JSON.as_bytes(), None).unwrap();
        GgufVocab::from_json(json.as_bytes(), &tokenizer, vocab_size)
    }

    /// The vocabulary of the tests as a `tokenizer.json` says it.
    fn sentence_piece_json(normalizer: Value, pre_tokenizer: Value) -> Value {
        let vocab = sentence_piece_vocab(true);
        let ids: BTreeMap<&String, usize> = vocab.tokens.iter().zip(0..).collect();
        let added: Vec<Value> = ["<unk>", "<s>", "</s>"]
            .iter()
            .enumerate()
            .map(|(id, text)| json!({"id": id, "content": text, "special": true}))
            .collect();
        json!({
            "added_tokens": added,
            "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ]},
            "model": {
                "type": "BPE", "vocab": ids, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
                "merges": [["a", "b"], ["b", "c"], ["▁", "ab"], ["ab", "c"], ["a", "bc"]],
            },
        })
    }

    fn of_spaces(prefix: bool) -> Value {
        let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        match prefix {
            true => json!({
                "type": "Sequence",
                "normalizers": [{"type": "Prepend", "prepend": "▁"}, replace],
            }),
            false => replace,
        }
    }

    #[test]
    fn tokens_types_and_merges_are_those_of_the_file() {
        let read = read(JSON, 6).unwrap();
        assert_eq!(read.pre.as_deref(), Some("smollm"));
        assert_eq!(read.tokens, ["a", "b", "ab", "<s>", "<tool>", "[PAD5]"]);
        assert_eq!(read.token_types, [1, 1, 1, 3, 4, 5]);
        assert_eq!(read.merges, ["a b"]);
        assert_eq!((read.add_bos, read.add_space_prefix), (Some(false), None));
    }

    #[test]
    fn a_sentence_piece_vocabulary_gives_the_same_ids_from_its_scores() {
        let metaspace = |scheme: &str| {
            json!({
                "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false,
            })
        };
        for (normalizer, pre_tokenizer, prefix) in [
            (of_spaces(true), Value::Null, true),
            (of_spaces(false), Value::Null, false),
            (
                of_spaces(false),
                json!({
                    "type": "Split", "pattern": {"String": " "},
                    "behavior": "MergedWithPrevious", "invert": false,
                }),
                false,
            ),
            (Value::Null, metaspace("first"), true),
            (Value::Null, metaspace("never"), false),
        ] {
            let json = sentence_piece_json(normalizer, pre_tokenizer).to_string();
            let wanted = Tokenizer::from_json(json.as_bytes(), None).unwrap();
            let vocab = GgufVocab::from_json(json.as_bytes(), &wanted, 270).unwrap();
            assert_eq!(vocab.model, "llama");
            assert_eq!(vocab.add_space_prefix, Some(prefix));
            assert_eq!(vocab.unk_id, Some(0));
            assert_eq!(vocab.token_types[..4], [UNKNOWN, CONTROL, CONTROL, BYTE]);
            assert_eq!(vocab.token_types[268..], [UNUSED, UNUSED]);
            let got = Tokenizer::from_gguf(vocab).unwrap();
            for text in ["abc", "bc abab", "a  \nb ", "é <s>", "cab abc"] {
                let ids = |tokenizer: &Tokenizer| tokenizer.encode(text, Specials::Plain).unwrap();
                assert_eq!(ids(&got), ids(&wanted), "{text:?}");
            }
        }
    }

    #[test]
    fn user_defined_pieces_of_spaces_are_made_by_merges() {
        let mut json = sentence_piece_json(of_spaces(false), Value::Null);
        json["added_tokens"].as_array_mut().unwrap().extend([
            json!({"id": 267, "content": "▁▁", "special": false}),
            json!({"id": 268, "content": "abab", "special": false}),
        ]);
        json["model"]["vocab"]["▁▁"] = 267.into();
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        merges.insert(0, json!(["▁", "▁"]));
        let json = json.to_string();
        let wanted = Tokenizer::from_json(json.as_bytes(), None).unwrap();
        let vocab = GgufVocab::from_json(json.as_bytes(), &wanted, 269).unwrap();
        let got = Tokenizer::from_gguf(vocab).unwrap();
        for text in ["a   b", "  ", "abababc", " ab"] {
            let ids = |tokenizer: &Tokenizer| tokenizer.encode(text, Specials::Plain).unwrap();
            assert_eq!(ids(&got), ids(&wanted), "{text:?}");
        }
        assert_eq!(got.encode("  ", Specials::Plain).unwrap(), [267]);
        // And are read as spaces.
        for tokenizer in [&got, &wanted] {
            assert_eq!(tokenizer.detokenise(&[259, 267, 259], true), "ab  ab");
        }
    }

    #[test]
    fn what_has_no_name_is_refused_by_field() {
        let error = |json: &str, size| read(json, size).unwrap_err().to_string();
        assert!(error(JSON, 4).contains("model.vocab"));
        assert!(error("{", 4).contains("tokenizer.json"));
        let other = JSON.replace("Digits", "Whitespace");
        assert!(error(&other, 6).contains("pre_tokenizer"));
        let merge = JSON.replace("a b", "a b c");
        assert!(error(&merge, 6).contains("model.merges"));
        let twice = JSON.replace(r#""b": 1"#, r#""b": 0"#);
        assert_ne!(twice, JSON);
        assert!(error(&twice, 6).contains("have the id 0"));
        let spm = sentence_piece_json(json!({"type": "NFKC"}), Value::Null).to_string();
        assert!(error(&spm, 268).contains("normalizer"));
        // A merge that its pieces allow is missing.
        for change in [
            |merges: &mut Vec<Value>| drop(merges.remove(3)),
            // Or those of a piece are not together.
            |merges: &mut Vec<Value>| merges.swap(1, 3),
        ] {
            let mut spm = sentence_piece_json(of_spaces(true), Value::Null);
            change(spm["model"]["merges"].as_array_mut().unwrap());
            assert!(error(&spm.to_string(), 268).contains("model.merges"));
        }
    }
}
