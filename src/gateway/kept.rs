//! Things that are kept in memory by what they are found by: within a tenant, up to so many bytes, for so long. Where there is no room, the tenant
//! gives way that takes the most, so that nobody pushes out what others have.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::mem::size_of;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What can be kept.
pub trait Keepable {
    /// What it takes beside itself.
    fn num_bytes(&self) -> usize;
}

/// All of them.
#[derive(Debug)]
pub struct Kept<K, V> {
    tenants: HashMap<Arc<str>, Own<K, V>>,
    /// The last place in any order that was given away.
    newest: u64,
    len: usize,
    num_bytes: usize,
    max_bytes: usize,
    max_age: Duration,
    era: u64,
    /// How often answers of one tenant were chosen to be forgotten.
    purges: HashMap<Arc<str>, u64>,
}

/// Those of one tenant.
#[derive(Debug)]
struct Own<K, V> {
    entries: HashMap<K, Entry<V>>,
    /// By when each was last asked for, the one that is forgotten first at the beginning.
    order: BTreeMap<u64, K>,
    num_bytes: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    since: Instant,
    place: u64,
}

/// Those of one tenant; there is no way to find those of all.
#[derive(Debug)]
pub struct Partition<'a, K, V> {
    kept: &'a mut Kept<K, V>,
    tenant: &'a str,
}

impl<K: Copy + Eq + Hash, V: Keepable> Kept<K, V> {
    /// None yet, of at most `max_bytes` together; older ones than `max_age` count for nothing.
    pub fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self {
            tenants: HashMap::new(),
            newest: 0,
            len: 0,
            num_bytes: 0,
            max_bytes,
            max_age,
            era: 0,
            purges: HashMap::new(),
        }
    }

    /// Those of this tenant.
    pub fn of<'a>(&'a mut self, tenant: &'a str) -> Partition<'a, K, V> {
        Partition { kept: self, tenant }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that they take.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// Grows whenever something of this tenant was forgotten because somebody said so: what was on its way then is not to be kept.
    pub fn era(&self, tenant: &str) -> u64 {
        self.era + self.purges.get(tenant).copied().unwrap_or_default()
    }

    /// Forgets all, and says how many those were.
    pub fn clear(&mut self) -> usize {
        let len = self.len();
        self.era += 1;
        (self.tenants, self.len, self.num_bytes) = Default::default();
        len
    }

    /// Begins another era of `tenant`, or of all: what is on its way is not to be kept.
    pub fn begin_era(&mut self, tenant: Option<&str>) {
        match tenant {
            Some(tenant) => *self.purges.entry(tenant.into()).or_default() += 1,
            None => self.era += 1,
        }
    }

    /// Forgets those of `tenant`, or of all, of which `is_chosen` says so, and gives them.
    pub fn remove_where(
        &mut self,
        tenant: Option<&str>,
        is_chosen: impl Fn(&str, &V) -> bool,
    ) -> Vec<(Arc<str>, Arc<V>)> {
        let of_tenants = self.tenants.iter();
        let of_tenants = of_tenants.filter(|(name, _)| tenant.is_none_or(|one| one == &***name));
        let of_all = of_tenants.flat_map(|(tenant, own)| {
            let own = own.entries.iter();
            let own = own.map(move |(key, entry)| (tenant, *key, entry));
            own.filter(|(tenant, _, entry)| is_chosen(tenant, &entry.value))
        });
        let chosen: Vec<_> = of_all
            .map(|(tenant, key, _)| (Arc::clone(tenant), key))
            .collect();
        let removed = chosen.into_iter().filter_map(|(tenant, key)| {
            let value = self.remove(&tenant, key)?;
            Some((tenant, value))
        });
        removed.collect()
    }

    fn remove(&mut self, tenant: &str, key: K) -> Option<Arc<V>> {
        let own = self.tenants.get_mut(tenant)?;
        let entry = own.entries.remove(&key)?;
        let num_bytes = Self::bytes_of(&entry.value);
        self.num_bytes -= num_bytes;
        self.len -= 1;
        own.num_bytes -= num_bytes;
        own.order.remove(&entry.place);
        if own.entries.is_empty() {
            self.tenants.remove(tenant);
        } else if own.entries.len() < own.entries.capacity() / 4 {
            own.entries.shrink_to(2 * own.entries.len());
        }
        Some(entry.value)
    }

    /// Forgets what was not asked for the longest of the tenant that takes the most once `tenant` has so many more bytes.
    fn make_way(&mut self, tenant: &str, num_new: usize) -> Option<(Arc<str>, Arc<V>)> {
        let takes = |(name, own): &(&Arc<str>, &Own<K, V>)| {
            let new = if ***name == *tenant { num_new } else { 0 };
            own.num_bytes + new
        };
        let largest = self.tenants.iter().max_by_key(takes);
        let (tenant, own) = largest?;
        let (_, &key) = own.order.first_key_value()?;
        let tenant = Arc::clone(tenant);
        let value = self.remove(&tenant, key)?;
        Some((tenant, value))
    }

    /// What one takes: itself, its key twice, and what maps need.
    fn bytes_of(value: &V) -> usize {
        4 * size_of::<(K, Entry<V>)>() + size_of::<V>() + value.num_bytes()
    }
}

impl<K: Copy + Eq + Hash, V: Keepable> Partition<'_, K, V> {
    /// What is there by this name, unless it is too old.
    pub fn find(&mut self, key: K, now: Instant) -> Option<Arc<V>> {
        let kept = &mut *self.kept;
        let own = kept.tenants.get_mut(self.tenant)?;
        let entry = own.entries.get_mut(&key)?;
        if now.saturating_duration_since(entry.since) > kept.max_age {
            kept.remove(self.tenant, key);
            return None;
        }
        kept.newest += 1;
        own.order.remove(&entry.place);
        entry.place = kept.newest;
        own.order.insert(entry.place, key);
        Some(Arc::clone(&entry.value))
    }

    /// Whether there may be something by this name.
    pub fn has(&self, key: K) -> bool {
        let own = self.kept.tenants.get(self.tenant);
        own.is_some_and(|own| own.entries.contains_key(&key))
    }

    /// Since when what is there by this name is kept.
    pub fn since(&self, key: K) -> Option<Instant> {
        let own = self.kept.tenants.get(self.tenant)?;
        Some(own.entries.get(&key)?.since)
    }

    /// Whether there is something by this name that is not too old.
    pub fn is_good(&self, key: K, now: Instant) -> bool {
        let own = self.kept.tenants.get(self.tenant);
        let entry = own.and_then(|own| own.entries.get(&key));
        entry.is_some_and(|entry| now.saturating_duration_since(entry.since) <= self.kept.max_age)
    }

    /// Forgets what is there by this name.
    pub fn remove(&mut self, key: K) -> Option<Arc<V>> {
        self.kept.remove(self.tenant, key)
    }

    /// Keeps it, in the place of what was not asked for the longest of whoever has the most, and says what that was, and whose; what is larger than
    /// all may be is not kept.
    pub fn keep(&mut self, key: K, value: V, now: Instant) -> Vec<(Arc<str>, Arc<V>)> {
        let kept = &mut *self.kept;
        kept.remove(self.tenant, key);
        let num_new = Kept::<K, V>::bytes_of(&value);
        let mut forgotten = Vec::new();
        if num_new > kept.max_bytes {
            return forgotten;
        }
        while kept.num_bytes + num_new > kept.max_bytes {
            let Some(gone) = kept.make_way(self.tenant, num_new) else {
                break;
            };
            forgotten.push(gone);
        }
        kept.newest += 1;
        let known = kept.tenants.get_key_value(self.tenant);
        let tenant = known.map_or_else(|| self.tenant.into(), |(name, _)| Arc::clone(name));
        let entry = Entry {
            value: Arc::new(value),
            since: now,
            place: kept.newest,
        };
        kept.num_bytes += num_new;
        kept.len += 1;
        let own = kept.tenants.entry(tenant).or_insert_with(|| Own {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            num_bytes: 0,
        });
        own.num_bytes += num_new;
        own.order.insert(kept.newest, key);
        own.entries.insert(key, entry);
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGE: Duration = Duration::from_secs(100);

    /// Of so many bytes.
    #[derive(Debug, PartialEq)]
    struct Thing(usize);

    impl Keepable for Thing {
        fn num_bytes(&self) -> usize {
            self.0
        }
    }

    fn num_bytes(thing: &Thing) -> usize {
        Kept::<u8, Thing>::bytes_of(thing)
    }

    #[test]
    fn a_thing_is_found_by_its_tenant_alone_and_for_so_long() {
        let mut kept = Kept::new(1 << 20, AGE);
        let now = Instant::now();
        kept.of("a").keep(1, Thing(2), now);
        assert!(kept.of("b").find(1, now).is_none());
        assert!(kept.of("a").find(2, now).is_none());
        let found = kept.of("a").find(1, now + AGE).unwrap();
        assert_eq!(*found, Thing(2));
        let late = now + AGE + Duration::from_millis(1);
        assert!(kept.of("a").find(1, late).is_none());
        assert_eq!((kept.len(), kept.num_bytes()), (0, 0));
    }

    #[test]
    fn what_was_asked_for_lately_stays_when_there_is_no_room() {
        let now = Instant::now();
        let mut kept = Kept::new(2 * num_bytes(&Thing(8)), AGE);
        for n in [1, 2] {
            kept.of("a").keep(n, Thing(8), now);
        }
        assert!(kept.of("a").find(1, now).is_some());
        kept.of("b").keep(3, Thing(8), now);
        let is_there =
            |kept: &mut Kept<u8, Thing>, tenant: &str, n| kept.of(tenant).find(n, now).is_some();
        assert!(is_there(&mut kept, "a", 1) && is_there(&mut kept, "b", 3));
        assert!(!is_there(&mut kept, "a", 2));
        // One that is too large takes nobody's place.
        kept.of("b").keep(4, Thing(4096), now);
        assert_eq!(kept.len(), 2);
    }

    #[test]
    fn who_keeps_ever_more_pushes_out_nobody_elses() {
        let now = Instant::now();
        let mut kept = Kept::new(8 * num_bytes(&Thing(8)), AGE);
        for n in 0..3 {
            kept.of("a").keep(n, Thing(8), now);
        }
        for n in 0..200 {
            let gone = kept.of("b").keep(n, Thing(8), now);
            assert!(gone.iter().all(|(whose, _)| &**whose == "b"), "{n}");
        }
        assert!((0..3).all(|n| kept.of("a").find(n, now).is_some()));
        assert_eq!(kept.len(), 8);
        // Who had all of it shares it with who comes.
        let mut kept = Kept::new(8 * num_bytes(&Thing(8)), AGE);
        for n in 0..8 {
            kept.of("a").keep(n, Thing(8), now);
        }
        for n in 0..100 {
            kept.of("b").keep(n, Thing(8), now);
        }
        let num = |kept: &Kept<u8, Thing>, tenant: &str| kept.tenants[tenant].entries.len();
        assert_eq!((num(&kept, "a"), num(&kept, "b")), (4, 4));
    }

    proptest! {
        #[test]
        fn bytes_are_bounded_and_counted_and_what_is_found_is_what_was_kept_last(
            acts in prop::collection::vec((0..3usize, 0..8u8, 0..40usize, any::<bool>()), 0..200)
        ) {
            let now = Instant::now();
            let max = 4000;
            let mut kept = Kept::new(max, AGE);
            let mut last: HashMap<(usize, u8), usize> = HashMap::new();
            for (tenant, n, len, keeps) in acts {
                let name = ["a", "b", "c"][tenant];
                if keeps {
                    kept.of(name).keep(n, Thing(len), now);
                    last.insert((tenant, n), len);
                } else if let Some(found) = kept.of(name).find(n, now) {
                    prop_assert_eq!(Some(&found.0), last.get(&(tenant, n)));
                }
                prop_assert!(kept.num_bytes() <= max);
                for own in kept.tenants.values() {
                    let entries = own.entries.values();
                    let bytes: usize = entries.map(|entry| num_bytes(&entry.value)).sum();
                    prop_assert_eq!(own.num_bytes, bytes);
                    prop_assert_eq!(own.order.len(), own.entries.len());
                }
                let bytes: usize = kept.tenants.values().map(|own| own.num_bytes).sum();
                prop_assert_eq!(kept.num_bytes(), bytes);
                let num: usize = kept.tenants.values().map(|own| own.entries.len()).sum();
                prop_assert_eq!(kept.len(), num);
            }
            let num = kept.len();
            prop_assert_eq!(kept.clear(), num);
            prop_assert!(kept.is_empty() && kept.num_bytes() == 0);
        }
    }
}
