//! Who waits, and who is next.
//!
//! Batch work comes after all other. Then the tenant that has been served least is next; of one tenant's requests the more
//! urgent, and of those the first to have come, after those that were promised their place. For every [`AGEING`] that it
//! waits a request rises by one class.
//!
//! "Served" counts tokens really computed, so cached prefixes cost nothing. A tenant that comes back after a pause is ahead of
//! the least served of those that are there by [`HEAD_START`] at most, so that a pause is no credit without bound. Urgency
//! counts only among one tenant's requests, so that nobody takes all by calling everything urgent. Source: Sheng et al.,
//! "Fairness in serving large language models" (virtual token counter), 2024.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::forecast::Load;
use super::{Sequence, SequenceId};
use crate::request::Priority;

/// Waiting for so long counts as much as one class.
const AGEING: Duration = Duration::from_secs(60);
/// Tokens that a tenant is ahead of the others after a pause: enough for a few requests of somebody who asks now and then.
const HEAD_START: u64 = 2048;

pub(super) const NUM_CLASSES: usize = 3;

/// Orders requests of all tenants: what comes first is the least.
pub(super) type Rank = (bool, u64, Priority);

/// One tenant's requests.
#[derive(Debug, Default)]
struct Tenant {
    /// Tokens computed for it.
    served: u64,
    num_running: usize,
    queues: [VecDeque<Sequence>; NUM_CLASSES],
    /// What the sequences of each queue bring.
    loads: [Load; NUM_CLASSES],
}

/// The queue of every tenant. See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Never shrinks: tenants are those that the server's settings name.
    tenants: Vec<Tenant>,
    indices: HashMap<Arc<str>, usize>,
    /// Of those that wait and were never given work.
    deadlines: BTreeSet<(Duration, SequenceId)>,
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

    /// Finds the tenant of a new sequence and settles what it has been served, before the sequence is queued.
    pub(super) fn enter(&mut self, sequence: &mut Sequence) {
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
    }

    /// Queues a new sequence that has [entered](Self::enter).
    pub(super) fn add(&mut self, mut sequence: Sequence) {
        if let Some(deadline) = sequence.deadline {
            self.deadlines.insert((deadline, sequence.id));
        }
        let (tenant, class) = (
            &mut self.tenants[sequence.tenant_idx],
            sequence.priority as usize,
        );
        tenant.loads[class] += sequence.load;
        let queue = &mut tenant.queues[class];
        let place = match sequence.is_promised {
            true => queue.iter().position(Sequence::yields_to_promised),
            false => None,
        };
        match place {
            Some(at) => {
                // Queues are in the order in which their sequences rise.
                sequence.waiting_since = sequence.waiting_since.min(queue[at].waiting_since);
                queue.insert(at, sequence);
            }
            None => queue.push_back(sequence),
        }
    }

    /// What comes before a new sequence that has [entered](Self::enter): of its own tenant all that is as urgent, if that was
    /// not promised less, of others what they are served until they have had as much. `promised` is what else is to come, by
    /// tenant and class.
    pub(super) fn ahead_of(
        &self,
        sequence: &Sequence,
        promised: &[[Load; NUM_CLASSES]],
        now: Duration,
    ) -> Load {
        let up_to = |index: usize, class: Priority| {
            let promised = promised.get(index).copied().unwrap_or_default();
            let promised = promised[..=class as usize].iter();
            promised.fold(self.tenants[index].load_up_to(class, now), |sum, &load| {
                sum + load
            })
        };
        let mut ahead = up_to(sequence.tenant_idx, sequence.priority);
        if sequence.is_promised {
            let (tenant, class) = (
                &self.tenants[sequence.tenant_idx],
                sequence.priority as usize,
            );
            let queue = tenant.queues[class].iter();
            let behind = queue.filter(|other| other.yields_to_promised());
            behind.for_each(|other| ahead -= other.load);
        }
        let reach = self.tenants[sequence.tenant_idx].served as f64 + ahead.num_rows;
        for (index, other) in self.tenants.iter().enumerate() {
            if index == sequence.tenant_idx {
                continue;
            }
            let mut rivals = up_to(index, Priority::Standard);
            if sequence.is_batch() {
                ahead += rivals;
                let urgent = rivals;
                rivals = up_to(index, Priority::Batch);
                rivals -= urgent;
            }
            let before = (reach - other.served as f64) / rivals.num_rows.max(1.0);
            ahead += rivals * before.clamp(0.0, 1.0);
        }
        ahead
    }

    /// Takes out the sequences whose deadlines have passed before they were given any work.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<SequenceId> {
        let mut expired = Vec::new();
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            expired.push(id);
        }
        if !expired.is_empty() {
            self.remove(|sequence| expired.contains(&sequence.id));
        }
        expired
    }

    /// Puts back a sequence that was running, before those that were not.
    pub(super) fn put_back(&mut self, mut sequence: Sequence, now: Duration) {
        sequence.waiting_since = now;
        let (tenant, class) = (
            &mut self.tenants[sequence.tenant_idx],
            sequence.priority as usize,
        );
        tenant.num_running -= 1;
        if let Some(deadline) = sequence.deadline
            && !sequence.was_scheduled()
        {
            self.deadlines.insert((deadline, sequence.id));
        }
        tenant.loads[class] += sequence.load;
        tenant.queues[class].push_front(sequence);
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
        tenant.lift_load(class, sequence.load);
        tenant.num_running += 1;
        if let Some(deadline) = sequence.deadline {
            self.deadlines.remove(&(deadline, sequence.id));
        }
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
            let tenant = &mut self.tenants[index];
            for class in 0..NUM_CLASSES {
                let mut load = Load::default();
                tenant.queues[class].retain(|sequence| {
                    let is_gone = is_gone(sequence);
                    if is_gone {
                        load += sequence.load;
                        if let Some(deadline) = sequence.deadline {
                            self.deadlines.remove(&(deadline, sequence.id));
                        }
                    }
                    !is_gone
                });
                tenant.lift_load(class, load);
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

    /// Each tenant's share of `max_num_seqs` places.
    pub(super) fn share(&self, max_num_seqs: usize) -> usize {
        let num_there = self.tenants.iter().filter(|t| t.is_there()).count();
        (max_num_seqs / num_there.max(1)).max(1)
    }

    /// Whether `running` should give way to `head`: it is batch work and the head is not, or its tenant runs more than its
    /// `share` of places while the head's runs less, and has been served more.
    pub(super) fn gives_way(
        &self,
        running: &Sequence,
        head: &Sequence,
        share: usize,
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
            for (queue, load) in tenant.queues.iter().zip(&tenant.loads) {
                if (load.num_sequences - queue.len() as f64).abs() > 1e-3 {
                    return Err(format!(
                        "tenant {index}: a load of {} sequences, {} wait",
                        load.num_sequences,
                        queue.len()
                    ));
                }
            }
        }
        let is_due = |s: &&Sequence| s.deadline.is_some() && s.num_output_tokens() == 0;
        match self.iter().filter(is_due).count() < self.deadlines.len() {
            true => Err(format!(
                "{} deadlines of sequences that do not wait",
                self.deadlines.len()
            )),
            false => Ok(()),
        }
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

    /// What is as urgent as `class`, or has waited until it is.
    fn load_up_to(&self, class: Priority, now: Duration) -> Load {
        let queues = self.queues.iter().zip(&self.loads).enumerate();
        queues.fold(Load::default(), |sum, (own, (queue, &load))| {
            if own <= class as usize {
                return sum + load;
            }
            // Those that were there first have waited longest.
            let num_risen = queue.partition_point(|sequence| sequence.class_at(now) <= class);
            sum + load * (num_risen as f64 / queue.len().max(1) as f64)
        })
    }

    /// Takes away what a queue's sequences brought that have left it.
    fn lift_load(&mut self, class: usize, load: Load) {
        match self.queues[class].is_empty() {
            // Exactly nothing, whatever rounding has left.
            true => self.loads[class] = Load::default(),
            false => self.loads[class] -= load,
        }
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

    /// Whether those come before it that were promised their place: it was not, and has not run.
    fn yields_to_promised(&self) -> bool {
        !self.is_promised && !self.was_scheduled()
    }

    /// Its class, raised by what it has waited.
    fn class_at(&self, now: Duration) -> Priority {
        let waited = now.saturating_sub(self.waiting_since);
        let steps = waited.as_secs() / AGEING.as_secs();
        self.priority.raised(steps.min(NUM_CLASSES as u64) as usize)
    }
}
