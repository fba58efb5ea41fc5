//! Who owns which piece of the KV cache. Pure bookkeeping: no tensors, no clock, no threads.
//!
//! The cache is a fixed number of *blocks*, each holding the keys and values of `block_size` consecutive tokens of one
//! sequence. Invariants, checked by [`BlockPool::check`] in the simulator after every step:
//!
//! * a block is free, idle (nobody holds it, but it has a name under which its content can be found) or held, and its
//!   reference count is the number of tables that hold it;
//! * `free + idle + held = num_blocks`, always;
//! * a table grows whole or not at all, so a failed growth leaves nothing to undo;
//! * a block with a name is full, and nobody writes to it any more.
//!
//! What is thrown out of the cache may go to a second arena on the host, and comes back from there as it was. Which blocks are
//! copied where is planned here, in order ([`BlockMove`]), and done before a step computes its rows.

mod block_hash;
mod block_move;
mod block_pool;
mod block_table;
mod check;
mod host_arena;
mod idle_list;
mod prefix_tree;
mod steps;

pub use block_hash::{BlockHash, HashChain};
pub use block_move::BlockMove;
pub use block_pool::{BlockId, BlockPool};
pub use block_table::BlockTable;
