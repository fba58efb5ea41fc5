//! What may be drawn next: the rule a request brings (a grammar), and the mask that a step waits for.
//!
//! Masks are computed beside the forward pass, by threads of their own: a step is launched while the masks of its rows are
//! still being computed, and waits for them only before it draws.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Why a rule gives no mask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// The rule leads nowhere with the model's tokens, or costs more than it may to go on with: the request's own fault.
    #[error("cannot be followed any further: {0}")]
    Rule(String),
    /// What computes the masks failed.
    #[error("failed: {0}")]
    Failed(String),
}

/// A rule about tokens that follow each other. One lives as long as its sequence.
pub trait Constraint: Send {
    /// Which tokens may come next. Where the answer may end, its stop tokens are among them.
    ///
    /// # Errors
    /// If it cannot be told within the limits that the rule was made with.
    fn mask(&mut self) -> Result<TokenMask, ConstraintError>;

    /// Takes in the token that was drawn.
    ///
    /// # Errors
    /// If it may not come here.
    fn accept(&mut self, token_id: u32) -> Result<(), ConstraintError>;

    /// A copy in the same state, for another choice of the same request.
    fn boxed_clone(&self) -> Box<dyn Constraint>;
}

impl Clone for Box<dyn Constraint> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}

impl fmt::Debug for dyn Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Constraint")
    }
}

/// A set of tokens, a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenMask(Vec<u32>);

impl TokenMask {
    /// From words of 32 tokens, the lowest bit first.
    pub fn new(words: Vec<u32>) -> Self {
        Self(words)
    }

    /// None of `vocab_size` tokens.
    pub fn none(vocab_size: usize) -> Self {
        Self(vec![0; vocab_size.div_ceil(32)])
    }

    /// Words of 32 tokens, the lowest bit first; what is beyond them is not in it.
    pub fn words(&self) -> &[u32] {
        &self.0
    }

    /// Adds a token; one beyond the vocabulary is not added.
    pub fn allow(&mut self, token_id: u32) {
        if let Some(word) = self.0.get_mut(token_id as usize / 32) {
            *word |= 1 << (token_id % 32);
        }
    }

    /// Takes a token out.
    pub fn forbid(&mut self, token_id: u32) {
        if let Some(word) = self.0.get_mut(token_id as usize / 32) {
            *word &= !(1 << (token_id % 32));
        }
    }

    /// Whether the token is in it.
    pub fn allows(&self, token_id: u32) -> bool {
        let word = self.0.get(token_id as usize / 32);
        word.is_some_and(|word| word >> (token_id % 32) & 1 == 1)
    }

    /// How many tokens are in it.
    pub fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Gives every token that is not in it a logit of minus infinity.
    pub fn apply(&self, logits: &mut [f32]) {
        let words = self.0.iter().copied().chain(std::iter::repeat(0));
        for (word, logits) in words.zip(logits.chunks_mut(32)) {
            match word {
                u32::MAX => {}
                0 => logits.fill(f32::NEG_INFINITY),
                _ => {
                    for (i, logit) in logits.iter_mut().enumerate() {
                        if word >> i & 1 == 0 {
                            *logit = f32::NEG_INFINITY;
                        }
                    }
                }
            }
        }
    }
}

/// What no mask takes: the limits that grammars are compiled with end their work far sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a sequence's next mask appears.
#[derive(Debug, Default)]
pub struct MaskSlot {
    mask: Mutex<Option<Result<Arc<TokenMask>, ConstraintError>>>,
    filled: Condvar,
}

impl MaskSlot {
    /// Waits until it is filled, and says with what; for a bounded time, since a whole step waits.
    ///
    /// # Errors
    /// Why there is no mask.
    pub fn wait(&self) -> Result<Arc<TokenMask>, ConstraintError> {
        let mask = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = (self.filled).wait_timeout_while(mask, PATIENCE, |mask| mask.is_none());
        let (mut filled, _) = filled.unwrap_or_else(PoisonError::into_inner);
        filled
            .get_or_insert_with(|| {
                let message = format!("the next mask took longer than {PATIENCE:?}");
                Err(ConstraintError::Failed(message))
            })
            .clone()
    }

    /// Fills it; what comes after a failure changes nothing.
    pub fn fill(&self, mask: Result<TokenMask, ConstraintError>) {
        let mut slot = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(mask.map(Arc::new));
            self.filled.notify_all();
        }
    }

    /// Empties it: what was in it was for the token before.
    pub fn clear(&self) {
        *self.mask.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why there is no mask, where that is known.
    pub fn failure(&self) -> Option<ConstraintError> {
        let mask = self.mask.lock().unwrap_or_else(PoisonError::into_inner);
        mask.as_ref().and_then(|mask| mask.as_ref().err().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_leaves_what_it_allows_and_nothing_beyond_its_end() {
        let mut mask = TokenMask::none(70);
        for id in [0, 33, 69, 200] {
            mask.allow(id);
        }
        let mut logits = vec![1.0; 120];
        mask.apply(&mut logits);
        let left: Vec<usize> = (0..120).filter(|&i| logits[i] == 1.0).collect();
        assert_eq!(left, [0, 33, 69]);
        assert_eq!(mask.count(), 3);
        assert!(mask.allows(69) && !mask.allows(68) && !mask.allows(4000));
    }

    #[test]
    fn who_waits_is_woken_by_the_mask_and_by_its_failure() {
        let slot = Arc::new(MaskSlot::default());
        for expected in [
            Ok(TokenMask::none(32)),
            Err(ConstraintError::Rule("too costly".into())),
        ] {
            slot.clear();
            let waiting = {
                let slot = Arc::clone(&slot);
                std::thread::spawn(move || slot.wait())
            };
            slot.fill(expected.clone());
            assert_eq!(waiting.join().unwrap(), expected.map(Arc::new));
        }
        assert!(matches!(slot.failure(), Some(ConstraintError::Rule(_))));
    }
}
