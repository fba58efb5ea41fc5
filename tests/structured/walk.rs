//! Answers drawn at random among what a constraint allows, in place of a model.

use std::sync::Arc;

use flambeau::constraint::Constraint;
use flambeau::model::gguf::GgufFile;
use flambeau::text::{GgufVocab, Grammars, Specials, Tokenizer};

use crate::common;
use crate::rng::Rng;

pub struct Walker {
    tokenizer: Arc<Tokenizer>,
    pub grammars: Grammars,
}

impl Walker {
    /// Over the vocabulary of the default model.
    pub fn new() -> Self {
        let file = GgufFile::open(common::default_model()).unwrap();
        let metadata = file.metadata();
        let owned = |key: &str| {
            let list = metadata.get_str_array(key).unwrap();
            list.into_iter().map(str::to_owned).collect()
        };
        let vocab = GgufVocab {
            model: "gpt2".into(),
            pre: Some("smollm".into()),
            tokens: owned("tokenizer.ggml.tokens"),
            token_types: metadata
                .opt_i32_array("tokenizer.ggml.token_type")
                .unwrap()
                .unwrap(),
            merges: owned("tokenizer.ggml.merges"),
            eos_id: metadata.opt_u32("tokenizer.ggml.eos_token_id").unwrap(),
            ..GgufVocab::default()
        };
        let tokenizer = Arc::new(Tokenizer::from_gguf(vocab).unwrap());
        let grammars = Grammars::new(&tokenizer).unwrap();
        Self {
            tokenizer,
            grammars,
        }
    }

    pub fn token_id(&self, text: &str) -> u32 {
        self.tokenizer.token_id(text).unwrap()
    }

    /// A whole answer, or `None` if it does not come to an end. Of some tokens that are allowed, drawn at random, the shortest is
    /// taken, and the end where it is among them: who draws among all writes words without end.
    pub fn answer(&self, constraint: Box<dyn Constraint>, rng: &mut Rng) -> Option<String> {
        self.goes_on("", constraint, rng)
    }

    /// As [`Walker::answer`], of an answer that begins with `begin`.
    pub fn goes_on(
        &self,
        begin: &str,
        mut constraint: Box<dyn Constraint>,
        rng: &mut Rng,
    ) -> Option<String> {
        let ends = self.tokenizer.eos_ids();
        let mut ids = self.tokenizer.encode(begin, Specials::Plain).unwrap();
        for &id in &ids {
            assert!(constraint.mask().unwrap().allows(id), "{begin}");
            constraint.accept(id).unwrap();
        }
        for _ in 0..400 {
            let mask = constraint.mask().unwrap();
            let vocab_size = self.tokenizer.vocab_size() as u32;
            let allowed: Vec<u32> = (0..vocab_size).filter(|&id| mask.allows(id)).collect();
            assert!(
                !allowed.is_empty(),
                "{:?}",
                self.tokenizer.detokenise(&ids, false)
            );
            let may_end = ends.iter().any(|&end| mask.allows(end));
            if may_end && (allowed.len() <= ends.len() || rng.below(3) == 0) {
                return Some(self.tokenizer.detokenise(&ids, false));
            }
            let quote = self.tokenizer.token_id("\"").unwrap();
            let any = |rng: &mut Rng| allowed[rng.below(allowed.len())];
            let drawn = match rng.below(3) {
                0 if allowed.contains(&quote) => quote,
                1 => any(rng),
                _ => {
                    let some = (0..6).map(|_| any(rng));
                    some.min_by_key(|&id| self.tokenizer.token_bytes(id).len())
                        .unwrap()
                }
            };
            if ends.contains(&drawn) {
                continue;
            }
            constraint.accept(drawn).unwrap();
            ids.push(drawn);
        }
        None
    }
}
