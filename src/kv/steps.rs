//! What a pool hears of steps: when one is planned, done, or has failed.

use super::{BlockMove, BlockPool};

impl BlockPool {
    /// A step is going to be planned. It runs after those in flight, of which there is one at most: for its rows and moves, what those
    /// bring about is there.
    pub fn step_begins(&mut self) {
        self.in_flight.clear();
        self.in_flight.append(&mut self.fresh);
        for &block in &self.in_flight {
            self.tree.mark_written(block);
        }
    }

    /// Appends what the planned step has to do first, in this order, to `moves`.
    pub fn take_moves(&mut self, moves: &mut Vec<BlockMove>) {
        moves.append(&mut self.moves);
    }

    /// The oldest step in flight is done, and what it was to bring about is there; `was_last` if no other is in flight.
    pub fn step_done(&mut self, was_last: bool) {
        self.in_flight.clear();
        if was_last {
            self.step_begins();
            self.in_flight.clear();
        }
    }

    /// A step failed, and with it those behind it, which have `moves`: nobody knows what is in the blocks and slots that they were to
    /// fill.
    pub fn steps_failed<'a>(&mut self, moves: impl Iterator<Item = &'a BlockMove>) {
        let mut blocks = std::mem::take(&mut self.fresh);
        blocks.append(&mut self.in_flight);
        for block in blocks {
            self.forget(block);
        }
        for block_move in moves {
            if let BlockMove::Save { slot, .. } = block_move {
                self.host.forget(*slot);
            }
        }
    }
}
