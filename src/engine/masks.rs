//! Threads that compute the masks of constrained sequences while the engine's thread runs the forward pass.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use crate::constraint::{Constraint, ConstraintError, MaskSlot, TokenMask};

/// A sequence's rule and where its masks appear. There is at most one job for it at a time, since the next token is drawn
/// only after its mask is there.
#[derive(Clone, Debug)]
pub(super) struct Constrained {
    pub slot: Arc<MaskSlot>,
    rule: Arc<Mutex<Box<dyn Constraint>>>,
}

impl Constrained {
    pub fn new(rule: Box<dyn Constraint>, slot: Arc<MaskSlot>) -> Self {
        Self {
            slot,
            rule: Arc::new(Mutex::new(rule)),
        }
    }

    /// The mask that holds once `drawn` is taken in.
    fn next(&self, drawn: Option<u32>) -> Result<TokenMask, ConstraintError> {
        let step = || {
            let mut rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(token_id) = drawn {
                rule.accept(token_id)?;
            }
            rule.mask()
        };
        catch_unwind(AssertUnwindSafe(step))
            .unwrap_or_else(|_| Err(ConstraintError::Failed("it panicked".into())))
    }
}

struct Job {
    /// Taken once its slot is filled: from then on the slot may be waited on for another mask.
    constrained: Option<Constrained>,
    drawn: Option<u32>,
}

impl Job {
    fn run(&mut self) {
        let mask = (self.constrained.as_ref()).map(|constrained| constrained.next(self.drawn));
        if let Some((constrained, mask)) = self.constrained.take().zip(mask) {
            constrained.slot.fill(mask);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(constrained) = &self.constrained {
            (constrained.slot).fill(Err(ConstraintError::Failed(
                "nobody computed the mask".into(),
            )));
        }
    }
}

/// The threads; they end when it is dropped.
pub(super) struct MaskThreads {
    jobs: mpsc::Sender<Job>,
}

impl MaskThreads {
    /// One thread, and another for every four cores, since a mask takes some ten microseconds and a step milliseconds.
    pub fn spawn() -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        let num_cores = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..=num_cores / 4 {
            let queue = Arc::clone(&queue);
            let work = move || {
                loop {
                    let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(mut job) = job else {
                        return;
                    };
                    job.run();
                }
            };
            std::thread::Builder::new()
                .name("masks".into())
                .spawn(work)?;
        }
        Ok(Self { jobs })
    }

    /// Has the mask computed that holds once `drawn` is taken in; the slot is empty until then.
    pub fn compute(&self, constrained: &Constrained, drawn: Option<u32>) {
        constrained.slot.clear();
        let job = Job {
            constrained: Some(constrained.clone()),
            drawn,
        };
        // One that cannot be sent is dropped, which fills the slot.
        let _ = self.jobs.send(job);
    }
}
