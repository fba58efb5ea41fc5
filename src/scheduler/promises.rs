//! When requests that were refused may come again.

use std::time::Duration;

use super::Sequence;
use super::forecast::Load;
use super::waiting::NUM_CLASSES;
use crate::kv::BlockHash;

/// How much later than promised a request may come back.
const GRACE: Duration = Duration::from_secs(3);
/// How much earlier, for clients may round and clocks differ.
const EARLY: Duration = Duration::from_millis(500);
/// Who is not back so long after the promised time is not waited for.
const SOON: Duration = Duration::from_millis(500);
/// Promises that the return rate is told from, and as how many the guess counts that all come back.
const MEMORY: f64 = 32.0;
const PRIOR: f64 = 4.0;
/// Promises kept for each tenant.
const MAX_PER_TENANT: usize = 4096;

/// A request that may come back.
#[derive(Debug)]
struct Promise {
    key: BlockHash,
    class: usize,
    due: Duration,
    load: Load,
}

/// One tenant's promises.
#[derive(Debug)]
struct Tenant {
    promises: Vec<Promise>,
    /// The part of them that somebody came back for, of late.
    return_rate: f64,
    /// How many that is told from, with the guess it starts from.
    num_ended: f64,
}

/// What is promised to whom. A promise belongs to a prompt: who brings the same one back at its time comes before all of its
/// tenant and class that wait.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// By the tenant's index in the queue.
    tenants: Vec<Tenant>,
}

impl Promises {
    fn tenant(&mut self, sequence: &Sequence) -> &mut Tenant {
        let new = || Tenant {
            promises: Vec::new(),
            return_rate: 1.0,
            num_ended: PRIOR,
        };
        let len = self.tenants.len().max(sequence.tenant_idx + 1);
        self.tenants.resize_with(len, new);
        &mut self.tenants[sequence.tenant_idx]
    }

    /// Whether this is the time that the prompt of this name was promised.
    pub fn is_due(&mut self, sequence: &Sequence, key: BlockHash, now: Duration) -> bool {
        let tenant = self.tenant(sequence);
        tenant.lapse(now);
        let mut promises = tenant.promises.iter();
        promises.any(|promise| promise.key == key && promise.due <= now + EARLY)
    }

    /// Somebody came back: for the promised place, or for one that was free before.
    pub fn redeem(&mut self, sequence: &Sequence, key: BlockHash) {
        let tenant = self.tenant(sequence);
        if let Some(i) = tenant
            .promises
            .iter()
            .position(|promise| promise.key == key)
        {
            tenant.promises.swap_remove(i);
            tenant.note_return(1.0);
        }
    }

    /// What is promised to others and due until then, as far as it may well come: by tenant and class.
    pub fn until(
        &self,
        until: Duration,
        except: BlockHash,
        now: Duration,
    ) -> Vec<[Load; NUM_CLASSES]> {
        let loads = self.tenants.iter().map(|tenant| {
            let mut loads = [Load::default(); NUM_CLASSES];
            for promise in &tenant.promises {
                if promise.due <= until && promise.is_awaited(now) && promise.key != except {
                    loads[promise.class] += promise.load;
                }
            }
            loads.map(|load| load * tenant.most_to_return(load.num_sequences))
        });
        loads.collect()
    }

    /// Whether somebody is still waited for.
    pub fn are_awaited(&self, now: Duration) -> bool {
        let mut all = self.tenants.iter().flat_map(|tenant| &tenant.promises);
        all.any(|promise| promise.is_awaited(now))
    }

    /// Promises a time, and says in how many whole seconds the client is awaited: who asks again and again, or asks the same as
    /// another, hears of the same time.
    pub fn promise(
        &mut self,
        sequence: &Sequence,
        key: BlockHash,
        due: Duration,
        now: Duration,
    ) -> Duration {
        let tenant = self.tenant(sequence);
        let known = tenant
            .promises
            .iter_mut()
            .find(|promise| promise.key == key);
        if let Some(promise) = known {
            return retry_after(promise.due, now);
        }
        if tenant.promises.len() < MAX_PER_TENANT {
            tenant.promises.push(Promise {
                key,
                class: sequence.priority as usize,
                due,
                load: sequence.load,
            });
        }
        retry_after(due, now)
    }
}

/// Rounded up from the first moment that is early enough, so that nobody comes later than [`SOON`] after the promised one.
fn retry_after(due: Duration, now: Duration) -> Duration {
    let left = due.saturating_sub(now).saturating_sub(EARLY);
    Duration::from_secs_f64(left.as_secs_f64().ceil().max(1.0))
}

impl Promise {
    fn is_awaited(&self, now: Duration) -> bool {
        now <= self.due + SOON
    }
}

impl Tenant {
    fn lapse(&mut self, now: Duration) {
        let before = self.promises.len();
        self.promises.retain(|promise| promise.due + GRACE >= now);
        for _ in self.promises.len()..before {
            self.note_return(0.0);
        }
    }

    /// The part that comes back of so many who may: the expectation and two standard deviations.
    fn most_to_return(&self, num: f64) -> f64 {
        let rate = self.return_rate;
        (rate + 2.0 * (rate * (1.0 - rate) / num.max(1.0)).sqrt()).min(1.0)
    }

    fn note_return(&mut self, came: f64) {
        self.num_ended = (self.num_ended + 1.0).min(MEMORY);
        self.return_rate += (came - self.return_rate) / self.num_ended;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::GenerateRequest;
    use crate::scheduler::SequenceId;

    const SECOND: Duration = Duration::from_secs(1);

    /// A sequence of one token, and the name of its prompt.
    fn sequence(token: u32) -> (Sequence, BlockHash) {
        let request = GenerateRequest::greedy(vec![token], 1);
        let mut sequence = Sequence::new(SequenceId(token.into()), request, Duration::ZERO, 16);
        sequence.load = Load::of(&sequence, 0, 1);
        let key = sequence.prompt_hash(16);
        (sequence, key)
    }

    fn num_expected(promises: &Promises, now: Duration) -> f64 {
        let nobody = sequence(u32::MAX).1;
        let loads = promises.until(now + SECOND, nobody, now);
        loads.iter().flatten().map(|load| load.num_sequences).sum()
    }

    #[test]
    fn who_is_late_is_not_waited_for_and_is_taken_all_the_same() {
        let mut promises = Promises::default();
        let (sequence, key) = sequence(1);
        let asked = Duration::from_millis(300);
        assert_eq!(
            promises.promise(&sequence, key, 10 * SECOND, asked),
            10 * SECOND
        );
        // Asked again, it hears of the same time and does not come later than it is awaited.
        let again = Duration::from_millis(4200);
        assert_eq!(
            promises.promise(&sequence, key, 99 * SECOND, again),
            6 * SECOND
        );
        assert!(!promises.is_due(&sequence, key, 9 * SECOND));
        for (millis, expected) in [(8900, 0.0), (9100, 1.0), (10_400, 1.0), (10_600, 0.0)] {
            let now = Duration::from_millis(millis);
            assert_eq!(num_expected(&promises, now), expected, "at {now:?}");
        }
        assert!(promises.is_due(&sequence, key, 12 * SECOND));
        assert!(!promises.is_due(&sequence, key, 14 * SECOND));
    }

    #[test]
    fn as_many_are_expected_as_come_back_and_some_more() {
        let mut promises = Promises::default();
        let promise_all = |promises: &mut Promises, num: u32, due| {
            for (sequence, key) in (0..num).map(sequence) {
                promises.promise(&sequence, key, due, Duration::ZERO);
            }
        };
        promise_all(&mut promises, 100, SECOND);
        assert_eq!(num_expected(&promises, SECOND), 100.0);
        let (first, key) = sequence(0);
        for round in 1..=50 {
            let due = 10 * round * SECOND;
            promises.is_due(&first, key, due);
            promise_all(&mut promises, 4, due);
            promises.redeem(&first, key);
        }
        promises.is_due(&first, key, 600 * SECOND);
        // One of four came.
        promise_all(&mut promises, 100, 600 * SECOND);
        let expected = num_expected(&promises, 600 * SECOND);
        assert!((25.0..45.0).contains(&expected), "{expected}");
    }
}
