//! Which characters the tokens of a vocabulary spell: some lack the bytes that rare ones begin with.

use std::collections::HashSet;
use std::sync::Arc;

use super::Rule;
use crate::text::tokenizer::{Specials, Tokenizer};

pub(super) struct Spelling {
    tokenizer: Arc<Tokenizer>,
    /// Which bytes are a token of their own.
    bytes: [bool; 256],
}

impl Spelling {
    pub(super) fn new(tokenizer: &Arc<Tokenizer>) -> Self {
        let mut bytes = [false; 256];
        for id in 0..tokenizer.vocab_size() as u32 {
            if let ([byte], false) = (tokenizer.token_bytes(id), tokenizer.is_special(id)) {
                bytes[usize::from(*byte)] = true;
            }
        }
        Self {
            tokenizer: Arc::clone(tokenizer),
            bytes,
        }
    }

    /// A character of `rule` that no tokens spell.
    pub(super) fn missing(&self, rule: &Rule) -> Option<char> {
        match rule {
            Rule::JsonSchema(schema) => self.missing_in(&schema.to_string()),
            Rule::Regex(text) | Rule::Lark(text) => self.missing_in(text),
            Rule::Choice(texts) => texts.iter().find_map(|text| self.missing_in(text)),
        }
    }

    fn missing_in(&self, text: &str) -> Option<char> {
        // White space may stand between the parts of a rule.
        let all: HashSet<char> = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        all.into_iter().find(|c| !self.spells(*c))
    }

    fn spells(&self, c: char) -> bool {
        let mut buffer = [0; 4];
        let text: &str = c.encode_utf8(&mut buffer);
        let has_bytes = || text.bytes().all(|byte| self.bytes[usize::from(byte)]);
        let is_spelt = || {
            let ids = self.tokenizer.encode(text, Specials::Plain);
            ids.is_ok_and(|ids| {
                let bytes = ids.iter().map(|&id| self.tokenizer.token_bytes(id));
                // Some tokenizers put a space before.
                bytes
                    .collect::<Vec<_>>()
                    .concat()
                    .ends_with(text.as_bytes())
            })
        };
        has_bytes() || is_spelt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grammars;
    use super::*;
    use crate::constraint::ConstraintError;
    use crate::text::test_vocab::byte_level_vocab;

    #[test]
    fn a_rule_that_no_tokens_spell_is_refused_by_its_character() {
        let mut vocab = byte_level_vocab();
        // The byte 0xf1, which U+40000 to U+7FFFF begin with.
        let byte = vocab.tokens.iter_mut().find(|token| *token == "ñ").unwrap();
        *byte = "qqqq".into();
        let poor = Grammars::new(&Arc::new(Tokenizer::from_gguf(vocab).unwrap())).unwrap();
        let whole = Arc::new(Tokenizer::from_gguf(byte_level_vocab()).unwrap());
        let whole = Grammars::new(&whole).unwrap();
        let text = "a\u{58dc8}b";
        for rule in [
            Rule::Regex(text.into()),
            Rule::Choice(vec!["a".into(), text.into()]),
            Rule::JsonSchema(serde_json::json!({"const": text})),
            Rule::Lark(format!("start: \"{text}\"")),
        ] {
            let error = poor.check(&rule).unwrap_err().to_string();
            assert!(
                error.contains("no tokens of the model spell") && error.contains("U+58DC8"),
                "{error}"
            );
            whole.check(&rule).unwrap();
        }
        poor.check(&Rule::Regex("é[a-z]+".into())).unwrap();
        assert!(poor.check(&Rule::Choice(vec!["a\u{1}".into()])).is_ok());
    }

    #[test]
    fn a_rule_that_leads_where_no_token_goes_says_so_when_it_is_there() {
        let mut vocab = byte_level_vocab();
        let byte = vocab.tokens.iter_mut().find(|token| *token == "ñ").unwrap();
        *byte = "qqqq".into();
        let tokenizer = Arc::new(Tokenizer::from_gguf(vocab).unwrap());
        let grammars = Grammars::new(&tokenizer).unwrap();
        // The character stands there in ASCII.
        let mut rule = grammars
            .compile(&Rule::Regex(r"a\u{58dc8}".into()))
            .unwrap();
        let a = tokenizer.encode("a", Specials::Plain).unwrap()[0];
        assert!(rule.mask().unwrap().allows(a));
        rule.accept(a).unwrap();
        assert!(matches!(rule.mask(), Err(ConstraintError::Rule(_))));
    }
}
