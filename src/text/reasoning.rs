//! Thoughts before an answer: they are free of the answer's rule, and may have a budget.

use crate::constraint::{Constraint, ConstraintError, TokenMask};

/// The tokens that begin and end thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThinkTokens {
    /// `<think>`.
    pub begin: u32,
    /// `</think>`.
    pub end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The first token decides.
    Open,
    /// So many thoughts so far.
    Thinking(usize),
    Answering,
}

/// Lets everything pass until thoughts have ended, and then what `answer` allows; without one, everything.
#[derive(Clone)]
pub struct AfterThoughts {
    tokens: ThinkTokens,
    vocab_size: usize,
    /// What ends an answer, and must not come before it.
    ends: Vec<u32>,
    /// Tokens of thoughts, after which only their end is allowed.
    budget: Option<usize>,
    stage: Stage,
    answer: Option<Box<dyn Constraint>>,
}

impl AfterThoughts {
    /// `ends` may not come among thoughts; `is_thinking` says that the prompt has begun the thoughts; else the model may.
    pub fn new(
        tokens: ThinkTokens,
        vocab_size: usize,
        ends: Vec<u32>,
        is_thinking: bool,
        budget: Option<usize>,
        answer: Option<Box<dyn Constraint>>,
    ) -> Self {
        Self {
            tokens,
            vocab_size,
            ends,
            budget,
            stage: match is_thinking {
                true => Stage::Thinking(0),
                false => Stage::Open,
            },
            answer,
        }
    }

    fn all(&self) -> TokenMask {
        TokenMask::new(vec![u32::MAX; self.vocab_size.div_ceil(32)])
    }

    fn answer_mask(&mut self) -> Result<TokenMask, ConstraintError> {
        match &mut self.answer {
            Some(answer) => answer.mask(),
            None => Ok(self.all()),
        }
    }
}

impl Constraint for AfterThoughts {
    fn mask(&mut self) -> Result<TokenMask, ConstraintError> {
        match self.stage {
            Stage::Open => {
                let mut mask = self.answer_mask()?;
                mask.allow(self.tokens.begin);
                Ok(mask)
            }
            Stage::Thinking(count) if self.budget.is_some_and(|budget| count >= budget) => {
                let mut mask = TokenMask::none(self.vocab_size);
                mask.allow(self.tokens.end);
                Ok(mask)
            }
            Stage::Thinking(_) => {
                let mut mask = self.all();
                self.ends.iter().for_each(|&id| mask.forbid(id));
                Ok(mask)
            }
            Stage::Answering => {
                let mut mask = self.answer_mask()?;
                if self.budget.is_some() {
                    // Thoughts that begin later would have no budget.
                    mask.forbid(self.tokens.begin);
                }
                Ok(mask)
            }
        }
    }

    fn accept(&mut self, token_id: u32) -> Result<(), ConstraintError> {
        match self.stage {
            Stage::Open if token_id == self.tokens.begin => self.stage = Stage::Thinking(0),
            Stage::Thinking(_) if token_id == self.tokens.end => self.stage = Stage::Answering,
            Stage::Thinking(count) => self.stage = Stage::Thinking(count + 1),
            Stage::Open | Stage::Answering => {
                self.stage = Stage::Answering;
                if let Some(answer) = &mut self.answer {
                    return answer.accept(token_id);
                }
            }
        }
        Ok(())
    }

    fn boxed_clone(&self) -> Box<dyn Constraint> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: ThinkTokens = ThinkTokens { begin: 5, end: 6 };

    /// Allows 1, then the end 9.
    #[derive(Clone)]
    struct One(bool);

    impl Constraint for One {
        fn mask(&mut self) -> Result<TokenMask, ConstraintError> {
            let mut mask = TokenMask::none(32);
            mask.allow(if self.0 { 9 } else { 1 });
            Ok(mask)
        }

        fn accept(&mut self, token_id: u32) -> Result<(), ConstraintError> {
            assert_eq!(token_id, 1);
            self.0 = true;
            Ok(())
        }

        fn boxed_clone(&self) -> Box<dyn Constraint> {
            Box::new(self.clone())
        }
    }

    fn allowed(rule: &mut AfterThoughts) -> Vec<u32> {
        let mask = rule.mask().unwrap();
        (0..32).filter(|&id| mask.allows(id)).collect()
    }

    #[test]
    fn thoughts_are_free_until_they_end_and_the_answer_follows_its_rule() {
        for is_thinking in [false, true] {
            let answer: Box<dyn Constraint> = Box::new(One(false));
            let mut rule =
                AfterThoughts::new(TOKENS, 32, vec![9], is_thinking, Some(3), Some(answer));
            if !is_thinking {
                assert_eq!(allowed(&mut rule), [1, 5]);
                rule.accept(5).unwrap();
            }
            for id in [7, 8, 1] {
                assert_eq!(allowed(&mut rule).len(), 31);
                rule.accept(id).unwrap();
            }
            assert_eq!(allowed(&mut rule), [6], "the budget is spent");
            rule.accept(6).unwrap();
            assert_eq!(allowed(&mut rule), [1]);
            rule.accept(1).unwrap();
            assert_eq!(allowed(&mut rule), [9]);
        }
    }

    #[test]
    fn who_does_not_think_answers_by_the_rule_from_the_first_token() {
        let answer: Box<dyn Constraint> = Box::new(One(false));
        let mut rule = AfterThoughts::new(TOKENS, 32, vec![9], false, None, Some(answer));
        rule.accept(1).unwrap();
        assert_eq!(allowed(&mut rule), [9]);
        let mut free = AfterThoughts::new(TOKENS, 32, vec![], true, Some(0), None);
        assert_eq!(allowed(&mut free), [6]);
    }
}
