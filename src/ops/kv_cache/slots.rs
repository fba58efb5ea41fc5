//! Which slots of the cache a step writes.

use candle_core::{Result, bail};

use crate::backend::cuda::Slice;

/// Where the rows of a step go in the cache: checked once a step, used by every layer.
///
/// Invariant: all slots are below `num_slots`, and no two are the same.
#[derive(Debug)]
pub struct Slots<'a> {
    pub(in crate::ops) slot_mapping: &'a [u32],
    pub(in crate::ops) num_slots: usize,
    on_card: Option<Slice>,
}

impl<'a> Slots<'a> {
    /// The slot of rows whose keys and values go nowhere; on a card alone.
    pub const NOBODY: u32 = u32::MAX;

    /// Checks `slot_mapping` `[T]`, `slot = block · block_size + offset`, against a cache of `num_slots` slots.
    ///
    /// # Errors
    /// If a slot is outside the cache, or two rows have the same slot.
    pub fn new(slot_mapping: &'a [u32], num_slots: usize) -> Result<Self> {
        Self::padded(slot_mapping, slot_mapping.len(), num_slots)
    }

    /// The same, where rows from `num_used` on have [`Slots::NOBODY`].
    ///
    /// # Errors
    /// As for `new`, or if they have another.
    pub fn padded(slot_mapping: &'a [u32], num_used: usize, num_slots: usize) -> Result<Self> {
        let (used, rest) = slot_mapping.split_at(num_used.min(slot_mapping.len()));
        if let Some((t, slot)) = used
            .iter()
            .enumerate()
            .find(|&(_, &slot)| slot as usize >= num_slots)
        {
            bail!("slot_mapping[{t}] is {slot}, but the cache has {num_slots} slots");
        }
        if let Some(slot) = rest.iter().find(|&&slot| slot != Self::NOBODY) {
            bail!("slot_mapping: slot {slot} is that of a row that has none");
        }
        let mut sorted = used.to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("slot {} stands twice in slot_mapping", pair[0]);
        }
        Ok(Self {
            slot_mapping,
            num_slots,
            on_card: None,
        })
    }

    /// Those in the host's memory.
    pub fn host(&self) -> &'a [u32] {
        self.slot_mapping
    }

    /// Notes that a card has a copy.
    pub fn put_on_card(&mut self, slice: Slice) {
        self.on_card = Some(slice);
    }

    /// Where the card has them; fails, naming `what`, where none does.
    pub(in crate::ops) fn slice(&self, what: &str) -> Result<&Slice> {
        match &self.on_card {
            Some(slice) => Ok(slice),
            None => bail!("{what}: must be in the card's memory, too"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_outside_the_cache_or_used_twice_are_errors() {
        let error = |slots: &[u32]| {
            let slots = Slots::padded(slots, 2, 32);
            slots.unwrap_err().to_string()
        };
        assert!(error(&[0, 32]).contains("slot_mapping[1] is 32"));
        assert!(error(&[5, 5]).contains("slot 5 stands twice"));
        assert!(error(&[5, Slots::NOBODY]).contains("slot_mapping[1]"));
        assert!(error(&[5, 6, 7]).contains("slot 7 is that of a row that has none"));
    }
}
