//! A `tokenizer.json` as the keys `tokenizer.ggml.*`, for GGUF files that are written from folders.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::error::TokenizerError;
use super::pre_tokenizer::Family;

/// What the keys hold.
#[derive(Debug, PartialEq)]
pub struct GgufTokenizer {
    /// `tokenizer.ggml.pre`.
    pub pre: &'static str,
    /// By id.
    pub tokens: Vec<String>,
    /// llama.cpp's numbers: 1 normal, 3 control, 4 user defined, 5 unused.
    pub token_types: Vec<i32>,
    /// Pairs, joined by a space.
    pub merges: Vec<String>,
}

#[derive(Deserialize)]
struct Json {
    #[serde(default)]
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
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
}

/// Older files join the pair.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Joined(String),
}

impl GgufTokenizer {
    /// Reads a byte-level BPE of `vocab_size` tokens, of which ids without a token are padding.
    ///
    /// # Errors
    /// The field at fault: the file is no JSON, or of a kind that these keys have no name for here.
    pub fn from_json(json: &[u8], vocab_size: usize) -> Result<Self, TokenizerError> {
        let fault = |field: &str, message: String| {
            TokenizerError::field(format!("tokenizer.json: {field}"), message)
        };
        let json: Json =
            serde_json::from_slice(json).map_err(|error| fault("not read", error.to_string()))?;
        if json.model.byte_fallback {
            let message = "a SentencePiece vocabulary cannot be written yet: quantise a GGUF file of the model";
            return Err(fault("model.byte_fallback", message.into()));
        }
        let mut splits = Vec::new();
        if let Some(pre_tokenizer) = &json.pre_tokenizer {
            collect_splits(pre_tokenizer, &mut splits);
        }
        let has_nfc = json
            .normalizer
            .as_ref()
            .is_some_and(|it| it["type"] == "NFC");
        let ignores = json.model.ignore_merges.unwrap_or(false);
        if let Some(other) = json
            .normalizer
            .as_ref()
            .filter(|it| !it.is_null() && !has_nfc)
        {
            let message = format!("{} has no name in GGUF files", other["type"]);
            return Err(fault("normalizer", message));
        }
        let Some(pre) = Family::name_of(&splits, ignores, has_nfc) else {
            let message = format!("splits by {splits:?}, which GGUF files have no name for here");
            return Err(fault("pre_tokenizer", message));
        };
        let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
        let mut token_types = vec![5; vocab_size];
        let vocab = json
            .model
            .vocab
            .into_iter()
            .map(|(token, id)| (id, token, 1));
        let added = json.added_tokens.into_iter();
        let added = added.map(|added| (added.id, added.content, if added.special { 3 } else { 4 }));
        for (id, token, ty) in vocab.chain(added) {
            if id >= vocab_size {
                let message =
                    format!("{token:?} has the id {id}, but the model has {vocab_size} tokens");
                return Err(fault("model.vocab", message));
            }
            (tokens[id], token_types[id]) = (token, ty);
        }
        let mut seen = HashSet::new();
        if let Some(token) = tokens.iter().find(|token| !seen.insert(token.as_str())) {
            let message = format!("{token:?} is there under two ids, which GGUF files cannot say");
            return Err(fault("model.vocab", message));
        }
        let merges = json.model.merges.into_iter().map(|merge| match merge {
            Merge::Pair(a, b) => format!("{a} {b}"),
            Merge::Joined(pair) => pair,
        });
        Ok(Self {
            pre,
            tokens,
            token_types,
            merges: merges.collect(),
        })
    }
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
            splits.push(super::pre_tokenizer::DIGIT.to_owned());
        }
        Some("ByteLevel") => {
            if pre_tokenizer["add_prefix_space"] == true {
                splits.push("(a space before the text)".to_owned());
            }
            if pre_tokenizer["use_regex"] != false {
                splits.push(super::pre_tokenizer::GPT2.to_owned());
            }
        }
        other => splits.push(format!("({})", other.unwrap_or("nothing"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"{
        "added_tokens": [
            {"id": 3, "content": "<s>", "special": true},
            {"id": 4, "content": "<tool>", "special": false}
        ],
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "use_regex": true}
        ]},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"], "b a"]}
    }"#;

    #[test]
    fn tokens_types_and_merges_are_those_of_the_file() {
        let read = GgufTokenizer::from_json(JSON.as_bytes(), 6).unwrap();
        assert_eq!(read.pre, "smollm");
        assert_eq!(read.tokens, ["a", "b", "ab", "<s>", "<tool>", "[PAD5]"]);
        assert_eq!(read.token_types, [1, 1, 1, 3, 4, 5]);
        assert_eq!(read.merges, ["a b", "b a"]);
    }

    #[test]
    fn what_has_no_name_is_refused_by_field() {
        let error = |json: &str, size| {
            GgufTokenizer::from_json(json.as_bytes(), size)
                .unwrap_err()
                .to_string()
        };
        assert!(error(JSON, 4).contains("model.vocab"));
        assert!(error("{", 4).contains("tokenizer.json"));
        let other = JSON.replace("Digits", "Whitespace");
        assert!(error(&other, 6).contains("pre_tokenizer"));
        let spm = JSON.replace(r#""type": "BPE""#, r#""byte_fallback": true"#);
        assert!(error(&spm, 6).contains("byte_fallback"));
    }
}
