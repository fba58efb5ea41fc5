//! Whether it pays to embed a question, to find one like it.

use std::sync::{Mutex, PoisonError};

/// Tokens that a search has to save on average: embedding a question takes about as long as two take.
const MIN_RIGHT: f32 = 2.0;
/// What is expected before anything is known.
const FIRST_RIGHT: f32 = 8.0;
/// The weight of a search in the average.
const STEP: f32 = 1.0 / 16.0;
/// Where searches do not pay, one of so many is made all the same, to see whether they still do not.
const PROBE_EVERY: u32 = 16;

/// What searches have given of late.
#[derive(Debug)]
pub struct Searches(Mutex<State>);

#[derive(Debug)]
struct State {
    right: f32,
    num_skipped: u32,
}

impl Default for Searches {
    fn default() -> Self {
        Self(Mutex::new(State {
            right: FIRST_RIGHT,
            num_skipped: 0,
        }))
    }
}

impl Searches {
    /// Whether to make the next one.
    pub fn next_pays(&self) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_probe = state.num_skipped + 1 >= PROBE_EVERY;
        let pays = state.right >= MIN_RIGHT || is_probe;
        state.num_skipped = match pays {
            true => 0,
            false => state.num_skipped + 1,
        };
        pays
    }

    /// Of the answer that a search has found, or not, so many tokens were right.
    pub fn learn(&self, num_right: usize) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.right += STEP * (num_right as f32 - state.right);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn num_made(searches: &Searches, num_right: usize) -> usize {
        let made = (0..160).filter(|_| {
            let pays = searches.next_pays();
            if pays {
                searches.learn(num_right);
            }
            pays
        });
        made.count()
    }

    #[test]
    fn searches_that_give_nothing_become_few_and_return_when_they_give_again() {
        let searches = Searches::default();
        assert_eq!(num_made(&searches, 20), 160);
        let few = num_made(&searches, 0);
        assert!((10..60).contains(&few), "{few}");
        assert_eq!(num_made(&searches, 0), 10);
        assert!(num_made(&searches, 60) > 100);
    }
}
