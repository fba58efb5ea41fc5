//! What must hold of a scheduler at all times, for simulators and tests.

use super::Scheduler;

impl Scheduler {
    /// Checks every invariant that a simulator can see; the message says which one broke.
    pub fn check(&self) -> Result<(), String> {
        let all = || self.running.iter().chain(self.waiting.iter());
        self.waiting.check(&self.running)?;
        self.pool
            .check(all().flat_map(|s| s.block_table.blocks().iter().copied()))?;
        if self.running.len() > self.config.max_num_seqs {
            return Err(format!(
                "{} sequences run, {} may",
                self.running.len(),
                self.config.max_num_seqs
            ));
        }
        for plan in self.in_flight.plans() {
            if plan.num_tokens() > self.config.max_num_batched_tokens {
                return Err(format!(
                    "a step of {} tokens is over budget",
                    plan.num_tokens()
                ));
            }
            if plan.samples.len() > self.config.max_samples() {
                return Err(format!(
                    "a step draws {} tokens, {} are allowed",
                    plan.samples.len(),
                    self.config.max_samples()
                ));
            }
        }
        match all().find(|s| s.num_computed_tokens >= s.len()) {
            Some(s) => Err(format!("{:?} has nothing left to compute", s.id)),
            None => Ok(()),
        }
    }
}
