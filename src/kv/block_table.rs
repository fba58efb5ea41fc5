//! The blocks of one sequence, in token order.

use super::{BlockId, BlockPool};

/// Where a sequence's tokens live: token `i` is in block `i / block_size` of this list.
#[derive(Debug, Default)]
pub struct BlockTable {
    blocks: Vec<BlockId>,
}

impl BlockTable {
    /// Makes room for `num_tokens` tokens in total. False, with nothing changed, when the pool has too few free blocks.
    pub fn grow_to(&mut self, num_tokens: usize, pool: &mut BlockPool) -> bool {
        let wanted = pool.blocks_for(num_tokens);
        wanted <= self.blocks.len() || pool.allocate(wanted - self.blocks.len(), &mut self.blocks)
    }

    /// Gives every block back, the last one first: see [`BlockPool`].
    pub fn release(&mut self, pool: &mut BlockPool) {
        for block in self.blocks.drain(..).rev() {
            pool.release(block);
        }
    }

    /// Holds the pool's named `block` as block `i`, in place of the one that is there, or at the end.
    pub fn share(&mut self, i: usize, block: BlockId, pool: &mut BlockPool) {
        pool.retain(block);
        match self.blocks.get_mut(i) {
            Some(own) => pool.release(std::mem::replace(own, block)),
            None => {
                debug_assert_eq!(i, self.blocks.len());
                self.blocks.push(block);
            }
        }
    }

    /// Cache slot of the token at `position`: `block * block_size + offset`.
    pub fn slot(&self, position: usize, block_size: usize) -> u32 {
        self.blocks[position / block_size].0 * block_size as u32 + (position % block_size) as u32
    }

    /// The blocks, in token order.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_the_table_across_blocks() {
        let mut pool = BlockPool::new(8, 4);
        let (mut a, mut b) = (BlockTable::default(), BlockTable::default());
        assert!(a.grow_to(3, &mut pool) && b.grow_to(4, &mut pool) && a.grow_to(6, &mut pool));
        let (first, second) = (a.blocks()[0].0, a.blocks()[1].0);
        assert_eq!(a.slot(3, 4), first * 4 + 3);
        assert_eq!(a.slot(5, 4), second * 4 + 1);
        assert_ne!(second, b.blocks()[0].0);
    }

    #[test]
    fn a_failed_growth_changes_nothing() {
        let mut pool = BlockPool::new(2, 4);
        let mut table = BlockTable::default();
        assert!(table.grow_to(4, &mut pool));
        assert!(!table.grow_to(13, &mut pool));
        assert_eq!((table.blocks().len(), pool.num_free()), (1, 1));
        table.release(&mut pool);
        assert_eq!(pool.num_free(), 2);
    }
}
