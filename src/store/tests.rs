//! What holds for every store, sealed or not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// A stream of numbers that is the same every time.
pub(super) struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

pub(super) fn id(n: usize) -> [u8; 16] {
    let mut numbers = Numbers(n as u64 + 1);
    std::array::from_fn(|_| numbers.below(256) as u8)
}

pub(super) fn record(n: usize, len: usize) -> Record {
    Record {
        id: id(n),
        tenant: format!("tenant-{}", n % 3),
        scope: [n as u8; 32],
        expires: 1000,
        value: format!("kept {n};").into_bytes().repeat(len / 8 + 1),
    }
}

/// All that has not expired at 100, and how many were skipped.
pub(super) fn read(records: &mut dyn Records) -> Result<(Vec<Record>, usize), StoreError> {
    let mut all = Vec::new();
    let read = records.each(Place::default(), 100, &mut |record| all.push(record))?;
    Ok((all, read.num_skipped))
}

/// Every file of a folder.
pub(super) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn key(n: u8) -> SealingKey {
    SealingKey::from([n; 32])
}

#[derive(Clone, Debug)]
enum Act {
    Put(Vec<Record>),
    Remove(Vec<[u8; 16]>),
    Clear,
    RemoveExpired(u64),
    Reopen,
    ReadOn,
}

fn any_record() -> impl Strategy<Value = Record> {
    let expires = prop_oneof![0..4u64, Just(u64::MAX), Just(1 << 63), Just((1 << 63) - 1)];
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (0..9000usize).prop_map(|len| vec![7; len])
    ];
    (0..6usize, "[a\u{0}é']{0,3}", any::<u8>(), expires, value).prop_map(
        |(n, tenant, scope, expires, value)| Record {
            id: id(n),
            tenant,
            scope: [scope; 32],
            expires,
            value,
        },
    )
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => prop::collection::vec(any_record(), 0..5).prop_map(Act::Put),
        2 => prop::collection::vec((0..6usize).prop_map(id), 0..3).prop_map(Act::Remove),
        1 => Just(Act::Clear),
        1 => (0..5u64).prop_map(Act::RemoveExpired),
        2 => Just(Act::Reopen),
        2 => Just(Act::ReadOn),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_put_last_is_given_in_that_order_until_it_expires_or_is_removed(
        acts in prop::collection::vec(act(), 0..24), is_sealed: bool, now in 0..5u64
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let key = is_sealed.then(|| key(1));
        let mut store = open(&path, key.as_ref()).unwrap();
        let mut model: Vec<Record> = Vec::new();
        // What was put since `ReadOn` was last done, and is there.
        let (mut end, mut new) = (Place::default(), 0);
        for act in acts {
            match act {
                Act::Put(records) => {
                    store.put(&records).unwrap();
                    for record in records {
                        if let Some(at) = model.iter().position(|known| known.id == record.id) {
                            model.remove(at);
                            new += usize::from(at < model.len() + 1 - new);
                        } else {
                            new += 1;
                        }
                        model.push(record);
                    }
                }
                Act::Remove(ids) => {
                    store.remove(&ids).unwrap();
                    let old = model.len() - new;
                    let is_gone = |record: &Record| ids.contains(&record.id);
                    new -= model[old..].iter().filter(|record| is_gone(record)).count();
                    model.retain(|record| !is_gone(record));
                }
                Act::Clear => {
                    store.clear().unwrap();
                    (model, new) = (Vec::new(), 0);
                }
                Act::RemoveExpired(now) => {
                    let old = model.len() - new;
                    let is_gone = |record: &Record| record.expires < now;
                    let num = model.iter().filter(|record| is_gone(record)).count();
                    new -= model[old..].iter().filter(|record| is_gone(record)).count();
                    model.retain(|record| !is_gone(record));
                    prop_assert_eq!(store.remove_expired(now).unwrap(), num);
                }
                Act::Reopen => {
                    drop(store);
                    store = open(&path, key.as_ref()).unwrap();
                }
                Act::ReadOn => {
                    let mut found = Vec::new();
                    let read = store.each(end, 0, &mut |record| found.push(record)).unwrap();
                    prop_assert_eq!(read.num_skipped, 0);
                    prop_assert_eq!(&found[..], &model[model.len() - new..]);
                    (end, new) = (read.end, 0);
                }
            }
        }
        let mut found = Vec::new();
        let read = store.each(Place::default(), now, &mut |record| found.push(record)).unwrap();
        model.retain(|record| record.expires >= now);
        prop_assert_eq!(read.num_skipped, 0);
        prop_assert_eq!(found, model);
    }
}

/// Two folders with a store of this key: closed in the one; in the other as a crash leaves it, with the log beside it.
fn closed_and_crashed(key: Option<&SealingKey>) -> [tempfile::TempDir; 2] {
    let [closed, crashed] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let path = closed.path().join("store");
    let mut store = open(&path, key).unwrap();
    store.put(&[record(1, 10), record(2, 10)]).unwrap();
    for (path, bytes) in files(closed.path()) {
        fs::write(crashed.path().join(path.file_name().unwrap()), bytes).unwrap();
    }
    assert!(files(crashed.path()).len() > 1);
    drop(store);
    assert_eq!(files(closed.path()).len(), 1);
    [closed, crashed]
}

#[test]
fn a_store_is_opened_as_it_was_made_or_not_at_all_and_then_left_as_it_is() {
    let keys = [None, Some(key(1)), Some(key(2))];
    for (made, with) in keys
        .iter()
        .flat_map(|made| keys.iter().map(move |with| (made, with)))
    {
        for folder in closed_and_crashed(made.as_ref()) {
            let path = folder.path().join("store");
            let before = files(folder.path());
            let opened = open(&path, with.as_ref());
            let same = made.as_ref().map(SealingKey::mark) == with.as_ref().map(SealingKey::mark);
            let Err(error) = opened.and_then(|mut store| {
                assert!(same);
                assert_eq!(read(&mut *store)?, (vec![record(1, 10), record(2, 10)], 0));
                Ok(())
            }) else {
                continue;
            };
            let (is_it, way_out) = match (made, with) {
                (None, _) => (matches!(error, StoreError::NotSealed { .. }), "without"),
                (_, None) => (matches!(error, StoreError::NeedsKey { .. }), "give the key"),
                _ => (matches!(error, StoreError::WrongKey { .. }), "give the key"),
            };
            let message = error.to_string();
            assert!(is_it && !same, "{error:?}");
            assert!(
                message.contains(way_out) && message.contains("another file"),
                "{message}"
            );
            assert!(message.contains(path.to_str().unwrap()), "{message}");
            let mut after = files(folder.path());
            after.retain(|path, bytes| before.contains_key(path) || !bytes.is_empty());
            assert_eq!(after, before);
        }
    }
}

#[test]
fn of_a_sealed_store_the_tenants_can_be_read_and_the_values_cannot() {
    let has = |folder: &Path, text: &[u8]| {
        let mut files = files(folder).into_values();
        files.any(|bytes| bytes.windows(text.len()).any(|window| window == text))
    };
    for (key, shows) in [(None, true), (Some(key(1)), false)] {
        for folder in closed_and_crashed(key.as_ref()) {
            assert!(has(folder.path(), b"tenant-1"));
            assert_eq!(has(folder.path(), b"kept 1;"), shows);
        }
    }
}
