//! Blocks that nobody holds but whose content may be wanted again, oldest first.

use super::BlockId;

/// The list's own place in the links, so that no link is ever missing.
const END: u32 = u32::MAX;

/// A doubly linked list over block ids: every move takes constant time.
#[derive(Debug)]
pub(super) struct IdleList {
    /// Before and after each block; of blocks outside the list, anything.
    links: Vec<(u32, u32)>,
    /// The newest and the oldest.
    ends: (u32, u32),
    len: usize,
}

impl IdleList {
    pub(super) fn new(num_blocks: usize) -> Self {
        Self {
            links: vec![(END, END); num_blocks],
            ends: (END, END),
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends a block that is not in the list.
    pub(super) fn push_newest(&mut self, block: BlockId) {
        let newest = self.ends.0;
        self.links[block.0 as usize] = (newest, END);
        *self.after(newest) = block.0;
        self.ends.0 = block.0;
        self.len += 1;
    }

    /// Takes out a block that is in the list.
    pub(super) fn remove(&mut self, block: BlockId) {
        let (before, after) = self.links[block.0 as usize];
        *self.after(before) = after;
        *self.before(after) = before;
        self.len -= 1;
    }

    pub(super) fn oldest(&self) -> Option<BlockId> {
        (self.ends.1 != END).then_some(BlockId(self.ends.1))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = BlockId> {
        let next = |block: &BlockId| Some(BlockId(self.links[block.0 as usize].1));
        std::iter::successors(self.oldest(), next).take(self.len)
    }

    fn before(&mut self, block: u32) -> &mut u32 {
        match block {
            END => &mut self.ends.0,
            block => &mut self.links[block as usize].0,
        }
    }

    fn after(&mut self, block: u32) -> &mut u32 {
        match block {
            END => &mut self.ends.1,
            block => &mut self.links[block as usize].1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_leave_in_the_order_they_came_wherever_others_are_taken_out() {
        let mut list = IdleList::new(6);
        for block in [3, 1, 4, 0, 5] {
            list.push_newest(BlockId(block));
        }
        for block in [4, 3, 5] {
            list.remove(BlockId(block));
        }
        list.push_newest(BlockId(3));
        let order: Vec<u32> = list.iter().map(|block| block.0).collect();
        assert_eq!((order, list.len()), (vec![1, 0, 3], 3));
        while let Some(block) = list.oldest() {
            list.remove(block);
        }
        assert_eq!((list.len(), list.iter().count()), (0, 0));
    }
}
