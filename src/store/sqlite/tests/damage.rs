//! Files that are damaged at many places: what is given is what was put, and what is missing is told.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::store::tests::{Numbers, files, read, record};

const NUM_RECORDS: usize = 200;

/// From 8 bytes to more than two pages.
fn all() -> Vec<Record> {
    let mut numbers = Numbers(7);
    (0..NUM_RECORDS)
        .map(|n| {
            let most = [100, 400, 9000][usize::from(n % 5 == 0) + usize::from(n % 20 == 0)];
            record(n, numbers.below(most))
        })
        .collect()
}

/// The bytes of a store with all records, and of its log: a closed one, with no log, and one that crashed.
struct Image {
    file: Vec<u8>,
    log: Vec<u8>,
}

impl Image {
    fn closed() -> Self {
        Self::made(true)
    }

    /// Half of the records are in the file, the others in the log.
    fn crashed() -> Self {
        Self::made(false)
    }

    fn made(is_closed: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut store = plain(&path).unwrap();
        for (i, batch) in all().chunks(10).enumerate() {
            store.put(batch).unwrap();
            if i == 9 {
                store.empty_log().unwrap();
            }
        }
        let store = (!is_closed).then_some(store);
        let mut files = files(folder.path());
        drop(store);
        let image = Self {
            file: files.remove(&path).unwrap(),
            log: files
                .remove(&folder.path().join("store-wal"))
                .unwrap_or_default(),
        };
        assert_eq!(image.log.is_empty(), is_closed);
        image
    }
}

/// A folder to put images in, and what came of it.
struct Trial {
    folder: tempfile::TempDir,
    path: PathBuf,
    num_given: usize,
    num_refused: usize,
}

impl Trial {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            path: folder.path().join("store"),
            folder,
            num_given: 0,
            num_refused: 0,
        }
    }

    /// Opens and reads; checks that an error names the file and leaves all as it was, and that what is given was put.
    /// Gives how many records came, and how many are known to be missing.
    fn open(&mut self, image: &Image) -> Option<(usize, usize)> {
        fs::write(&self.path, &image.file).unwrap();
        let log = self.folder.path().join("store-wal");
        match image.log.is_empty() {
            true => fs::remove_file(&log).unwrap_or(()),
            false => fs::write(&log, &image.log).unwrap(),
        }
        let opened = plain(&self.path);
        if opened.is_err() {
            assert_eq!(fs::read(&self.path).unwrap(), image.file);
            assert_eq!(fs::read(&log).unwrap_or_default(), image.log);
        }
        match opened.and_then(|mut store| read(&mut store)) {
            Err(error) => {
                self.num_refused += 1;
                let message = error.to_string();
                assert!(message.contains(self.path.to_str().unwrap()), "{message}");
                assert!(
                    message.contains("another") || message.contains("away"),
                    "{message}"
                );
                None
            }
            Ok((given, num_skipped)) => {
                self.num_given += 1;
                let known = all();
                let mut left = known.iter();
                for one in &given {
                    assert!(left.any(|known| known == one), "{one:?}");
                }
                Some((given.len(), num_skipped))
            }
        }
    }
}

#[test]
fn whole_stores_give_everything_closed_or_crashed() {
    let mut trial = Trial::new();
    for image in [Image::closed(), Image::crashed()] {
        assert_eq!(trial.open(&image), Some((NUM_RECORDS, 0)));
    }
}

#[test]
fn with_any_bit_of_its_beginning_changed_a_store_gives_everything_or_an_error() {
    let (mut image, mut trial) = (Image::closed(), Trial::new());
    for bit in 0..8 * 108 {
        image.file[bit / 8] ^= 1 << (bit % 8);
        if let Some((num_given, num_skipped)) = trial.open(&image) {
            assert_eq!((num_given, num_skipped), (NUM_RECORDS, 0), "bit {bit}");
        }
        image.file[bit / 8] ^= 1 << (bit % 8);
    }
}

/// Changes a byte of the file, so many times: no record is missing without a word.
fn change_bytes(image: &mut Image, trial: &mut Trial, numbers: &mut Numbers, times: usize) {
    for _ in 0..times {
        let (at, change) = (
            numbers.below(image.file.len()),
            1 + numbers.below(255) as u8,
        );
        image.file[at] ^= change;
        if let Some((num_given, num_skipped)) = trial.open(image) {
            assert_eq!(num_given + num_skipped, NUM_RECORDS, "byte {at} ^ {change}");
        }
        image.file[at] ^= change;
    }
}

#[test]
fn with_a_byte_changed_anywhere_no_record_is_missing_without_a_word() {
    let mut trial = Trial::new();
    change_bytes(&mut Image::closed(), &mut trial, &mut Numbers(11), 1200);
    assert!(trial.num_given > 500 && trial.num_refused > 50);
}

#[test]
fn with_a_page_gone_or_put_twice_no_record_is_missing_without_a_word() {
    let (image, mut trial, mut numbers) = (Image::closed(), Trial::new(), Numbers(13));
    for _ in 0..300 {
        let mut damaged = Image {
            file: image.file.clone(),
            log: Vec::new(),
        };
        let num_pages = image.file.len() / 4096;
        let [to, from] = [(); 2].map(|()| numbers.below(num_pages) * 4096);
        match numbers.below(2) {
            0 => damaged.file[to..to + 4096].fill(0),
            _ => damaged.file.copy_within(from..from + 4096, to),
        }
        if let Some((num_given, num_skipped)) = trial.open(&damaged) {
            assert_eq!(num_given + num_skipped, NUM_RECORDS, "{from} to {to}");
        }
    }
    assert!(trial.num_refused > 100);
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let (image, mut trial, mut numbers) = (Image::closed(), Trial::new(), Numbers(17));
    let len = image.file.len();
    let seeded: Vec<usize> = (0..300).map(|_| 1 + numbers.below(len - 1)).collect();
    for at in (1..600).chain(seeded).chain((4096..len).step_by(4096)) {
        let file = image.file[..at].to_vec();
        let log = Vec::new();
        assert_eq!(trial.open(&Image { file, log }), None, "cut at {at}");
    }
}

#[test]
fn what_is_given_of_a_damaged_log_was_put() {
    let (mut image, mut trial, mut numbers) = (Image::crashed(), Trial::new(), Numbers(19));
    for _ in 0..600 {
        let (at, change) = (numbers.below(image.log.len()), 1 + numbers.below(255) as u8);
        image.log[at] ^= change;
        // What is not in the log is there in any case.
        let found = trial.open(&image);
        assert!(
            found.is_some_and(|(given, _)| given >= NUM_RECORDS / 2),
            "{at}: {found:?}"
        );
        image.log[at] ^= change;
    }
    for _ in 0..200 {
        let log = image.log[..numbers.below(image.log.len())].to_vec();
        let file = image.file.clone();
        let found = trial.open(&Image { file, log });
        assert!(found.is_some_and(|(given, _)| given >= NUM_RECORDS / 2));
    }
}

#[test]
fn what_is_given_of_a_damaged_file_with_a_log_was_put() {
    let (mut image, mut trial, mut numbers) = (Image::crashed(), Trial::new(), Numbers(23));
    change_bytes(&mut image, &mut trial, &mut numbers, 600);
    let len = image.file.len();
    let seeded: Vec<usize> = (0..600).map(|_| numbers.below(len)).collect();
    for at in (0..600).chain(seeded).chain((4096..len).step_by(4096)) {
        let file = image.file[..at].to_vec();
        let log = image.log.clone();
        if let Some((num_given, num_skipped)) = trial.open(&Image { file, log }) {
            assert_eq!(num_given + num_skipped, NUM_RECORDS, "cut at {at}");
        }
    }
}
