//! The pool of KV blocks, their reference counts, and which of them can be found by what they hold.

use super::BlockHash;
use super::idle_list::IdleList;
use super::prefix_tree::PrefixTree;

/// Index of a block in the KV buffers, `0..num_blocks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub u32);

/// All blocks of one KV cache.
///
/// Whoever holds a block also holds those before it in its sequence, and a table releases its last block first. So in the
/// order of idleness no block comes before one that follows it in the tree: the oldest idle block is always a leaf.
#[derive(Debug)]
pub struct BlockPool {
    block_size: usize,
    ref_counts: Vec<u32>,
    /// A stack.
    free: Vec<BlockId>,
    idle: IdleList,
    tree: PrefixTree,
    num_evictions: u64,
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
            idle: IdleList::new(num_blocks as usize),
            tree: PrefixTree::new(num_blocks as usize, block_size),
            num_evictions: 0,
        }
    }

    /// Gives no block a name, so that none is ever found by its content.
    pub fn turn_names_off(&mut self) {
        self.tree.turn_off();
    }

    /// Tokens a block.
    pub fn block_size(&self) -> usize {
        self.block_size
    }

    /// All blocks, free or not.
    pub fn num_blocks(&self) -> usize {
        self.ref_counts.len()
    }

    /// Blocks nobody holds, those among them that have a name included.
    pub fn num_free(&self) -> usize {
        self.free.len() + self.idle.len()
    }

    /// Blocks with a name.
    pub fn num_named(&self) -> usize {
        self.tree.len()
    }

    /// Times a name was given up because its block was needed.
    pub fn num_evictions(&self) -> u64 {
        self.num_evictions
    }

    /// Blocks that `num_tokens` tokens occupy.
    pub fn blocks_for(&self, num_tokens: usize) -> usize {
        num_tokens.div_ceil(self.block_size)
    }

    /// Appends `count` fresh blocks, each with one reference, to `table`: free ones, then the longest idle ones, which
    /// lose their names. False, with nothing taken, when there are fewer.
    pub fn allocate(&mut self, count: usize, table: &mut Vec<BlockId>) -> bool {
        if count > self.num_free() {
            return false;
        }
        for _ in 0..count {
            let block = self.free.pop().unwrap_or_else(|| self.evict());
            self.ref_counts[block.0 as usize] = 1;
            table.push(block);
        }
        true
    }

    fn evict(&mut self) -> BlockId {
        let block = self
            .idle
            .oldest()
            .expect("the number was checked: this is a bug");
        self.idle.remove(block);
        self.tree.remove(block);
        self.num_evictions += 1;
        block
    }

    /// Adds a reference to a held or idle block.
    pub fn retain(&mut self, block: BlockId) {
        let count = &mut self.ref_counts[block.0 as usize];
        if *count == 0 {
            assert!(
                self.tree.contains(block),
                "{block:?} is free and cannot be shared: this is a bug"
            );
            self.idle.remove(block);
        }
        *count += 1;
    }

    /// Drops one reference; the last one makes the block idle or, without a name, free.
    pub fn release(&mut self, block: BlockId) {
        let count = &mut self.ref_counts[block.0 as usize];
        assert!(*count > 0, "{block:?} is released twice: this is a bug");
        *count -= 1;
        match (*count, self.tree.contains(block)) {
            (0, true) => self.idle.push_newest(block),
            (0, false) => self.free.push(block),
            _ => {}
        }
    }

    /// The block of this name. Rows of a step that runs after, or in, the step that computes the block may read it.
    pub fn find(&self, hash: BlockHash) -> Option<BlockId> {
        self.tree.find(hash)
    }

    /// The block after `parent` that shares most tokens with the beginning of `tokens`, and how many: at least one. It is
    /// one that an earlier step has computed, so that it can be copied.
    pub fn most_similar(&self, parent: BlockHash, tokens: &[u32]) -> Option<(BlockId, usize)> {
        self.tree.most_similar(parent, tokens)
    }

    /// Names a held block, which the next step completes, after its content: `tokens` after `parent`. False, with nothing
    /// changed, where the name or the block is taken, or names are off.
    pub fn name(
        &mut self,
        block: BlockId,
        parent: BlockHash,
        hash: BlockHash,
        tokens: &[u32],
    ) -> bool {
        debug_assert!(self.ref_counts[block.0 as usize] > 0);
        self.tree.insert(block, parent, hash, tokens)
    }

    /// Whether a block's content may be in use by several: it must not be written to any more.
    pub fn is_written(&self, block: BlockId) -> bool {
        self.tree.is_written(block)
    }

    /// Notes that a block's content is in the cache.
    pub fn mark_written(&mut self, block: BlockId) {
        self.tree.mark_written(block);
    }

    /// Takes a block's name away, because its content is not what the name says.
    pub fn forget(&mut self, block: BlockId) {
        if self.tree.contains(block) {
            self.tree.remove(block);
            if self.ref_counts[block.0 as usize] == 0 {
                self.idle.remove(block);
                self.free.push(block);
            }
        }
    }

    /// Takes all names away.
    pub fn forget_all(&mut self) {
        for block in 0..self.ref_counts.len() as u32 {
            self.forget(BlockId(block));
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
        for block in self.free.iter().copied().chain(self.idle.iter()) {
            let seen = std::mem::replace(&mut free[block.0 as usize], true);
            if seen || expected[block.0 as usize] > 0 {
                return Err(format!("{block:?} is free twice, or free and held"));
            }
        }
        if let Some(i) = (0..expected.len()).find(|&i| !free[i] && expected[i] == 0) {
            return Err(format!("block {i} is lost: neither free nor held"));
        }
        if let Some(block) = self.free.iter().find(|block| self.tree.contains(**block)) {
            return Err(format!("{block:?} is free and has a name"));
        }
        if let Some(block) = self.idle.iter().find(|block| !self.tree.contains(*block)) {
            return Err(format!("{block:?} is idle without a name"));
        }
        self.tree.check()
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
    fn an_idle_block_keeps_its_content_until_no_other_is_free() {
        let (mut pool, mut table) = (BlockPool::new(3, 2), Vec::new());
        let root = BlockHash::scope("");
        let name = |i: u32| root.child(&[i, i]);
        assert!(pool.allocate(2, &mut table));
        for (i, &block) in table.iter().enumerate() {
            assert!(pool.name(block, root, name(i as u32), &[i as u32; 2]));
            pool.mark_written(block);
        }
        pool.release(table[1]);
        pool.release(table[0]);
        assert_eq!((pool.num_free(), pool.num_named()), (3, 2));
        let mut other = Vec::new();
        assert!(pool.allocate(2, &mut other));
        // The free one went first, then the one that has been idle for longer.
        assert_eq!(
            (pool.find(name(0)), pool.find(name(1))),
            (Some(table[0]), None)
        );
        pool.retain(table[0]);
        assert_eq!((pool.num_free(), pool.num_evictions()), (0, 1));
        pool.check(other.iter().copied().chain([table[0]])).unwrap();
        pool.forget_all();
        pool.release(table[0]);
        assert_eq!((pool.num_free(), pool.num_named()), (1, 0));
        pool.check(other.iter().copied()).unwrap();
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
