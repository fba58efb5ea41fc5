//! Tokenizers from Hugging Face's `tokenizer.json`, with `tokenizer_config.json` for the ends of text.
//!
//! Read are BPE models that spell bytes by the byte-level alphabet or as SentencePiece does. Added
//! tokens go to our own splitter; truncation and padding, which belong to a use of the tokenizer and
//! not to the vocabulary, are not read. All added tokens are matched in the raw text, also those marked
//! `normalized`.

use serde::Deserialize;
use serde_json::Value;
use tokenizers::models::bpe::{Merges, Vocab};
use tokenizers::tokenizer::{NormalizerWrapper, PreTokenizerWrapper};

use super::bpe::{BpeParts, split_merge};
use super::error::TokenizerError;
use super::special::{AddedToken, AddedTokens};
use super::token_table::{Spelling, TokenTable};
use super::tokenizer::{Ends, Tokenizer};

const FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";

/// Only as much as tells whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    model: HeadModel,
}

#[derive(Deserialize)]
struct HeadModel {
    /// Old files lack it; they are BPE.
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedTokenJson>,
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: ModelJson,
}

#[derive(Deserialize)]
struct AddedTokenJson {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
}

#[derive(Deserialize)]
struct ModelJson {
    vocab: Vocab,
    merges: MergesJson,
    unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum MergesJson {
    Pairs(Merges),
    Lines(Vec<String>),
}

#[derive(Default, Deserialize)]
struct ConfigJson {
    bos_token: Option<TokenName>,
    eos_token: Option<TokenName>,
    add_bos_token: Option<bool>,
    add_eos_token: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TokenName {
    Text(String),
    Token { content: String },
}

impl TokenName {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Token { content: text } => text,
        }
    }
}

impl Tokenizer {
    /// Builds the tokenizer of a Hugging Face folder from the bytes of its files. Errors name the file
    /// and the field. BOS and EOS are added to prompts as the config says, else as the post-processor's
    /// template does.
    pub fn from_json(
        tokenizer_json: &[u8],
        tokenizer_config_json: Option<&[u8]>,
    ) -> Result<Self, TokenizerError> {
        let head: Head = parse(FILE, tokenizer_json)?;
        if let Some(kind) = head.model.kind.filter(|kind| kind != "BPE") {
            return Err(TokenizerError::field(
                "tokenizer.json: model.type",
                format!("{kind:?} is not supported; supported is \"BPE\""),
            ));
        }
        let json: TokenizerJson = parse(FILE, tokenizer_json)?;
        let config: ConfigJson = match tokenizer_config_json {
            Some(bytes) => parse(CONFIG_FILE, bytes)?,
            None => ConfigJson::default(),
        };
        json.build(config)
    }
}

fn parse<'a, T: Deserialize<'a>>(file: &'static str, bytes: &'a [u8]) -> Result<T, TokenizerError> {
    serde_json::from_slice(bytes).map_err(|source| TokenizerError::Json { file, source })
}

impl TokenizerJson {
    fn build(self, config: ConfigJson) -> Result<Tokenizer, TokenizerError> {
        let (spelling, strip_leading_space) = spelling(&self.pre_tokenizer, &self.decoder)?;
        let added: Vec<AddedToken> = self
            .added_tokens
            .into_iter()
            .map(AddedToken::from)
            .collect();
        let table = table(&self.model.vocab, &added, spelling)?;
        let pre_tokenizer: Option<PreTokenizerWrapper> = serde_json::from_value(self.pre_tokenizer)
            .map_err(|e| TokenizerError::field("tokenizer.json: pre_tokenizer", e.to_string()))?;
        let bpe = self.model.parts()?.build(&added)?;
        let added = AddedTokens::new(added)?;

        let (first, last) = template_ends(&self.post_processor);
        let id = |field: &str, name: Option<&str>| match name {
            None => Ok(None),
            Some(name) => match added.id(name) {
                Some(id) => Ok(Some(id)),
                None => Err(TokenizerError::field(
                    format!("{CONFIG_FILE}: {field}"),
                    format!("{name:?} is not an added token of {FILE}"),
                )),
            },
        };
        let bos = config.bos_token.as_ref().map(TokenName::text).or(first);
        let eos = config.eos_token.as_ref().map(TokenName::text).or(last);
        let ends = Ends {
            bos: id("bos_token", bos)?,
            eos: id("eos_token", eos)?,
            eot: None,
            add_bos: config.add_bos_token.unwrap_or(first.is_some()),
            add_eos: config.add_eos_token.unwrap_or(last.is_some()),
            strip_leading_space,
        };
        Ok(Tokenizer::assemble(
            self.normalizer,
            pre_tokenizer,
            bpe,
            added,
            table,
            ends,
        ))
    }
}

impl From<AddedTokenJson> for AddedToken {
    fn from(json: AddedTokenJson) -> Self {
        Self {
            id: json.id,
            text: json.content,
            special: json.special,
            lstrip: json.lstrip,
            rstrip: json.rstrip,
            single_word: json.single_word,
        }
    }
}

impl ModelJson {
    fn parts(self) -> Result<BpeParts, TokenizerError> {
        let affixes = [
            ("continuing_subword_prefix", self.continuing_subword_prefix),
            ("end_of_word_suffix", self.end_of_word_suffix),
        ];
        for (name, affix) in affixes {
            if let Some(affix) = affix.filter(|affix| !affix.is_empty()) {
                return Err(TokenizerError::field(
                    format!("tokenizer.json: model.{name}"),
                    format!("{affix:?} is not supported; supported is none"),
                ));
            }
        }
        if let Some(unk) = self
            .unk_token
            .as_ref()
            .filter(|unk| !self.vocab.contains_key(*unk))
        {
            return Err(TokenizerError::field(
                "tokenizer.json: model.unk_token",
                format!("{unk:?} is not in the vocabulary"),
            ));
        }
        let merges = match self.merges {
            MergesJson::Pairs(pairs) => pairs,
            MergesJson::Lines(lines) => {
                let pairs = lines.iter().enumerate().map(|(i, line)| {
                    split_merge(line).ok_or_else(|| {
                        TokenizerError::field(
                            format!("tokenizer.json: model.merges[{i}]"),
                            format!("{line:?} is not two tokens with a space between"),
                        )
                    })
                });
                pairs.collect::<Result<_, _>>()?
            }
        };
        Ok(BpeParts {
            vocab: self.vocab,
            merges,
            merges_field: "tokenizer.json: model.merges",
            unk_token: self.unk_token,
            fuse_unk: self.fuse_unk,
            byte_fallback: self.byte_fallback,
            ignore_merges: self.ignore_merges,
        })
    }
}

/// How the entries spell bytes, and whether a decoder drops the space before the first word.
fn spelling(pre_tokenizer: &Value, decoder: &Value) -> Result<(Spelling, bool), TokenizerError> {
    let find = |kind: &str| component(decoder, kind).or_else(|| component(pre_tokenizer, kind));
    if find("ByteLevel").is_some() {
        return Ok((Spelling::ByteLevel, false));
    }
    if let Some(metaspace) = find("Metaspace") {
        let never =
            metaspace["prepend_scheme"] == "never" || metaspace["add_prefix_space"] == false;
        return Ok((Spelling::SentencePiece, !never));
    }
    let replaces = component(decoder, "Replace").is_some_and(|r| r["pattern"]["String"] == "▁");
    if replaces {
        let strips = component(decoder, "Strip").is_some_and(|s| s["start"] != 0);
        return Ok((Spelling::SentencePiece, strips));
    }
    Err(TokenizerError::field(
        "tokenizer.json: decoder",
        "neither ByteLevel, Metaspace nor a Replace of \"▁\": how tokens spell bytes is not known",
    ))
}

/// The first component of type `kind` in a pipeline, itself or inside a `Sequence`.
fn component<'a>(pipeline: &'a Value, kind: &str) -> Option<&'a Value> {
    if pipeline["type"] == kind {
        return Some(pipeline);
    }
    let parts = ["pretokenizers", "decoders", "processors"];
    parts
        .iter()
        .filter_map(|list| pipeline[list].as_array())
        .flatten()
        .find_map(|p| component(p, kind))
}

/// The special tokens that the template for a single text puts before and after it.
fn template_ends(post_processor: &Value) -> (Option<&str>, Option<&str>) {
    let template =
        component(post_processor, "TemplateProcessing").and_then(|t| t["single"].as_array());
    match template {
        Some(pieces) => (special_name(pieces.first()), special_name(pieces.last())),
        None => (None, None),
    }
}

fn special_name(piece: Option<&Value>) -> Option<&str> {
    piece?["SpecialToken"]["id"].as_str()
}

/// The bytes of every id. Ids may leave gaps, but not so large that the table outgrows the file.
fn table(
    vocab: &Vocab,
    added: &[AddedToken],
    spelling: Spelling,
) -> Result<TokenTable, TokenizerError> {
    let num_entries = vocab.len() + added.len();
    let limit = 2 * num_entries + 1024;
    let mut entries: Vec<(Vec<u8>, bool)> = Vec::with_capacity(num_entries);
    let mut set = |field: &str, token: &str, id: u32, entry: (Vec<u8>, bool)| {
        let idx = id as usize;
        if idx >= limit {
            return Err(TokenizerError::field(
                format!("tokenizer.json: {field}"),
                format!("{token:?} has id {id}, but there are only {num_entries} tokens"),
            ));
        }
        if entries.len() <= idx {
            entries.resize(idx + 1, (Vec::new(), false));
        }
        entries[idx] = entry;
        Ok(())
    };
    for (token, &id) in vocab.iter() {
        set("model.vocab", token, id, (spelling.bytes_of(token), false))?;
    }
    for token in added {
        // A text that a client sees has spaces where an ordinary token spells them otherwise, as in runs of them.
        let bytes = match (spelling, token.special) {
            (Spelling::SentencePiece, false) => spelling.bytes_of(&token.text),
            _ => token.text.as_bytes().to_vec(),
        };
        let entry = (bytes, token.special);
        set("added_tokens", &token.text, token.id, entry)?;
    }
    Ok(TokenTable::new(entries.into_iter()))
}

#[cfg(test)]
mod tests;
