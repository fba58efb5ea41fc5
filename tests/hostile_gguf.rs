//! Damaged and malicious GGUF files give a precise error: never a panic, never an allocation they do not warrant.

mod counting_alloc;
mod gguf_writer;

use std::hint::black_box;

use counting_alloc::peak_during;
use flambeau::model::gguf::{Gguf, dequantise};
use gguf_writer::{GgufWriter, array, sample, string};

/// Parses within the memory the file warrants, then uses everything in it. The message, if it is refused.
fn read(bytes: &[u8]) -> Result<(), String> {
    let (file, peak) = peak_during(|| Gguf::parse(bytes));
    assert!(
        peak <= 4 * bytes.len() + (64 << 10),
        "{peak} bytes for a file of {}",
        bytes.len()
    );
    let file = file.map_err(|error| error.to_string())?;
    let metadata = file.metadata();
    for key in metadata.keys() {
        let value = metadata.value(key).expect("a listed key has a valid value");
        assert!(value.is_some(), "the listed key {key:?} is not found");
        black_box((
            metadata.opt_u32(key).ok(),
            metadata.opt_u64(key).ok(),
            metadata.opt_f32(key).ok(),
        ));
        black_box((metadata.opt_bool(key).ok(), metadata.opt_str(key).ok()));
        black_box((
            metadata.opt_i32_array(key).ok(),
            metadata.opt_f32_array(key).ok(),
        ));
        black_box(metadata.opt_str_array(key).ok());
    }
    for tensor in file.tensors().flatten() {
        let found = file.tensor(tensor.name).expect("a listed tensor is found");
        assert_eq!(found.data, tensor.data);
        let mut out = vec![0.0; tensor.rows() * tensor.cols()];
        tensor
            .dequantise_into(&mut out)
            .expect("a listed tensor can be decoded");
        assert!(dequantise(tensor.ty, &tensor.data[1..], &mut out).is_err());
    }
    Ok(())
}

/// Asserts that `bytes` are refused with a message that has all of `parts`.
#[track_caller]
fn refused(bytes: &[u8], parts: &[&str]) {
    let message = read(bytes).expect_err("the file is accepted");
    for part in parts {
        assert!(message.contains(part), "\"{part}\" is not in: {message}");
    }
}

/// `sample()` with `patch` written over the bytes at `at`.
fn patched(at: usize, patch: &[u8]) -> Vec<u8> {
    let mut bytes = sample().finish();
    bytes[at..at + patch.len()].copy_from_slice(patch);
    bytes
}

fn with_entry(key: &str, ty: u32, value: &[u8]) -> Vec<u8> {
    sample().entry(key, ty, value).finish()
}

fn with_tensor(name: &str, dims: &[u64], ty: u32, offset: u64) -> Vec<u8> {
    sample().tensor_at(name, dims, ty, offset).finish()
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

#[test]
fn the_undamaged_sample_is_accepted() {
    read(&sample().finish()).unwrap();
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = sample().finish();
    for len in 0..bytes.len() {
        let message = read(&bytes[..len]).expect_err("a truncated file is accepted");
        assert!(
            message.contains("left") || message.contains("past the end"),
            "{len}: {message}"
        );
    }
}

#[test]
fn a_truncated_header_is_an_error_naming_the_field() {
    let bytes = sample().finish();
    for (len, field) in [
        (0, "magic"),
        (5, "version"),
        (8, "tensor_count"),
        (17, "metadata_kv_count"),
    ] {
        refused(&bytes[..len], &[field]);
    }
}

#[test]
fn random_damage_never_panics_nor_allocates_more_than_the_file_warrants() {
    let bytes = sample().finish();
    let mut rng = Rng(1);
    let mut num_accepted = 0;
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() - 8);
            match rng.below(4) {
                0 => damaged[at] ^= 1 << rng.below(8),
                1 => damaged[at] = rng.next() as u8,
                2 => damaged[at..at + 8].copy_from_slice(&rng.next().to_le_bytes()),
                _ => {
                    let edges = [
                        0,
                        1,
                        1 << 31,
                        u32::MAX.into(),
                        1 << 32,
                        1 << 61,
                        1 << 63,
                        u64::MAX,
                    ];
                    damaged[at..at + 8]
                        .copy_from_slice(&edges[rng.below(edges.len())].to_le_bytes());
                }
            }
        }
        num_accepted += usize::from(read(&damaged).is_ok());
    }
    assert!(
        (1_000..19_000).contains(&num_accepted),
        "{num_accepted} accepted: the damage misses the point"
    );
}

#[test]
fn files_of_the_smallest_entries_stay_within_the_memory_bound() {
    let mut file = GgufWriter::new();
    for idx in 0..3_000 {
        file.entry(&format!("{idx:x}"), 0, &[0]);
    }
    read(&file.finish()).unwrap();
    let mut file = GgufWriter::new();
    for idx in 0..3_000 {
        file.tensor_at(&format!("{idx:x}"), &[1], 24, 0);
    }
    file.data.resize(32, 0);
    read(&file.finish()).unwrap();
}

#[test]
fn foreign_files_are_recognised() {
    refused(&patched(0, b"\x89PNG"), &["\\x89PNG", "GGUF"]);
    refused(&patched(4, &1u32.to_le_bytes()), &["version 1"]);
    refused(&patched(4, &4u32.to_le_bytes()), &["version 4"]);
    refused(&patched(4, &3u32.to_be_bytes()), &["big-endian"]);
}

#[test]
fn huge_counts_are_refused_by_field() {
    for count in [u64::MAX, 1 << 63, 1 << 32, 100] {
        refused(
            &patched(8, &count.to_le_bytes()),
            &["tensor_count", &count.to_string()],
        );
        refused(
            &patched(16, &count.to_le_bytes()),
            &["metadata_kv_count", &count.to_string()],
        );
    }
}

#[test]
fn lengths_past_the_end_are_refused_by_key() {
    for len in [u64::MAX, 1 << 63, 1 << 40, 1 << 20] {
        let raw = len.to_le_bytes();
        refused(
            &with_entry("bad.str", 8, &raw),
            &["\"bad.str\"", &len.to_string()],
        );
        for ty in 0..=12 {
            refused(
                &with_entry("bad.array", 9, &array(ty, len, &[])),
                &["\"bad.array\"", &len.to_string()],
            );
        }
        refused(
            &patched(24, &raw),
            &["key of metadata entry 0", &len.to_string()],
        );
    }
}

#[test]
fn unknown_value_types_are_refused_by_key() {
    refused(
        &with_entry("bad", 13, &[0; 8]),
        &["\"bad\"", "value type 13"],
    );
    refused(
        &with_entry("bad", 9, &array(u32::MAX, 1, &[0; 8])),
        &["\"bad\"", "value type 4294967295"],
    );
}

#[test]
fn deeply_nested_arrays_are_refused_by_key() {
    let nested = |depth: usize| [array(9, 1, &[]).repeat(depth - 1), array(0, 1, &[0])].concat();
    read(&with_entry("deep", 9, &nested(8))).unwrap();
    refused(&with_entry("deep", 9, &nested(9)), &["\"deep\"", "nested"]);
    refused(
        &with_entry("deep", 9, &nested(100_000)),
        &["\"deep\"", "nested"],
    );
}

#[test]
fn text_that_is_not_utf_8_is_refused_where_it_stands() {
    let invalid = [&2u64.to_le_bytes()[..], &[0xC3, 0x28]].concat();
    refused(&with_entry("bad", 8, &invalid), &["\"bad\"", "UTF-8"]);
    refused(
        &with_entry("bad", 9, &array(8, 1, &invalid)),
        &["\"bad\"", "UTF-8"],
    );
    refused(&patched(32, &[0xFF]), &["key of metadata entry 0", "UTF-8"]);
    let mut bytes = with_tensor("last", &[32], 8, 0);
    let at = bytes
        .windows(4)
        .position(|window| window == b"last")
        .unwrap();
    bytes[at] = 0xFF;
    refused(&bytes, &["name of tensor 3", "UTF-8"]);
}

#[test]
fn booleans_other_than_0_and_1_are_refused_by_key() {
    refused(
        &with_entry("bad", 7, &[2]),
        &["\"bad\"", "2 is not a boolean"],
    );
    refused(
        &with_entry("bad", 9, &array(7, 2, &[1, 255])),
        &["\"bad\"", "255 is not a boolean"],
    );
}

#[test]
fn duplicates_are_refused_by_name() {
    refused(
        &with_entry("a.u8", 0, &[1]),
        &["\"a.u8\"", "more than once"],
    );
    // Of an unsupported type, so that the data does not overlap.
    refused(
        &with_tensor("linear.q8", &[32], 40, 0),
        &["\"linear.q8\"", "more than once"],
    );
}

#[test]
fn bad_alignments_are_refused_by_key() {
    for alignment in [0u64, 24, 1 << 31, 1 << 40] {
        let bytes = with_entry("general.alignment", 10, &alignment.to_le_bytes());
        refused(&bytes, &["\"general.alignment\"", &alignment.to_string()]);
    }
    refused(
        &with_entry("general.alignment", 8, &string("32")),
        &["\"general.alignment\"", "an integer"],
    );
}

#[test]
fn impossible_dimensions_are_refused_by_tensor() {
    refused(&with_tensor("bad", &[], 0, 0), &["\"bad\"", "0 dimensions"]);
    refused(
        &with_tensor("bad", &[1; 5], 0, 0),
        &["\"bad\"", "5 dimensions"],
    );
    refused(
        &with_tensor("bad", &[4, 0], 0, 0),
        &["\"bad\"", "dimension 1 is zero"],
    );
    refused(
        &with_tensor("bad", &[1 << 32, 1 << 32], 0, 0),
        &["\"bad\"", "4294967296"],
    );
    refused(
        &with_tensor("bad", &[1 << 16; 4], 40, 0),
        &["\"bad\"", "65536"],
    );
    refused(
        &with_tensor("bad", &[1 << 62], 0, 0),
        &["\"bad\"", &(1u64 << 62).to_string()],
    );
    refused(&with_tensor("bad", &[33], 2, 0), &["\"bad\"", "Q4_0", "33"]);
    refused(
        &with_tensor("bad", &[32, 8], 12, 0),
        &["\"bad\"", "Q4_K", "256"],
    );
}

#[test]
fn data_outside_of_the_file_is_refused_by_tensor() {
    for offset in [1 << 20, 1 << 63, u64::MAX - 31] {
        refused(
            &with_tensor("bad", &[1], 0, offset),
            &["\"bad\"", &offset.to_string(), "past the end"],
        );
        refused(
            &with_tensor("bad", &[32], 40, offset),
            &["\"bad\"", "past the end"],
        );
    }
    refused(
        &with_tensor("bad", &[1 << 20], 0, 0),
        &["\"bad\"", "past the end"],
    );
    refused(
        &with_tensor("bad", &[1], 0, 4),
        &["\"bad\"", "offset 4", "alignment 32"],
    );
}

#[test]
fn overlapping_tensors_are_refused_by_both_names() {
    // Starts inside the data of `linear.weight`, which starts at 32.
    refused(
        &with_tensor("bad", &[4], 0, 64),
        &["\"bad\"", "\"linear.weight\""],
    );
    refused(
        &with_tensor("bad", &[4], 0, 32),
        &["\"bad\"", "\"linear.weight\""],
    );
}

#[test]
fn messages_stay_short_and_printable_whatever_the_names() {
    let bytes = with_entry(&"\u{1b}[31m\n".repeat(10_000), 13, &[]);
    let message = read(&bytes).unwrap_err();
    assert!(
        message.len() < 1_000 && !message.contains(char::is_control),
        "{message}"
    );
}

/// `tests/data/gguf_corpus/expected.txt` has a line `file: part of the message` for each file, nothing after the colon
/// for a valid one.
#[test]
fn the_corpus_is_refused_with_the_expected_messages() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/gguf_corpus");
    let expected = std::fs::read_to_string(dir.join("expected.txt")).unwrap();
    let mut num_files = 0;
    for line in expected.lines() {
        let (file, part) = line.split_once(':').unwrap();
        let result = read(&std::fs::read(dir.join(file)).unwrap());
        match part.trim() {
            "" => result.unwrap_or_else(|message| panic!("{file}: {message}")),
            part => {
                let message = result.expect_err(file);
                assert!(
                    message.contains(part),
                    "{file}: \"{part}\" is not in: {message}"
                );
            }
        }
        num_files += 1;
    }
    assert_eq!(
        num_files + 1,
        std::fs::read_dir(dir).unwrap().count(),
        "every file has its line"
    );
}
