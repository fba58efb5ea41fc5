//! A smaller model that guesses what a larger one says next, on a thread of its own: nobody waits for it.
//!
//! ```text
//! scheduler → ModelDrafter ⇄ Slots, behind a lock that is held for the copy of a few tokens ⇄ DraftWorker → executor
//! ```
//!
//! The drafter tells what is new of a sequence and takes the guesses that still follow it; the worker goes on from there, a few tokens
//! ahead of what is known. It computes with any [`Executor`](super::Executor), greedily.

mod slots;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::scheduler::{DraftSource, Drafter, SequenceId};
use slots::Slots;
pub use worker::DraftWorker;

/// How much a draft model is to hold.
#[derive(Clone, Copy, Debug)]
pub struct DraftLimits {
    /// Sequences that it guesses for at once.
    pub num_slots: usize,
    /// Tokens of a sequence; longer ones are not guessed for.
    pub max_len: usize,
    /// Token rows a step; at least `num_slots`.
    pub max_num_batched_tokens: usize,
    /// Tokens a block of its KV cache.
    pub block_size: usize,
    /// Ids from here on are unknown to one of the two models.
    pub vocab_size: usize,
}

impl DraftLimits {
    /// Blocks of the KV cache; a slot has its own.
    pub fn num_blocks(&self) -> usize {
        self.num_slots * self.blocks_per_slot()
    }

    fn blocks_per_slot(&self) -> usize {
        self.max_len.div_ceil(self.block_size)
    }
}

/// What the two sides share.
#[derive(Debug)]
struct Shared {
    slots: Mutex<Slots>,
    changed: Condvar,
}

impl Shared {
    // Nothing is half done when a holder panics.
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is guessed any more.
    fn close(&self) {
        self.lock().close();
        self.changed.notify_all();
    }
}

/// Drafts of a model that computes elsewhere, as far as they are there.
#[derive(Debug)]
pub struct ModelDrafter {
    shared: Arc<Shared>,
}

impl ModelDrafter {
    /// A drafter, and who computes for it.
    pub fn new(limits: DraftLimits) -> (Self, DraftWorker) {
        let shared = Arc::new(Shared {
            slots: Mutex::new(Slots::new(limits)),
            changed: Condvar::new(),
        });
        let drafter = Self {
            shared: Arc::clone(&shared),
        };
        (drafter, DraftWorker::new(limits, shared))
    }
}

impl Drafter for ModelDrafter {
    fn draft(
        &mut self,
        id: SequenceId,
        tokens: &[u32],
        limit: usize,
        draft: &mut Vec<u32>,
    ) -> DraftSource {
        let mut slots = self.shared.lock();
        if let Some(guesses) = slots.note(id, tokens) {
            draft.extend(guesses.iter().take(limit));
        }
        let has_work = slots.has_work();
        drop(slots);
        if has_work {
            self.shared.changed.notify_one();
        }
        DraftSource::Model
    }

    fn forget(&mut self, id: SequenceId) {
        self.shared.lock().forget(id);
    }
}

impl Drop for ModelDrafter {
    fn drop(&mut self) {
        self.shared.close();
    }
}
