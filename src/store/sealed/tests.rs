//! What is sealed opens as the record it was, or not at all.

use proptest::prelude::*;

use super::*;
use crate::store::tests::{read, record};

/// A store that does as it likes with what it was given.
struct Memory(Vec<Record>);

impl Records for Memory {
    fn put(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.0.extend_from_slice(records);
        Ok(())
    }

    fn remove(&mut self, ids: &[[u8; 16]]) -> Result<(), StoreError> {
        self.0.retain(|record| !ids.contains(&record.id));
        Ok(())
    }

    fn clear(&mut self) -> Result<(), StoreError> {
        self.0.clear();
        Ok(())
    }

    fn remove_expired(&mut self, _: u64) -> Result<usize, StoreError> {
        Ok(0)
    }

    fn each(
        &mut self,
        end: Place,
        _: u64,
        take: &mut dyn FnMut(Record),
    ) -> Result<Read, StoreError> {
        self.0.iter().cloned().for_each(take);
        Ok(Read {
            end,
            num_skipped: 3,
        })
    }
}

fn sealed(records: &[Record]) -> Sealed<Memory> {
    let key = SealingKey::from([5; 32]);
    let mut sealed = Sealed::open(&key, |mark| {
        assert_eq!(mark, key.mark());
        Ok(Memory(Vec::new()))
    })
    .unwrap();
    sealed.put(records).unwrap();
    sealed
}

/// Checks that the first of two records is skipped when `change` was done to both.
fn assert_skipped(change: impl FnOnce(&mut Record, &mut Record)) {
    let mut sealed = sealed(&[record(1, 30), record(2, 30)]);
    let [one, other] = &mut sealed.records.0[..] else {
        panic!("two were put")
    };
    change(one, other);
    let (given, num_skipped) = read(&mut sealed).unwrap();
    assert!(given.iter().all(|given| *given == record(2, 30)));
    assert_eq!(num_skipped, 3 + 2 - given.len());
    assert!(num_skipped > 3);
}

#[test]
fn ids_and_scopes_are_not_told() {
    let mut one = record(1, 30);
    (one.id, one.scope) = (*b"a digest of text", [7; 32]);
    let mut sealed = sealed(std::slice::from_ref(&one));
    for stored in &sealed.records.0 {
        assert!(stored.id != one.id && stored.scope != one.scope);
    }
    assert_eq!(read(&mut sealed).unwrap().0, [one.clone()]);
    sealed.remove(&[one.id]).unwrap();
    assert!(sealed.records.0.is_empty());
}

#[test]
fn what_is_left_alone_opens_and_what_the_store_skipped_is_counted() {
    for len in [0, 1, 30, 100_000] {
        let records = [record(1, len), record(2, len)];
        assert_eq!(read(&mut sealed(&records)).unwrap(), (records.to_vec(), 3));
    }
    let mut empty = record(1, 0);
    empty.value.clear();
    assert_eq!(
        read(&mut sealed(std::slice::from_ref(&empty))).unwrap(),
        (vec![empty], 3)
    );
}

#[test]
fn a_value_does_not_open_under_another_id_tenant_scope_or_expiry() {
    assert_skipped(|one, other| std::mem::swap(&mut one.value, &mut other.value));
    assert_skipped(|one, other| one.value = other.value.clone());
    assert_skipped(|one, _| one.id[15] ^= 1);
    assert_skipped(|one, _| one.tenant = "tenant-2".to_owned());
    assert_skipped(|one, _| one.tenant.push('\0'));
    assert_skipped(|one, _| one.scope[0] ^= 1);
    assert_skipped(|one, _| one.expires += 1);
}

#[test]
fn a_value_that_is_cut_or_goes_on_does_not_open() {
    for len in 0..sealed(&[record(1, 30)]).records.0[0].value.len() {
        assert_skipped(|one, _| one.value.truncate(len));
        assert_skipped(|one, _| drop(one.value.drain(..=len)));
    }
    assert_skipped(|one, _| one.value.push(0));
}

#[test]
fn a_value_with_any_bit_changed_does_not_open() {
    let len = sealed(&[record(1, 30)]).records.0[0].value.len();
    for bit in 0..8 * len {
        assert_skipped(|one, _| one.value[bit / 8] ^= 1 << (bit % 8));
    }
}

#[test]
fn a_value_that_another_key_sealed_does_not_open() {
    let mut other = Sealed::open(&SealingKey::from([6; 32]), |_| Ok(Memory(Vec::new()))).unwrap();
    other.put(&[record(1, 30)]).unwrap();
    assert_skipped(|one, _| one.value = other.records.0[0].value.clone());
}

#[test]
fn the_same_record_is_never_sealed_in_the_same_way() {
    let sealed = sealed(&vec![record(1, 30); 64]);
    let mut values: Vec<_> = sealed.records.0.iter().map(|one| &one.value).collect();
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 64);
}

proptest! {
    #[test]
    fn bytes_that_were_never_sealed_are_skipped(value in prop::collection::vec(any::<u8>(), 0..80), is_first: bool) {
        assert_skipped(|one, _| {
            one.value = value;
            if let (Some(first), true) = (one.value.first_mut(), is_first) {
                *first = VERSION;
            }
        });
    }
}
