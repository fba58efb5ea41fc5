//! The pool of KV blocks and their reference counts.

/// Index of a block in the KV buffers, `0..num_blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// All blocks of one KV cache: a stack of free ones and a reference count each.
#[derive(Debug)]
pub struct BlockPool {
    block_size: usize,
    ref_counts: Vec<u32>,
    free: Vec<BlockId>,
}

impl BlockPool {
    /// A pool of `num_blocks` free blocks of `block_size` tokens each.
    pub fn new(num_blocks: usize, block_size: usize) -> Self {
        assert!(block_size > 0, "block_size must be positive");
        let num_blocks = u32::try_from(num_blocks)
            .expect("block ids are 32 bits: more blocks than that is a bug");
        Self {
            block_size,
            ref_counts: vec![0; num_blocks as usize],
            // Reversed, so that low ids are handed out first.
            free: (0..num_blocks).rev().map(BlockId).collect(),
        }
    }

    /// Tokens a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// All blocks, free or not.
    pub fn num_blocks(&self) -> usize {
        self.ref_counts.len()
    }

    /// Blocks nobody holds.
    pub fn num_free(&self) -> usize {
        self.free.len()
    }

    /// Blocks that `num_tokens` tokens occupy.
    pub fn blocks_for(&self, num_tokens: usize) -> usize {
        num_tokens.div_ceil(self.block_size)
    }

    /// Appends `count` fresh blocks, each with one reference, to `table`. False, with nothing taken, when fewer are free.
    pub fn allocate(&mut self, count: usize, table: &mut Vec<BlockId>) -> bool {
        if count > self.free.len() {
            return false;
        }
        for _ in 0..count {
            let block = self
                .free
                .pop()
                .expect("the length was checked: this is a bug");
            self.ref_counts[block.0 as usize] = 1;
            table.push(block);
        }
        true
    }

    /// Adds a reference to a held block.
    pub fn retain(&mut self, block: BlockId) {
        let count = &mut self.ref_counts[block.0 as usize];
        assert!(
            *count > 0,
            "{block:?} is free and cannot be shared: this is a bug"
        );
        *count += 1;
    }

    /// Drops one reference; the last one frees the block.
    pub fn release(&mut self, block: BlockId) {
        let count = &mut self.ref_counts[block.0 as usize];
        assert!(*count > 0, "{block:?} is released twice: this is a bug");
        *count -= 1;
        if *count == 0 {
            self.free.push(block);
        }
    }

    /// Checks the pool against the blocks that all tables hold (`held`, with repeats for shared ones).
    pub fn check(&self, held: impl Iterator<Item = BlockId>) -> Result<(), String> {
        let mut expected = vec![0u32; self.ref_counts.len()];
        for block in held {
            expected[block.0 as usize] += 1;
        }
        if let Some(i) = (0..expected.len()).find(|&i| expected[i] != self.ref_counts[i]) {
            return Err(format!(
                "block {i}: {} references counted, {} held",
                self.ref_counts[i], expected[i]
            ));
        }
        let mut free = vec![false; expected.len()];
        for block in &self.free {
            let seen = std::mem::replace(&mut free[block.0 as usize], true);
            if seen || expected[block.0 as usize] > 0 {
                return Err(format!("{block:?} is free twice, or free and held"));
            }
        }
        match (0..expected.len()).find(|&i| !free[i] && expected[i] == 0) {
            Some(i) => Err(format!("block {i} is lost: neither free nor held")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocation_is_all_or_nothing() {
        let mut pool = BlockPool::new(4, 16);
        let mut table = Vec::new();
        assert!(pool.allocate(3, &mut table));
        assert!(!pool.allocate(2, &mut table));
        assert_eq!((table.len(), pool.num_free()), (3, 1));
        pool.check(table.iter().copied()).unwrap();
    }

    #[test]
    fn a_shared_block_is_freed_by_its_last_holder() {
        let mut pool = BlockPool::new(1, 16);
        let mut table = Vec::new();
        assert!(pool.allocate(1, &mut table));
        pool.retain(table[0]);
        pool.release(table[0]);
        assert_eq!(pool.num_free(), 0);
        pool.release(table[0]);
        assert_eq!(pool.num_free(), 1);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn releasing_a_free_block_is_a_bug_that_shows() {
        BlockPool::new(1, 16).release(BlockId(0));
    }

    #[test]
    fn a_lost_or_doubly_held_block_is_found() {
        let mut pool = BlockPool::new(2, 16);
        let mut table = Vec::new();
        assert!(pool.allocate(1, &mut table));
        assert!(pool.check(std::iter::empty()).is_err());
        assert!(pool.check([table[0], table[0]].into_iter()).is_err());
    }
}
