//! What must hold of a pool at all times, for simulators and tests.

use super::{BlockId, BlockPool};

impl BlockPool {
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
        self.host.check()?;
        self.tree.check()
    }
}
