//! Who waits, and who is next.
//!
//! Batch work comes after all other. Then the tenant that has been served least is next; of one tenant's requests the more
//! urgent, and of those the first to have come. For every [`AGEING`] that it waits a request rises by one class.
//!
//! "Served" counts tokens really computed, so cached prefixes cost nothing. A tenant that comes back after a pause is ahead of
//! the least served of those that are there by [`HEAD_START`] at most, so that a pause is no credit without bound. Urgency
//! counts only among one tenant's requests, so that nobody takes all by calling everything urgent. Source: Sheng et al.,
//! "Fairness in serving large language models" (virtual token counter), 2024.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Sequence;
use crate::request::Priority;

/// Waiting for so long counts as much as one class.
const AGEING: Duration = Duration::from_secs(60);
/// Tokens that a tenant is ahead of the others after a pause: enough for a few requests of somebody who asks now and then.
const HEAD_START: u64 = 2048;

const NUM_CLASSES: usize = 3;

/// Orders requests of all tenants: what comes first is the least.
pub(super) type Rank = (bool, u64, Priority);

/// One tenant's requests.
#[derive(Debug, Default)]
struct Tenant {
    /// Tokens computed for it.
    served: u64,
    num_running: usize,
    queues: [VecDeque<Sequence>; NUM_CLASSES],
}

/// The queue of every tenant. See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Never shrinks: tenants are those that the server's settings name.
    tenants: Vec<Tenant>,
    indices: HashMap<Arc<str>, usize>,
    /// What the last tenant had been served when it left and nobody was there any more.
    floor: u64,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.tenants.iter().map(Tenant::num_waiting).sum()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sequence> {
        let queues = self.tenants.iter().flat_map(|tenant| &tenant.queues);
        queues.flatten()
    }

    /// Queues a new sequence.
    pub(super) fn add(&mut self, mut sequence: Sequence) {
        let next = self.tenants.len();
        let index = *self.indices.entry(sequence.tenant.clone()).or_insert(next);
        if index == next {
            self.tenants.push(Tenant::default());
        }
        if self.tenants[index].num_waiting() == 0 {
            let open = self.tenants.iter().filter(|tenant| tenant.is_there());
            let least = open.map(|tenant| tenant.served).min().unwrap_or(0);
            let least = least.max(self.floor);
            let served = &mut self.tenants[index].served;
            *served = least.saturating_sub(HEAD_START).max(*served);
        }
        sequence.tenant_idx = index;
        let queues = &mut self.tenants[index].queues;
        queues[sequence.priority as usize].push_back(sequence);
    }

    /// Puts back a sequence that was running, before those that were not.
    pub(super) fn put_back(&mut self, mut sequence: Sequence, now: Duration) {
        sequence.waiting_since = now;
        let tenant = &mut self.tenants[sequence.tenant_idx];
        tenant.num_running -= 1;
        tenant.queues[sequence.priority as usize].push_front(sequence);
    }

    /// The queue whose head is next: its tenant and class.
    fn next(&self, now: Duration) -> Option<(usize, usize)> {
        let heads = self.tenants.iter().enumerate().flat_map(|(index, tenant)| {
            let heads = tenant.queues.iter().enumerate();
            heads.filter_map(move |(class, queue)| {
                let head = queue.front()?;
                let rank = tenant.rank(head.class_at(now));
                Some(((rank, head.arrival(), head.id), (index, class)))
            })
        });
        heads.min().map(|(_, place)| place)
    }

    /// The sequence that is next.
    pub(super) fn head(&self, now: Duration) -> Option<&Sequence> {
        let (index, class) = self.next(now)?;
        self.tenants[index].queues[class].front()
    }

    /// The sequence that is next, to be given blocks.
    pub(super) fn head_mut(&mut self, now: Duration) -> Option<&mut Sequence> {
        let (index, class) = self.next(now)?;
        self.tenants[index].queues[class].front_mut()
    }

    /// Takes out the sequence that is next, to run: from now on in the class that waiting has raised it to.
    pub(super) fn admit(&mut self, now: Duration) -> Option<Sequence> {
        let (index, class) = self.next(now)?;
        let tenant = &mut self.tenants[index];
        let mut sequence = tenant.queues[class].pop_front()?;
        tenant.num_running += 1;
        sequence.priority = sequence.class_at(now);
        sequence.waiting_since = now;
        Some(sequence)
    }

    /// A running sequence is over.
    pub(super) fn end(&mut self, sequence: &Sequence) {
        self.tenants[sequence.tenant_idx].num_running -= 1;
        self.note_left(sequence.tenant_idx);
    }

    fn note_left(&mut self, index: usize) {
        if !self.tenants.iter().any(Tenant::is_there) {
            self.floor = self.floor.max(self.tenants[index].served);
        }
    }

    /// Takes out every waiting sequence for which `is_gone` holds.
    pub(super) fn remove(&mut self, mut is_gone: impl FnMut(&Sequence) -> bool) {
        for index in 0..self.tenants.len() {
            for queue in &mut self.tenants[index].queues {
                queue.retain(|sequence| !is_gone(sequence));
            }
            self.note_left(index);
        }
    }

    /// The rank of a sequence that runs; it rises while it gets nothing.
    pub(super) fn rank(&self, running: &Sequence, now: Duration) -> Rank {
        self.tenants[running.tenant_idx].rank(running.class_at(now))
    }

    /// The rank of the sequence that is next.
    pub(super) fn head_rank(&self, now: Duration) -> Option<Rank> {
        let head = self.head(now)?;
        Some(self.tenants[head.tenant_idx].rank(head.class_at(now)))
    }

    /// Tokens are computed for a sequence.
    pub(super) fn charge(&mut self, sequence: &Sequence, num_tokens: usize) {
        self.tenants[sequence.tenant_idx].served += num_tokens as u64;
    }

    /// Whether `running` should give way to `head`: it is batch work and the head is not, or its tenant runs more than its
    /// share of `max_num_seqs` while the head's runs less, and has been served more.
    pub(super) fn gives_way(
        &self,
        running: &Sequence,
        head: &Sequence,
        max_num_seqs: usize,
        now: Duration,
    ) -> bool {
        match (running.is_batch(), head.class_at(now) == Priority::Batch) {
            (true, false) => return true,
            (false, true) => return false,
            _ => {}
        }
        let (theirs, ours) = (
            &self.tenants[running.tenant_idx],
            &self.tenants[head.tenant_idx],
        );
        let num_there = self.tenants.iter().filter(|t| t.is_there()).count();
        let share = (max_num_seqs / num_there.max(1)).max(1);
        theirs.num_running > share && ours.num_running < share && theirs.served > ours.served
    }

    /// Checks the counts against the sequences that run.
    pub(super) fn check(&self, running: &[Sequence]) -> Result<(), String> {
        for (index, tenant) in self.tenants.iter().enumerate() {
            let num_running = running.iter().filter(|s| s.tenant_idx == index).count();
            if tenant.num_running != num_running {
                return Err(format!(
                    "tenant {index}: {} sequences are counted, {num_running} run",
                    tenant.num_running
                ));
            }
        }
        Ok(())
    }
}

impl Tenant {
    fn num_waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// Whether anything of it waits or runs.
    fn is_there(&self) -> bool {
        self.num_running > 0 || self.num_waiting() > 0
    }

    fn rank(&self, class: Priority) -> Rank {
        (class == Priority::Batch, self.served, class)
    }
}

impl Sequence {
    /// Whether it comes after all others.
    pub(super) fn is_batch(&self) -> bool {
        self.priority == Priority::Batch
    }

    /// Its class, raised by what it has waited.
    fn class_at(&self, now: Duration) -> Priority {
        let waited = now.saturating_sub(self.waiting_since);
        let steps = (waited.as_nanos() / AGEING.as_nanos()).min(NUM_CLASSES as u128);
        self.priority.raised(steps as usize)
    }
}
