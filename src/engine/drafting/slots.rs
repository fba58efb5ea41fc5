//! What is known of the sequences that are guessed for, what is guessed, and how much of it is computed.
//!
//! Invariant: the guesses after a slot's known tokens are what the draft model draws after exactly those tokens. A guess is kept as long
//! as the tokens that become known agree with it; the first that does not drops all that follow, of which nothing in the cache counts.

use super::DraftLimits;
use crate::scheduler::SequenceId;

/// Tokens that are guessed beyond what is known: somewhat more than a step computes of them, so that there are some left once it is done.
const MAX_AHEAD: usize = 18;

/// The sequences, a slot each. As many as there are slots; who comes when all are taken finds none until somebody ends, so that a
/// crowd does not take each other's.
#[derive(Debug)]
pub(super) struct Slots {
    limits: DraftLimits,
    slots: Vec<Slot>,
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Slot {
    /// Whose it is.
    id: Option<SequenceId>,
    /// How many had it before: work for somebody who is gone counts for nothing.
    tenure: u64,
    /// What is known, then what is guessed.
    tokens: Vec<u32>,
    num_known: usize,
    /// How many of `tokens` have their keys and values in the cache.
    num_computed: usize,
}

/// Rows of a slot to compute.
#[derive(Debug)]
pub(super) struct Work {
    pub slot: usize,
    tenure: u64,
    /// The position of the first.
    pub first: usize,
    pub tokens: Vec<u32>,
    /// Whether the last one tells what comes next.
    pub is_drawn: bool,
}

impl Slots {
    pub fn new(limits: DraftLimits) -> Self {
        Self {
            slots: (0..limits.num_slots).map(|_| Slot::default()).collect(),
            limits,
            is_closed: false,
        }
    }

    /// Takes in what is new of a sequence; gives what is guessed to follow, where it has a slot. One that is too long, or has a token that
    /// the draft model does not know, has none.
    pub fn note(&mut self, id: SequenceId, tokens: &[u32]) -> Option<&[u32]> {
        let its = self.slots.iter().position(|slot| slot.id == Some(id));
        let i = its.or_else(|| self.slots.iter().position(|slot| slot.id.is_none()))?;
        let slot = &mut self.slots[i];
        let new = &tokens[slot.num_known..];
        let is_out = self.is_closed || tokens.len() >= self.limits.max_len;
        if is_out
            || new
                .iter()
                .any(|&token| token as usize >= self.limits.vocab_size)
        {
            if its.is_some() {
                slot.vacate();
            }
            return None;
        }
        slot.id = Some(id);
        slot.note(new);
        Some(&slot.tokens[slot.num_known..])
    }

    /// A sequence has ended, or waits.
    pub fn forget(&mut self, id: SequenceId) {
        let its = self.slots.iter_mut().find(|slot| slot.id == Some(id));
        if let Some(slot) = its {
            slot.vacate();
        }
    }

    /// Ends everything.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.slots.iter_mut().for_each(Slot::vacate);
    }

    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Whether there is anything to compute.
    pub fn has_work(&self) -> bool {
        let max_len = self.limits.max_len;
        self.slots.iter().any(|slot| slot.num_wanted(max_len) > 0)
    }

    /// What the next step computes: a row for each sequence that is guessed on, then what is behind of others, as far as there is room.
    pub fn take_work(&self, work: &mut Vec<Work>) {
        let max_len = self.limits.max_len;
        let mut num_left = self.limits.max_num_batched_tokens;
        let wanted = |slot: &Slot| slot.num_wanted(max_len);
        let mut order: Vec<usize> = (0..self.slots.len()).collect();
        order.sort_by_key(|&i| wanted(&self.slots[i]));
        for i in order {
            let slot = &self.slots[i];
            let num_rows = wanted(slot).min(num_left);
            if num_rows == 0 {
                continue;
            }
            num_left -= num_rows;
            let rows = slot.num_computed..slot.num_computed + num_rows;
            work.push(Work {
                slot: i,
                tenure: slot.tenure,
                first: rows.start,
                is_drawn: rows.end == slot.tokens.len(),
                tokens: slot.tokens[rows].to_vec(),
            });
        }
    }

    /// Takes in that work was computed, and what was drawn after it; `None` where nothing could be.
    pub fn publish(&mut self, work: &Work, drawn: Option<u32>) {
        let slot = &mut self.slots[work.slot];
        let is_its = slot.tenure == work.tenure;
        // Else what it began after has turned out otherwise.
        if is_its && slot.num_computed == work.first {
            let known = drawn.filter(|&token| (token as usize) < self.limits.vocab_size);
            slot.take_in(&work.tokens, known);
        }
    }

    #[cfg(test)]
    pub fn num_tokens(&self) -> usize {
        self.slots.iter().map(|slot| slot.tokens.capacity()).sum()
    }
}

impl Slot {
    fn vacate(&mut self) {
        *self = Self {
            tenure: self.tenure + 1,
            ..Self::default()
        };
    }

    /// Takes in tokens that have become known.
    fn note(&mut self, new: &[u32]) {
        let guessed = &self.tokens[self.num_known..];
        let num_right = (guessed.iter().zip(new))
            .take_while(|(guess, token)| guess == token)
            .count();
        self.num_known += num_right;
        let wrong = &new[num_right..];
        if !wrong.is_empty() {
            self.tokens.truncate(self.num_known);
            self.num_computed = self.num_computed.min(self.num_known);
            self.tokens.extend(wrong);
            self.num_known += wrong.len();
        }
    }

    /// Rows that are to be computed.
    fn num_wanted(&self, max_len: usize) -> usize {
        let is_ahead = self.tokens.len() - self.num_known >= MAX_AHEAD;
        match is_ahead || self.tokens.len() > max_len {
            true => 0,
            // None where all is computed: then nothing could be drawn.
            false => self.tokens.len() - self.num_computed,
        }
    }

    /// Takes in that `tokens` were computed from `num_computed` on, as far as they are still what stands there, and what was drawn after
    /// all of them.
    fn take_in(&mut self, tokens: &[u32], drawn: Option<u32>) {
        let own = &self.tokens[self.num_computed..];
        let num_right = (own.iter().zip(tokens))
            .take_while(|(own, token)| own == token)
            .count();
        self.num_computed += num_right;
        let is_next = num_right == tokens.len() && self.num_computed == self.tokens.len();
        if let Some(token) = drawn.filter(|_| is_next) {
            self.tokens.push(token);
        }
    }
}
