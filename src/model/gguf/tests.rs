//! Valid files: what was written is read back. Damaged ones are in `tests/hostile_gguf.rs`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

#[path = "../../../tests/gguf_writer/mod.rs"]
mod gguf_writer;
use gguf_writer::{GgufWriter, array, sample, string};

fn parse(file: &GgufWriter) -> Gguf<Vec<u8>> {
    Gguf::parse(file.finish()).unwrap()
}

#[test]
fn integer_getters_accept_every_integer_type_that_fits() {
    let file = parse(&sample());
    let metadata = file.metadata();
    assert_eq!(metadata.get_u32("a.u8").unwrap(), 200);
    assert_eq!(metadata.get_u32("a.u16").unwrap(), 60_000);
    assert_eq!(metadata.get_u32("a.u32").unwrap(), 4_000_000_000);
    assert_eq!(metadata.get_u64("a.u64").unwrap(), 1 << 40);
    assert_eq!(metadata.value("a.i8").unwrap(), Some(Value::Signed(-3)));
    assert_eq!(metadata.value("a.i16").unwrap(), Some(Value::Signed(-300)));
    assert_eq!(
        metadata.value("a.i32").unwrap(),
        Some(Value::Signed(-70_000))
    );
    assert_eq!(
        metadata.value("a.i64").unwrap(),
        Some(Value::Signed(-1 << 40))
    );
    for too_large_or_negative in ["a.u64", "a.i8", "a.i64"] {
        let error = metadata
            .get_u32(too_large_or_negative)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(too_large_or_negative) && error.contains("32 bits unsigned"),
            "{error}"
        );
    }
}

#[test]
fn floats_booleans_and_strings_are_read_back() {
    let file = parse(&sample());
    let metadata = file.metadata();
    assert_eq!(metadata.get_f32("a.f32").unwrap(), 1e-5);
    assert_eq!(metadata.get_f32("a.f64").unwrap(), 0.5);
    assert!(metadata.get_bool("a.bool").unwrap());
    assert_eq!(metadata.get_str("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.keys().len(), 16);
    assert!(metadata.keys().is_sorted());
}

#[test]
fn arrays_are_read_back_and_strings_borrowed() {
    let file = parse(&sample());
    let metadata = file.metadata();
    let tokens = metadata.get_str_array("tokenizer.ggml.tokens").unwrap();
    assert_eq!(tokens, ["<s>", "</s>", "Ġthe", ""]);
    assert!(file.bytes.as_ptr_range().contains(&tokens[0].as_ptr()));
    assert_eq!(
        metadata.get_i32_array("tokenizer.ggml.token_type").unwrap(),
        [3, 3, 1, 1]
    );
    assert_eq!(
        metadata.get_f32_array("tokenizer.ggml.scores").unwrap(),
        [-1.0, 2.0]
    );
    let Some(Value::Array(nested)) = metadata.value("a.nested").unwrap() else {
        panic!("not an array")
    };
    let lens: Vec<usize> = nested
        .iter()
        .map(|inner| match inner.unwrap() {
            Value::Array(inner) => inner.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lens, [1, 1]);
}

#[test]
fn a_missing_key_is_none_or_an_error_naming_it() {
    let file = parse(&sample());
    assert_eq!(file.metadata().opt_u32("llama.block_count").unwrap(), None);
    assert_eq!(
        file.metadata().opt_str_array("llama.block_count").unwrap(),
        None
    );
    let error = file
        .metadata()
        .get_u32("llama.block_count")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"llama.block_count\" is missing"),
        "{error}"
    );
}

#[test]
fn a_value_of_another_type_is_an_error_naming_the_key_also_for_an_optional_one() {
    let file = parse(&sample());
    let error = file.metadata().opt_str("a.u8").unwrap_err().to_string();
    assert_eq!(
        error,
        "metadata key \"a.u8\" should be a string, but it is the integer 200"
    );
    let error = file
        .metadata()
        .get_f32_array("tokenizer.ggml.token_type")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("\"tokenizer.ggml.token_type\"") && error.contains("element 0"),
        "{error}"
    );
    assert!(file.metadata().get_str_array("a.u8").is_err());
}

#[test]
fn debug_output_leaves_tensor_data_out() {
    let mut writer = GgufWriter::new();
    writer.tensor("large", &[50_000], 0, &[0; 200_000]);
    let file = parse(&writer);
    let text = format!("{file:?} {:?}", file.tensor("large").unwrap());
    assert!(text.contains("large") && text.len() < 1_000, "{text}");
}

#[test]
fn tensors_are_found_by_name_and_listed_in_file_order() {
    let file = parse(&sample());
    let tensor = file.tensor("linear.weight").unwrap();
    assert_eq!(
        (tensor.ty, tensor.dims, tensor.cols(), tensor.rows()),
        (GgmlType::Q4_1, &[64, 3][..], 64, 3)
    );
    assert_eq!(tensor.data, [0x3C; 120]);
    let names: Vec<&str> = file.tensors().map(|tensor| tensor.unwrap().name).collect();
    assert_eq!(names, ["norm.weight", "linear.weight", "linear.q8"]);
    assert!(file.has_tensor("linear.q8") && !file.has_tensor("linear"));
    assert!(
        file.tensor("linear")
            .unwrap_err()
            .to_string()
            .contains("\"linear\" is missing")
    );
}

#[test]
fn a_tensor_dequantises_and_a_short_buffer_is_an_error_naming_it() {
    let file = parse(&sample());
    let tensor = file.tensor("norm.weight").unwrap();
    let mut out = [0.0; 4];
    tensor.dequantise_into(&mut out).unwrap();
    assert_eq!(out, [1.0, 2.0, -0.5, 0.0]);
    let error = tensor
        .dequantise_into(&mut out[..3])
        .unwrap_err()
        .to_string();
    assert!(error.contains("norm.weight"), "{error}");
}

#[test]
fn a_file_with_an_unsupported_tensor_opens_and_only_asking_for_that_tensor_fails() {
    let mut writer = sample();
    writer
        .tensor("experts", &[64], 40, &[0; 36])
        .tensor("future", &[32], 1000, &[0; 17]);
    let file = parse(&writer);
    let error = file.tensor("experts").unwrap_err().to_string();
    assert!(
        error.contains("\"experts\"") && error.contains("NVFP4"),
        "{error}"
    );
    assert!(
        file.tensor("future")
            .unwrap_err()
            .to_string()
            .contains("number 1000")
    );
    assert!(file.has_tensor("experts"));
    assert_eq!(file.tensors().filter(Result::is_ok).count(), 3);
}

#[test]
fn version_2_and_other_alignments_are_read() {
    let mut writer = GgufWriter::new();
    writer.version = 2;
    writer.alignment = 256;
    writer.entry("general.alignment", 4, &256u32.to_le_bytes());
    writer
        .tensor("a", &[1], 0, &[0; 4])
        .tensor("b", &[2, 1, 1, 1], 0, &[1; 8]);
    let file = parse(&writer);
    assert_eq!(file.version(), 2);
    assert_eq!(file.tensor("b").unwrap().data, [1; 8]);
    let start = file.bytes.as_ptr().addr();
    assert_eq!(
        (file.tensor("b").unwrap().data.as_ptr().addr() - start) % 256,
        0
    );
}

#[test]
fn a_vocabulary_without_tensors_is_read() {
    let mut writer = GgufWriter::new();
    writer.entry("tokens", 9, &array(8, 1, &string("a")));
    let file = parse(&writer);
    assert_eq!(file.metadata().get_str_array("tokens").unwrap(), ["a"]);
    assert_eq!(file.tensors().len(), 0);
}

#[test]
fn whatever_is_written_is_read_back() {
    let strings = prop::collection::vec(any::<String>(), 0..20);
    let entries = prop::collection::btree_map(
        any::<String>().prop_map(|key| format!("x.{key}")),
        strings,
        0..10,
    );
    let tensors = prop::collection::btree_map(
        any::<String>(),
        prop::collection::vec(any::<u8>(), 1..100),
        0..10,
    );
    let alignment = (0u32..12).prop_map(|shift| 1usize << shift);
    let property = |(alignment, entries, tensors): (usize, BTreeMap<String, Vec<String>>, _)| {
        let tensors: BTreeMap<String, Vec<u8>> = tensors;
        let mut writer = GgufWriter::new();
        writer.alignment = alignment;
        writer.entry("general.alignment", 10, &(alignment as u64).to_le_bytes());
        for (key, strings) in &entries {
            let encoded: Vec<u8> = strings.iter().flat_map(|text| string(text)).collect();
            writer.entry(key, 9, &array(8, strings.len() as u64, &encoded));
        }
        for (name, data) in &tensors {
            let data = [&data[..], &[0; 3 * 100][..3 * data.len()]].concat();
            writer.tensor(name, &[data.len() as u64 / 4], 0, &data);
        }
        let bytes = writer.finish();
        let file = Gguf::parse(&bytes).unwrap();
        for (key, strings) in &entries {
            prop_assert_eq!(&file.metadata().get_str_array(key).unwrap(), strings);
        }
        for (name, data) in &tensors {
            prop_assert_eq!(&file.tensor(name).unwrap().data[..data.len()], &data[..]);
        }
        prop_assert_eq!(file.tensors().len(), tensors.len());
        Ok(())
    };
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, rng)
        .run(&(alignment, entries, tensors), property)
        .unwrap();
}

#[test]
fn opening_names_the_path_whether_it_is_missing_or_damaged() {
    let dir = std::env::temp_dir().join(format!("flambeau-gguf-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("page.bin");
    std::fs::write(&path, "<html>").unwrap();
    let error = GgufFile::open(&path).unwrap_err().to_string();
    assert!(
        error.contains("page.bin") && error.contains("<htm"),
        "{error}"
    );
    std::fs::write(&path, "").unwrap();
    assert!(
        GgufFile::open(&path)
            .unwrap_err()
            .to_string()
            .contains("magic")
    );
    let error = GgufFile::open(dir.join("absent.bin"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("absent.bin"), "{error}");
    std::fs::remove_dir_all(&dir).unwrap();
}

/// Kilobytes of the process's mapping of `path` that are resident.
#[cfg(target_os = "linux")]
fn resident_kb(path: &std::path::Path) -> u64 {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mapping = maps.split_once(path.to_str().unwrap()).unwrap().1;
    let rss = mapping
        .lines()
        .find_map(|line| line.strip_prefix("Rss:"))
        .unwrap();
    rss.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn released_pages_leave_memory_and_keep_their_bytes() {
    const MIB: usize = 1 << 20;
    let path = std::env::temp_dir().join(format!("flambeau-release-{}.bin", std::process::id()));
    let mut writer = GgufWriter::new();
    let data: Vec<u8> = (0..4 * MIB).map(|i| (i % 251) as u8).collect();
    writer
        .tensor("a", &[MIB as u64], 0, &data)
        .tensor("b", &[8], 0, &[7; 32]);
    std::fs::write(&path, writer.finish()).unwrap();
    let file = GgufFile::open(&path).unwrap();
    let a = file.tensor("a").unwrap();
    assert!(a.data == data);
    assert!(resident_kb(&path) >= 4096);
    file.bytes().release(a.data).unwrap();
    assert!(resident_kb(&path) <= 128, "{} kB stay", resident_kb(&path));
    assert!(a.data == data && file.tensor("b").unwrap().data == [7; 32]);

    let other = parse(&writer);
    let other = other.tensor("a").unwrap();
    let error = file.bytes().release(other.data).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    std::fs::remove_file(&path).unwrap();
}
