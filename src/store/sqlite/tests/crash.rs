//! A process that is killed in the middle of writing.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;
use crate::store::tests::{Numbers, read, record};

const CHILD: &str = "FLAMBEAU_TEST_STORE_CHILD";

/// The records of a round: the first, in the place of the round's before, says which one it is.
fn batch(round: usize) -> Vec<Record> {
    let mut numbers = Numbers(round as u64 + 1);
    let mut batch = vec![record(0, 0)];
    batch[0].value = (round as u64).to_le_bytes().to_vec();
    batch.extend((1..6).map(|i| record(6 * round + i, numbers.below(3000))));
    batch
}

/// What is removed before a round.
fn removed(round: usize) -> Option<Record> {
    (round % 8 == 7).then(|| batch(round - 7).remove(1))
}

/// Writes, and says what is written, until it is killed; does nothing where no path is given.
#[test]
fn child() {
    let Some(path) = env::var_os(CHILD) else {
        return;
    };
    let mut store = plain(Path::new(&path)).unwrap();
    eprintln!();
    for round in 0.. {
        if let Some(gone) = removed(round) {
            store.remove(&[gone.id]).unwrap();
        }
        store.put(&batch(round)).unwrap();
        eprintln!("put {round}");
    }
}

/// Runs the child, which nobody else gets the store from, until it has said `num_rounds` lines; gives the last round that it said is written.
fn run_and_kill(path: &Path, num_rounds: usize) -> Option<usize> {
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::child"), "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let (mut line, mut num_read, mut last) = (String::new(), 0, None);
    let mut is_killed = false;
    // What it says until it is dead counts, but not half a line.
    while said.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some(round) = line.strip_prefix("put ") {
            last = Some(round.trim_end().parse().unwrap());
            num_read += 1;
        }
        if num_read == num_rounds && !is_killed {
            let error = plain(path).unwrap_err();
            assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
            child.kill().unwrap();
            is_killed = true;
        }
        line.clear();
    }
    child.wait().unwrap();
    last
}

#[test]
fn what_was_put_is_there_when_the_process_is_killed_in_the_middle_of_the_next() {
    let mut numbers = Numbers(37);
    for _ in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let last = run_and_kill(&path, numbers.below(120));
        let (found, num_skipped) = read(&mut plain(&path).unwrap()).unwrap();
        assert_eq!(num_skipped, 0);
        let at = found.iter().find(|one| one.id == record(0, 0).id);
        let Some(at) = at else {
            assert!(last.is_none() && found.is_empty());
            continue;
        };
        let round = u64::from_le_bytes(at.value[..].try_into().unwrap()) as usize;
        assert!(last.is_none_or(|last| round >= last), "{last:?}, {round}");
        let gone: Vec<Record> = (0..=round).filter_map(removed).collect();
        let mut expected: Vec<Record> = (0..=round)
            .flat_map(|one| batch(one).split_off(usize::from(one < round)))
            .filter(|one| !gone.contains(one))
            .collect();
        // What is removed before the next round may be removed already.
        let next = removed(round + 1);
        expected.retain(|one| next.as_ref() != Some(one) || found.contains(one));
        assert_eq!(found, expected);
    }
}
