//! Answers drawn at random among what a constraint allows, in place of a model.

use std::sync::Arc;

use flambeau::constraint::Constraint;
use flambeau::text::{Grammars, Specials, Tokenizer};

use crate::rng::Rng;
use crate::vocabulary;

pub struct Walker {
    tokenizer: Arc<Tokenizer>,
    pub grammars: Grammars,
}

impl Walker {
    /// Over the vocabulary of the default model.
    pub fn new() -> Self {
        let tokenizer = Arc::new(vocabulary::tokenizer());
        let grammars = Grammars::new(&tokenizer).unwrap();
        Self {
            tokenizer,
            grammars,
        }
    }

    pub fn token_id(&self, text: &str) -> u32 {
        self.tokenizer.token_id(text).unwrap()
    }

    /// Whether an answer may begin with `text`.
    pub fn may_say(&self, text: &str, mut constraint: Box<dyn Constraint>) -> bool {
        let ids = self.tokenizer.encode(text, Specials::Plain).unwrap();
        ids.into_iter()
            .all(|id| constraint.mask().unwrap().allows(id) && constraint.accept(id).is_ok())
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
