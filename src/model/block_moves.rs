//! What happens to blocks before a step computes its rows. On a card, blocks come from the host and go there beside the step before, as
//! far as that has nothing to do with them.

use std::cell::RefCell;

use candle_core::{Result, bail};

use super::Limits;
use crate::backend::Device;
use crate::backend::cuda::Beside;
use crate::ops::{HostBlocks, KvCache};
use crate::scheduler::{BlockMove, StepPlan};

/// Moves a step's blocks.
pub(super) struct BlockMover {
    /// A card's copies; first, so that they are done before the memory goes that they are to or from.
    beside: Option<RefCell<CopiesBeside>>,
    /// Where blocks go that are thrown out of the cache: one a layer, or none.
    host: Vec<HostBlocks>,
}

struct CopiesBeside {
    stream: Beside,
    /// What the step launched last touches.
    last: Touched,
}

/// The blocks and slots that a step has to do with.
struct Touched {
    blocks: Vec<u32>,
    slots: Vec<u32>,
    /// Of each block whether it is one of them; false while nobody asks.
    has_block: Vec<bool>,
}

impl BlockMover {
    pub(super) fn new(caches: &[KvCache], limits: &Limits, device: &Device) -> Result<Self> {
        let caches = caches.iter().filter(|_| limits.num_host_blocks > 0);
        let host = caches.map(|cache| HostBlocks::new(cache, limits.num_host_blocks));
        let host = host.collect::<Result<Vec<_>>>()?;
        let beside = match device {
            Device::Cuda(cuda) if !host.is_empty() => Some(RefCell::new(CopiesBeside {
                stream: Beside::new(cuda)?,
                last: Touched {
                    blocks: Vec::new(),
                    slots: Vec::new(),
                    has_block: vec![false; limits.num_blocks],
                },
            })),
            _ => None,
        };
        Ok(Self { beside, host })
    }

    /// Moves the plan's blocks in all layers' caches, in order.
    pub(super) fn run(&self, plan: &StepPlan, caches: &[KvCache]) -> Result<()> {
        let moves = &plan.block_moves[..];
        let Some(beside) = &self.beside else {
            return self.move_blocks(moves, caches, None);
        };
        let mut beside = beside.borrow_mut();
        beside.stream.mark()?;
        let num_apart = beside.last.num_apart(moves);
        // Whatever becomes of it.
        beside.last.fill(plan);
        let (apart, rest) = moves.split_at(num_apart);
        if !apart.is_empty() {
            beside.stream.begin()?;
            let moved = self.move_blocks(apart, caches, Some(&beside.stream));
            // Those before one that failed, too.
            beside.stream.join()?;
            moved?;
        }
        self.move_blocks(rest, caches, None)
    }

    fn move_blocks(
        &self,
        moves: &[BlockMove],
        caches: &[KvCache],
        beside: Option<&Beside>,
    ) -> Result<()> {
        for &block_move in moves {
            for (i, cache) in caches.iter().enumerate() {
                let host = || match self.host.get(i) {
                    Some(host) => Ok(host),
                    None => bail!("{block_move:?}: there is no host arena"),
                };
                match block_move {
                    BlockMove::Copy { from, to } => cache.copy_block(from.0, to.0)?,
                    BlockMove::Save { block, slot } => {
                        host()?.save(cache, block.0, slot.0, beside)?;
                    }
                    BlockMove::Load { slot, block } => {
                        host()?.load(slot.0, cache, block.0, beside)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Touched {
    /// How many of the first moves of the step behind may be done while this step runs: they are to the host or back, and it touches
    /// neither their blocks nor their slots. Those before it are done by then.
    fn num_apart(&mut self, moves: &[BlockMove]) -> usize {
        if moves.is_empty() {
            return 0;
        }
        for &block in &self.blocks {
            self.has_block[block as usize] = true;
        }
        let is_apart = |block_move: &&BlockMove| match block_move {
            BlockMove::Copy { .. } => false,
            BlockMove::Save { block, slot } | BlockMove::Load { slot, block } => {
                !self.has_block[block.0 as usize] && !self.slots.contains(&slot.0)
            }
        };
        let num_apart = moves.iter().take_while(is_apart).count();
        for &block in &self.blocks {
            self.has_block[block as usize] = false;
        }
        num_apart
    }

    fn fill(&mut self, plan: &StepPlan) {
        self.blocks.clone_from(&plan.block_tables);
        self.slots.clear();
        for block_move in &plan.block_moves {
            match *block_move {
                BlockMove::Copy { from, to } => self.blocks.extend([from.0, to.0]),
                BlockMove::Save { block, slot } | BlockMove::Load { slot, block } => {
                    self.blocks.push(block.0);
                    self.slots.push(slot.0);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::BlockId;

    #[test]
    fn moves_are_done_beside_a_step_up_to_the_first_that_has_to_do_with_it() {
        let mut touched = Touched {
            blocks: Vec::new(),
            slots: Vec::new(),
            has_block: vec![false; 10],
        };
        let save = |block, slot| BlockMove::Save {
            block: BlockId(block),
            slot: BlockId(slot),
        };
        let load = |slot, block| BlockMove::Load {
            slot: BlockId(slot),
            block: BlockId(block),
        };
        let copy = |from, to| BlockMove::Copy {
            from: BlockId(from),
            to: BlockId(to),
        };
        let mut plan = StepPlan::default();
        plan.block_tables.extend([1, 2]);
        plan.block_moves.extend([copy(3, 4), save(5, 0)]);
        touched.fill(&plan);
        for (moves, num_apart) in [
            (vec![], 0),
            (vec![save(6, 1), load(2, 6), load(3, 7)], 3),
            (vec![load(1, 6), load(2, 1), load(3, 7)], 1),
            (vec![load(1, 4)], 0),
            (vec![save(3, 1)], 0),
            (vec![save(5, 1)], 0),
            (vec![load(0, 6)], 0),
            (vec![load(1, 6), copy(7, 8), load(2, 9)], 1),
        ] {
            assert_eq!(touched.num_apart(&moves), num_apart, "{moves:?}");
        }
        // What a step before that one had to do with is nobody's any more.
        touched.fill(&StepPlan::default());
        assert_eq!(touched.num_apart(&[load(0, 1), save(5, 1)]), 2);
    }
}
