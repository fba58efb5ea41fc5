//! Answers that were given before, by exactly what was asked: within a tenant, up to so many bytes, for so long.

use std::collections::{BTreeMap, HashMap};
use std::mem::size_of;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a request asks, as far as it makes a difference to the answer. Two that differ cannot be found on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AskedKey(pub [u8; 32]);

/// A choice of an answer, which ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenChoice {
    /// All tokens that the model drew.
    pub tokens: Vec<u32>,
    /// Whether the last one is a token that ends answers; else a text ended it.
    pub has_end: bool,
}

/// An answer to prompts.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// A digest of the prompts' tokens. They may differ where requests are the same: a template may say what day it is.
    pub prompts: [u8; 32],
    /// The choices of each, one prompt after the other.
    pub choices: Vec<GivenChoice>,
}

/// All answers.
#[derive(Debug)]
pub struct Answers {
    tenants: HashMap<Arc<str>, HashMap<AskedKey, Entry>>,
    /// By when each was last asked for, the one that is forgotten first at the beginning.
    order: BTreeMap<u64, (Arc<str>, AskedKey)>,
    /// The last place in `order` that was given away.
    newest: u64,
    num_bytes: usize,
    max_bytes: usize,
    max_age: Duration,
    era: u64,
}

#[derive(Debug)]
struct Entry {
    answer: Arc<Answer>,
    given: Instant,
    place: u64,
}

/// The answers to one tenant; there is no way to those of all.
#[derive(Debug)]
pub struct Partition<'a> {
    answers: &'a mut Answers,
    tenant: &'a str,
}

/// What an entry takes beside its tokens: itself, its key twice, and what maps need.
const ENTRY_BYTES: usize = 4 * size_of::<(AskedKey, Entry)>() + size_of::<Answer>();

impl Answers {
    /// None yet, of at most `max_bytes` together; older ones than `max_age` count for nothing.
    pub fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            tenants: HashMap::new(),
            order: BTreeMap::new(),
            newest: 0,
            num_bytes: 0,
            max_bytes,
            max_age,
            era: 0,
        }
    }

    /// Those of this tenant.
    pub fn of<'a>(&'a mut self, tenant: &'a str) -> Partition<'a> {
        Partition {
            answers: self,
            tenant,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Bytes that they take.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// How often all were forgotten.
    pub fn era(&self) -> u64 {
        self.era
    }

    /// Forgets all, and says how many those were.
    pub fn clear(&mut self) -> usize {
        let len = self.len();
        self.era += 1;
        (self.tenants, self.order, self.num_bytes) = Default::default();
        len
    }

    fn remove(&mut self, tenant: &str, key: AskedKey) {
        let Some(own) = self.tenants.get_mut(tenant) else {
            return;
        };
        if let Some(entry) = own.remove(&key) {
            self.num_bytes -= num_bytes(&entry.answer);
            self.order.remove(&entry.place);
        }
        if own.is_empty() {
            self.tenants.remove(tenant);
        } else if own.len() < own.capacity() / 4 {
            own.shrink_to(2 * own.len());
        }
    }
}

impl Partition<'_> {
    /// The answer to this, where one was given that is not too old.
    pub fn find(&mut self, key: AskedKey, now: Instant) -> Option<Arc<Answer>> {
        let answers = &mut *self.answers;
        let entry = answers.tenants.get_mut(self.tenant)?.get_mut(&key)?;
        if now.saturating_duration_since(entry.given) > answers.max_age {
            answers.remove(self.tenant, key);
            return None;
        }
        answers.newest += 1;
        let whose = answers.order.remove(&entry.place)?;
        entry.place = answers.newest;
        answers.order.insert(entry.place, whose);
        Some(Arc::clone(&entry.answer))
    }

    /// Whether there may be an answer to this.
    pub fn has(&self, key: AskedKey) -> bool {
        let own = self.answers.tenants.get(self.tenant);
        own.is_some_and(|own| own.contains_key(&key))
    }

    /// Keeps an answer, in the place of those that were not asked for the longest; one that is larger than all may be is not kept.
    pub fn keep(&mut self, key: AskedKey, answer: Answer, now: Instant) {
        let answers = &mut *self.answers;
        answers.remove(self.tenant, key);
        let num_new = num_bytes(&answer);
        if num_new > answers.max_bytes {
            return;
        }
        while answers.num_bytes + num_new > answers.max_bytes {
            let Some((_, (tenant, key))) = answers.order.pop_first() else {
                break;
            };
            answers.remove(&tenant, key);
        }
        answers.newest += 1;
        let known = answers.tenants.get_key_value(self.tenant);
        let tenant = known.map_or_else(|| self.tenant.into(), |(name, _)| Arc::clone(name));
        let entry = Entry {
            answer: Arc::new(answer),
            given: now,
            place: answers.newest,
        };
        answers.num_bytes += num_new;
        (answers.order).insert(answers.newest, (Arc::clone(&tenant), key));
        let own = answers.tenants.entry(tenant).or_default();
        own.insert(key, entry);
    }
}

fn num_bytes(answer: &Answer) -> usize {
    let tokens = answer
        .choices
        .iter()
        .map(|choice| size_of_val(&choice.tokens[..]));
    ENTRY_BYTES + tokens.sum::<usize>() + size_of_val(&answer.choices[..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE: Duration = Duration::from_secs(100);

    fn answer(len: usize) -> Answer {
        Answer {
            prompts: [0; 32],
            choices: vec![GivenChoice {
                tokens: vec![7; len],
                has_end: true,
            }],
        }
    }

    fn key(n: u8) -> AskedKey {
        AskedKey([n; 32])
    }

    #[test]
    fn an_answer_is_found_by_its_tenant_alone_and_for_so_long() {
        let mut answers = Answers::new(1 << 20, AGE);
        let now = Instant::now();
        answers.of("a").keep(key(1), answer(2), now);
        assert!(answers.of("b").find(key(1), now).is_none());
        assert!(answers.of("a").find(key(2), now).is_none());
        let found = answers.of("a").find(key(1), now + AGE).unwrap();
        assert_eq!(*found, answer(2));
        let late = now + AGE + Duration::from_millis(1);
        assert!(answers.of("a").find(key(1), late).is_none());
        assert_eq!((answers.len(), answers.num_bytes()), (0, 0));
    }

    #[test]
    fn what_was_asked_for_lately_stays_when_there_is_no_room() {
        let now = Instant::now();
        let mut answers = Answers::new(2 * num_bytes(&answer(8)), AGE);
        for n in [1, 2] {
            answers.of("a").keep(key(n), answer(8), now);
        }
        assert!(answers.of("a").find(key(1), now).is_some());
        answers.of("b").keep(key(3), answer(8), now);
        let is_there =
            |answers: &mut Answers, tenant: &str, n| answers.of(tenant).find(key(n), now).is_some();
        assert!(is_there(&mut answers, "a", 1) && is_there(&mut answers, "b", 3));
        assert!(!is_there(&mut answers, "a", 2));
        // One that is too large takes nobody's place.
        answers.of("b").keep(key(4), answer(4096), now);
        assert_eq!(answers.len(), 2);
    }

    proptest! {
        #[test]
        fn bytes_are_bounded_and_counted_and_what_is_found_is_what_was_kept_last(
            acts in prop::collection::vec((0..3usize, 0..8u8, 0..40usize, any::<bool>()), 0..200)
        ) {
            let now = Instant::now();
            let max = 4000;
            let mut answers = Answers::new(max, AGE);
            let mut kept: HashMap<(usize, u8), usize> = HashMap::new();
            for (tenant, n, len, keeps) in acts {
                let name = ["a", "b", "c"][tenant];
                if keeps {
                    answers.of(name).keep(key(n), answer(len), now);
                    kept.insert((tenant, n), len);
                } else if let Some(found) = answers.of(name).find(key(n), now) {
                    prop_assert_eq!(Some(&found.choices[0].tokens.len()), kept.get(&(tenant, n)));
                }
                prop_assert!(answers.num_bytes() <= max);
                let entries = answers.tenants.values().flat_map(HashMap::values);
                let bytes: usize = entries.map(|entry| num_bytes(&entry.answer)).sum();
                prop_assert_eq!(answers.num_bytes(), bytes);
                let num: usize = answers.tenants.values().map(HashMap::len).sum();
                prop_assert_eq!(answers.len(), num);
            }
            let num = answers.len();
            prop_assert_eq!(answers.clear(), num);
            prop_assert!(answers.is_empty() && answers.num_bytes() == 0);
        }
    }
}
