//! What is to happen to blocks before a step computes its rows.

use super::BlockId;

/// One copy of a block's keys and values, in all layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockMove {
    /// Within the cache.
    Copy {
        /// From this block.
        from: BlockId,
        /// To this one.
        to: BlockId,
    },
    /// To the host's arena.
    Save {
        /// From this block of the cache.
        block: BlockId,
        /// To this slot of the arena.
        slot: BlockId,
    },
    /// Back from the host's arena.
    Load {
        /// From this slot of the arena.
        slot: BlockId,
        /// To this block of the cache.
        block: BlockId,
    },
}
