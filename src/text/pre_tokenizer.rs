//! From the name in `tokenizer.ggml.pre` to the split of text into words that BPE works on.
//!
//! A wrong split gives wrong ids without any error, so a name that is not in the table is refused.
//! The expressions are those of the models' own `tokenizer.json`; which name stands for which is
//! fixed by the GGUF converters of llama.cpp (`llama-vocab.cpp`, `llm_tokenizer_bpe`). Each step
//! splits the pieces of the step before; matches and what lies between them are pieces alike.

use tokenizers::normalizers::{NFC, NormalizerWrapper};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;

use super::error::TokenizerError;

/// GPT-2's own expression (openai/gpt-2, `encoder.py`).
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Llama 3; also OpenAI's `cl100k_base` (tiktoken).
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 2: as Llama 3, with single digits.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's Tekken (mistral-common, `tekken.json`).
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// OpenAI's `o200k_base` (tiktoken).
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
pub(super) const DIGIT: &str = r"\p{N}";
/// The cased letters that DeepSeek LLM's tokenizer lists one by one, written as all cased letters less
/// the scripts and blocks missing from that list.
const DEEPSEEK_LLM_WORD: &str = r"\s?[[\p{Lu}\p{Ll}\p{Lt}]--[\x{560}-\x{588}\x{10C6}-\x{10FF}\x{1C80}-\x{1C8F}\x{2D00}-\x{2D2F}\x{A790}-\x{A7FF}\x{AB30}-\x{AB6F}\x{10570}-\x{105BF}\x{10D40}-\x{10D8F}\x{16E40}-\x{16EFF}\x{1D400}-\x{1D7FF}\x{1DF00}-\x{1DFFF}]]+";
const CJK: &str = r"[\x{0800}-\x{9FA5}\x{AC00}-\x{D7FF}]+";
const DEEPSEEK_V3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;

/// How the vocabularies of one family split text.
#[derive(Debug)]
pub(super) struct Family {
    names: &'static [&'static str],
    splits: &'static [&'static str],
    /// A piece that is a whole entry of the vocabulary is that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Whether a prompt begins with the BOS token where the file does not say.
    pub(super) add_bos: bool,
    /// Text is normalised to NFC first, as the family's `tokenizer.json` asks.
    nfc: bool,
}

const PLAIN: Family = Family {
    names: &[],
    splits: &[],
    ignore_merges: false,
    add_bos: false,
    nfc: false,
};

const FAMILIES: &[Family] = &[
    Family {
        names: &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
        ],
        splits: &[DIGIT, GPT2],
        ..PLAIN
    },
    Family {
        names: &[
            "gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "exaone4",
        ],
        splits: &[GPT2],
        ..PLAIN
    },
    Family {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "lfm2",
            "midm-2.0",
        ],
        splits: &[LLAMA3],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Family {
        names: &["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"],
        splits: &[LLAMA3],
        ..PLAIN
    },
    Family {
        names: &["qwen2"],
        splits: &[QWEN2],
        nfc: true,
        ..PLAIN
    },
    Family {
        names: &[
            "deepseek-r1-qwen",
            "stablelm2",
            "megrez",
            "hunyuan",
            "solar-open",
            "grok-2",
        ],
        splits: &[QWEN2],
        ..PLAIN
    },
    Family {
        names: &["tekken"],
        splits: &[TEKKEN],
        ignore_merges: true,
        add_bos: true,
        ..PLAIN
    },
    Family {
        names: &["gpt-4o", "llama4", "kanana2"],
        splits: &[O200K],
        ..PLAIN
    },
    Family {
        names: &["deepseek-llm"],
        splits: &[
            r"[\r\n]",
            DEEPSEEK_LLM_WORD,
            r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
            r"\s+$",
            CJK,
            r"\p{N}+",
        ],
        ..PLAIN
    },
    Family {
        names: &["deepseek-coder"],
        splits: &[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, DIGIT],
        ..PLAIN
    },
    Family {
        names: &["deepseek-v3", "hunyuan-dense"],
        splits: &[
            r"\p{N}{1,3}",
            r"[一-龥\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+",
            DEEPSEEK_V3,
        ],
        ..PLAIN
    },
];

/// The names in the table, for messages.
fn known() -> String {
    let names: Vec<&str> = FAMILIES.iter().flat_map(|f| f.names).copied().collect();
    names.join(", ")
}

impl Family {
    /// The family `tokenizer.ggml.pre` names.
    pub(super) fn find(pre: Option<&str>) -> Result<&'static Self, TokenizerError> {
        let Some(pre) = pre else {
            return Err(TokenizerError::MissingPre { known: known() });
        };
        FAMILIES
            .iter()
            .find(|f| f.names.contains(&pre))
            .ok_or_else(|| TokenizerError::UnknownPre {
                pre: pre.to_owned(),
                known: known(),
            })
    }

    /// What GGUF files call the vocabularies that split by these expressions, with these habits.
    pub(super) fn name_of(
        splits: &[String],
        ignore_merges: bool,
        nfc: bool,
    ) -> Option<&'static str> {
        let is_it = |family: &&Self| {
            family.splits == splits && family.ignore_merges == ignore_merges && family.nfc == nfc
        };
        FAMILIES.iter().find(is_it)?.names.first().copied()
    }

    /// What happens to text before it is split.
    pub(super) fn normalizer(&self) -> Option<NormalizerWrapper> {
        self.nfc.then(|| NFC.into())
    }

    /// The splits, then bytes to the byte-level alphabet.
    pub(super) fn pre_tokenizer(&self) -> Result<PreTokenizerWrapper, TokenizerError> {
        let mut steps = Vec::with_capacity(self.splits.len() + 1);
        for &split in self.splits {
            let pattern = SplitPattern::Regex(split.to_owned());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|e| TokenizerError::field("tokenizer.ggml.pre", e.to_string()))?;
            steps.push(split.into());
        }
        steps.push(ByteLevel::new(false, false, false).into());
        Ok(Sequence::new(steps).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenizers::tokenizer::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    fn pieces(pre: &str, text: &str) -> Vec<String> {
        let mut whole = PreTokenizedString::from(text);
        let pre_tokenizer = Family::find(Some(pre)).unwrap().pre_tokenizer().unwrap();
        pre_tokenizer.pre_tokenize(&mut whole).unwrap();
        let splits = whole.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits
            .into_iter()
            .map(|(_, (start, end), _)| text[start..end].to_owned())
            .collect()
    }

    #[test]
    fn each_family_splits_as_its_expression_says() {
        let text = "I'll pay 1234 EUR\n\n  now";
        let cases: &[(&str, &[&str])] = &[
            (
                "smollm",
                &[
                    "I", "'ll", " pay", " ", "1", "2", "3", "4", " EUR", "\n\n ", " now",
                ],
            ),
            (
                "gpt-2",
                &["I", "'ll", " pay", " 1234", " EUR", "\n\n ", " now"],
            ),
            (
                "llama-bpe",
                &[
                    "I", "'ll", " pay", " ", "123", "4", " EUR", "\n\n", " ", " now",
                ],
            ),
            (
                "qwen2",
                &[
                    "I", "'ll", " pay", " ", "1", "2", "3", "4", " EUR", "\n\n", " ", " now",
                ],
            ),
            (
                "tekken",
                &[
                    "I", "'ll", " pay", " ", "1", "2", "3", "4", " EUR", "\n\n", " ", " now",
                ],
            ),
            (
                "gpt-4o",
                &["I'll", " pay", " ", "123", "4", " EUR", "\n\n", " ", " now"],
            ),
            (
                "deepseek-llm",
                &[
                    "I", "'", "ll", " pay", " ", "1234", " EUR", "\n", "\n", " ", " now",
                ],
            ),
            (
                "deepseek-coder",
                &[
                    "I", "'", "ll", " pay", " ", "1", "2", "3", "4", " EUR", "\n", "\n", " ",
                    " now",
                ],
            ),
            (
                "deepseek-v3",
                &[
                    "I", "'ll", " pay", " ", "123", "4", " EUR", "\n\n", " ", " now",
                ],
            ),
        ];
        for (pre, expected) in cases {
            assert_eq!(pieces(pre, text), *expected, "{pre}");
        }
    }

    #[test]
    fn white_space_before_a_digit_is_one_piece_where_digits_are_split_first() {
        assert_eq!(pieces("smollm", "a.\n\n67"), ["a", ".", "\n\n", "6", "7"]);
        assert_eq!(pieces("gpt-2", "a.\n\n67"), ["a", ".", "\n", "\n", "67"]);
    }

    #[test]
    fn every_family_compiles_and_loses_no_character() {
        let text = "Ünïcode 日本語テスト 안녕 ՠქ𝔘 ½٣ HTMLParser don't\t\r\n\u{3000}…«»🔥 \n ";
        for family in FAMILIES {
            for name in family.names {
                assert_eq!(pieces(name, text).concat(), text, "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it_and_the_known_ones() {
        let error = Family::find(Some("smolllm")).unwrap_err().to_string();
        assert!(
            error.contains("\"smolllm\"") && error.contains("smollm, "),
            "{error}"
        );
        let error = Family::find(None).unwrap_err().to_string();
        assert!(error.contains("tokenizer.ggml.pre is missing"), "{error}");
    }
}
