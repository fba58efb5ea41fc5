//! The second arena: where blocks go that are thrown out of the cache, until somebody wants them again.

use std::collections::HashMap;

use super::idle_list::IdleList;
use super::{BlockHash, BlockId};

/// Which slot of the host's arena holds which content, as exactly as it stood in the cache.
#[derive(Debug)]
pub(super) struct HostArena {
    /// A stack.
    free: Vec<BlockId>,
    /// Slots with content, the one that nobody wanted for longest first.
    used: IdleList,
    names: Vec<Option<BlockHash>>,
    slots: HashMap<BlockHash, BlockId>,
}

impl HostArena {
    pub(super) fn new(num_slots: usize) -> Self {
        let count = u32::try_from(num_slots).expect("slots are 32 bits: more than that is a bug");
        Self {
            free: (0..count).rev().map(BlockId).collect(),
            used: IdleList::new(num_slots),
            names: vec![None; num_slots],
            slots: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.used.len()
    }

    /// A slot for the content of this name: a free one, or the one that nobody wanted for longest. `None` where the content is
    /// there already, or there are no slots.
    pub(super) fn put(&mut self, hash: BlockHash) -> Option<BlockId> {
        if self.slots.contains_key(&hash) {
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let oldest = self.used.oldest()?;
                self.forget(oldest);
                self.free.pop()?
            }
        };
        self.names[slot.0 as usize] = Some(hash);
        self.slots.insert(hash, slot);
        self.used.push_newest(slot);
        Some(slot)
    }

    /// Notes that the content is about to be wanted; false where it isn't there.
    pub(super) fn touch(&mut self, hash: BlockHash) -> bool {
        let Some(&slot) = self.slots.get(&hash) else {
            return false;
        };
        self.used.remove(slot);
        self.used.push_newest(slot);
        true
    }

    pub(super) fn contains(&self, hash: BlockHash) -> bool {
        self.slots.contains_key(&hash)
    }

    /// Takes the content's slot, which is free from now on.
    pub(super) fn take(&mut self, hash: BlockHash) -> Option<BlockId> {
        let slot = self.slots.get(&hash).copied()?;
        self.forget(slot);
        Some(slot)
    }

    /// Frees a slot, if it is used.
    pub(super) fn forget(&mut self, slot: BlockId) {
        if let Some(hash) = self.names[slot.0 as usize].take() {
            self.slots.remove(&hash);
            self.used.remove(slot);
            self.free.push(slot);
        }
    }

    /// Frees all slots.
    pub(super) fn clear(&mut self) {
        (0..self.names.len() as u32).for_each(|slot| self.forget(BlockId(slot)));
    }

    /// Checks that names and slots agree.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.free.len() + self.used.len() != self.names.len() {
            return Err(format!(
                "{} host slots are lost",
                self.names.len() - self.free.len() - self.used.len()
            ));
        }
        let is_found = |slot: &BlockId| {
            let name = self.names[slot.0 as usize];
            name.is_some_and(|hash| self.slots.get(&hash) == Some(slot))
        };
        match self.used.iter().find(|slot| !is_found(slot)) {
            Some(slot) => Err(format!("host slot {} is not found by its name", slot.0)),
            None if self.slots.len() != self.used.len() => {
                Err("host slots have too many names".into())
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_wanted_for_longest_makes_room() {
        let root = BlockHash::scope("");
        let name = |i: u32| root.child(&[i]);
        let mut arena = HostArena::new(2);
        let first = arena.put(name(0)).unwrap();
        let second = arena.put(name(1)).unwrap();
        assert_eq!(arena.put(name(0)), None, "it is there already");
        assert!(arena.touch(name(0)));
        assert_eq!(arena.put(name(2)), Some(second));
        assert!(!arena.touch(name(1)));
        arena.check().unwrap();
        assert_eq!(arena.take(name(0)), Some(first));
        assert_eq!((arena.take(name(0)), arena.len()), (None, 1));
        arena.clear();
        arena.check().unwrap();
        assert_eq!((arena.len(), HostArena::new(0).put(name(0))), (0, None));
    }
}
