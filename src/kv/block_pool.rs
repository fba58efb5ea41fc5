//! The pool of KV blocks, their reference counts, and which of them can be found by what they hold.

use super::host_arena::HostArena;
use super::idle_list::IdleList;
use super::prefix_tree::PrefixTree;
use super::{BlockHash, BlockMove};

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
    pub(super) ref_counts: Vec<u32>,
    /// A stack.
    pub(super) free: Vec<BlockId>,
    pub(super) idle: IdleList,
    pub(super) tree: PrefixTree,
    pub(super) host: HostArena,
    /// What the step being planned has to do first.
    pub(super) moves: Vec<BlockMove>,
    /// Blocks named since its planning began: that step, or one before it, brings about their content.
    pub(super) fresh: Vec<BlockId>,
    /// Those named before, whose content a step in flight brings about.
    pub(super) in_flight: Vec<BlockId>,
    num_evictions: u64,
    num_saves: u64,
    num_loads: u64,
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
            host: HostArena::new(0),
            moves: Vec::new(),
            fresh: Vec::new(),
            in_flight: Vec::new(),
            num_evictions: 0,
            num_saves: 0,
            num_loads: 0,
        }
    }

    /// Saves what is thrown out of the cache in an arena of `num_slots` blocks on the host.
    #[must_use]
    pub fn with_host_arena(mut self, num_slots: usize) -> Self {
        self.host = HostArena::new(num_slots);
        self
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

    /// Blocks on the host.
    pub fn num_saved(&self) -> usize {
        self.host.len()
    }

    /// Blocks copied to the host, ever.
    pub fn num_saves(&self) -> u64 {
        self.num_saves
    }

    /// Blocks copied back from the host, ever.
    pub fn num_loads(&self) -> u64 {
        self.num_loads
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
        let is_written = self.tree.is_written(block);
        let hash = self.tree.remove(block).filter(|_| is_written);
        if let Some(slot) = hash.and_then(|hash| self.host.put(hash)) {
            self.moves.push(BlockMove::Save { block, slot });
            self.num_saves += 1;
        }
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
        let is_new = self.tree.insert(block, parent, hash, tokens);
        if is_new {
            self.fresh.push(block);
        }
        is_new
    }

    /// Brings content back from the host into a held block without a name, before the next step's rows are computed, and
    /// names the block. False where the host doesn't have it.
    pub fn load(
        &mut self,
        block: BlockId,
        parent: BlockHash,
        hash: BlockHash,
        tokens: &[u32],
    ) -> bool {
        if !self.host.touch(hash) || !self.name(block, parent, hash, tokens) {
            return false;
        }
        let slot = self.host.take(hash);
        let slot = slot.expect("it was there a moment ago: this is a bug");
        self.moves.push(BlockMove::Load { slot, block });
        self.num_loads += 1;
        true
    }

    /// Notes that what the host may have is going to be loaded, so that it makes no room for anything before.
    pub fn touch_saved(&mut self, hash: BlockHash) {
        self.host.touch(hash);
    }

    /// Whether content of this name is in the cache or on the host.
    pub fn is_known(&self, hash: BlockHash) -> bool {
        self.find(hash).is_some() || self.host.contains(hash)
    }

    /// Copies a block's content before the next step's rows are computed.
    pub fn copy(&mut self, from: BlockId, to: BlockId) {
        self.moves.push(BlockMove::Copy { from, to });
    }

    /// Whether a block's content may be in use by several: it must not be written to any more.
    pub fn is_written(&self, block: BlockId) -> bool {
        self.tree.is_written(block)
    }

    /// Takes a block's name away, because its content is not what the name says.
    pub(super) fn forget(&mut self, block: BlockId) {
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
        self.host.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moves(pool: &mut BlockPool) -> Vec<BlockMove> {
        let mut moves = Vec::new();
        pool.take_moves(&mut moves);
        moves
    }

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
        }
        pool.step_done(true);
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
    fn what_is_thrown_out_comes_back_from_the_host() {
        let mut pool = BlockPool::new(1, 2).with_host_arena(1);
        let root = BlockHash::scope("");
        let (a, b) = (root.child(&[1, 1]), root.child(&[2, 2]));
        let mut table = Vec::new();
        assert!(pool.allocate(1, &mut table) && pool.name(table[0], root, a, &[1, 1]));
        pool.step_done(true);
        pool.release(table[0]);
        // The one block is needed for other content.
        table.clear();
        assert!(pool.allocate(1, &mut table));
        let (block, slot) = (table[0], BlockId(0));
        assert_eq!(moves(&mut pool), [BlockMove::Save { block, slot }]);
        assert!(pool.name(block, root, b, &[2, 2]) && !pool.load(block, root, a, &[1, 1]));
        pool.step_done(true);
        pool.release(block);
        table.clear();
        // Content that is about to be wanted makes no room for what is thrown out meanwhile.
        pool.touch_saved(a);
        assert!(pool.is_known(a) && pool.allocate(1, &mut table));
        assert!(
            !pool.load(block, root, a, &[1, 1]),
            "one slot holds one block"
        );
        assert!(pool.load(block, root, b, &[2, 2]));
        let moves = moves(&mut pool);
        assert_eq!(moves.last(), Some(&BlockMove::Load { slot, block }));
        pool.steps_failed(moves.iter());
        assert!(!pool.is_known(a) && !pool.is_known(b));
        pool.check(table.iter().copied()).unwrap();
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
