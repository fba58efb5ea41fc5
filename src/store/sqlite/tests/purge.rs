//! What was removed is in no file any more.

use super::*;
use crate::store::tests::{Numbers, files, id, read, record};

/// Whether `value` is anywhere in the folder's files.
fn is_in_files(folder: &Path, value: &[u8]) -> bool {
    let mut files = files(folder).into_values();
    files.any(|bytes| bytes.windows(value.len()).any(|window| window == value))
}

/// Records of many lengths, with one text each that no other has, put in many calls, and many of them put again.
fn filled(folder: &Path) -> SqliteRecords {
    let mut store = plain(&folder.join("store")).unwrap();
    let mut numbers = Numbers(29);
    for round in 0..30 {
        let batch: Vec<Record> = (0..10)
            .map(|_| {
                let n = numbers.below(150);
                let mut record = record(n, numbers.below([60, 600, 9000][round % 3]));
                record.expires = 100 + (n % 2) as u64;
                record
            })
            .collect();
        store.put(&batch).unwrap();
    }
    store
}

fn text(n: usize) -> Vec<u8> {
    format!("kept {n};").into_bytes()
}

#[test]
fn what_was_cleared_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path());
    assert!(is_in_files(folder.path(), b"kept "));
    store.clear().unwrap();
    assert!(!is_in_files(folder.path(), b"kept "));
    assert!(!is_in_files(folder.path(), b"tenant-"));
    assert_eq!(read(&mut store).unwrap(), (vec![], 0));
    // Neither is its room taken.
    let num_bytes: usize = files(folder.path()).values().map(Vec::len).sum();
    assert!(num_bytes <= 6 * 4096, "{num_bytes}");
    store.put(&[record(1, 10)]).unwrap();
    drop(store);
    let mut store = plain(&folder.path().join("store")).unwrap();
    assert_eq!(read(&mut store).unwrap(), (vec![record(1, 10)], 0));
}

#[test]
fn what_was_removed_is_in_no_file_and_the_rest_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path());
    let (mut left, _) = read(&mut store).unwrap();
    let mut numbers = Numbers(31);
    while !left.is_empty() {
        let gone = left.swap_remove(numbers.below(left.len()));
        let text = gone.value.split_inclusive(|byte| *byte == b';').next();
        store.remove(&[gone.id]).unwrap();
        assert!(!is_in_files(folder.path(), text.unwrap()));
        assert_eq!(read(&mut store).unwrap().0.len(), left.len());
    }
}

#[test]
fn what_has_expired_and_was_removed_is_in_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = filled(folder.path());
    assert!(store.remove_expired(101).unwrap() > 0);
    assert_eq!(store.remove_expired(101).unwrap(), 0);
    let (left, _) = read(&mut store).unwrap();
    for n in 0..150 {
        let is_left = left.iter().any(|record| record.id == id(n));
        assert_eq!(is_in_files(folder.path(), &text(n)), is_left);
        assert!(n % 2 == 1 || !is_left);
    }
}
