//! A model that is quantised, as it is loaded or into a file.

use std::path::Path;
use std::sync::Arc;

use flambeau::backend::cpu::Cpu;
use flambeau::model::gguf::{GgmlType, GgufFile};
use flambeau::model::quantise::{AsGguf, Mix, Quantisation, QuantiseJob, entries_of};
use flambeau::model::{
    Activations, Checkpoint, Decoder, Importance, LoadOptions, ModelConfig, TensorSource, Weights,
    perplexity,
};

use super::full_disk::flambeau;
use super::model::{Model, Spec};
use super::run;
use super::transformers::{expected, folder};
use super::{INT8_BOUNDS, differences};

const TARGETS: [Quantisation; 3] = [Quantisation::Q4K, Quantisation::Q4_0, Quantisation::Q8_0];

/// Rows are whole K-quants' blocks where `hidden` is 256.
fn model(hidden: usize) -> Model {
    let spec = Spec {
        tied: false,
        hidden,
        inner: hidden,
        heads: 8,
        head_dim: Some(32),
        ..Spec::llama()
    };
    Model::random(&spec, 3)
}

fn mix(target: Quantisation) -> Mix {
    Mix {
        target,
        num_layers: 2,
        has_tied_head: false,
    }
}

fn decoder(file: &GgufFile, options: impl Into<LoadOptions>) -> Decoder {
    let cpu = Cpu::new(2).unwrap();
    let config = ModelConfig::from_gguf(file.metadata()).unwrap();
    let weights = Weights::load(file, &config, options, &cpu).unwrap();
    Decoder::new(config, Arc::new(weights), &run::limits(), cpu).unwrap()
}

fn write(file: &GgufFile, target: Quantisation, importance: Option<&Importance>, path: &Path) {
    let cpu = Cpu::new(2).unwrap();
    let job = QuantiseJob {
        source: file,
        entries: entries_of(file.metadata()),
        mix: mix(target),
        importance,
        cpu: &cpu,
    };
    job.write(path, |_, _| {}).unwrap();
}

fn bits(logits: &[Vec<f32>]) -> Vec<u32> {
    logits.iter().flatten().map(|x| x.to_bits()).collect()
}

#[test]
fn a_model_quantised_as_it_is_loaded_gives_the_bits_of_its_quantised_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.gguf");
    for (hidden, target) in [64, 256]
        .into_iter()
        .flat_map(|hidden| TARGETS.map(|target| (hidden, target)))
    {
        let model = model(hidden);
        let file = run::open(&model);
        let tokens = run::prompt(&model, 40, 4);
        write(&file, target, None, &path);
        let written = GgufFile::open(&path).unwrap();
        let from_file = run::alone(&decoder(&written, Activations::Int8), &tokens);
        let options = LoadOptions {
            mix: Some(mix(target)),
            ..Activations::Int8.into()
        };
        let as_loaded = run::alone(&decoder(&file, options), &tokens);
        assert!(bits(&from_file) == bits(&as_loaded), "{target:?}, {hidden}");

        // And what it gives is near what the model gives.
        let exact = run::alone(&decoder(&file, Activations::Float), &tokens);
        let exact: Vec<Vec<f64>> = (exact.iter())
            .map(|row| row.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let (_, mean) = differences(&as_loaded, &exact);
        let most = if target == Quantisation::Q8_0 {
            0.01
        } else {
            0.1
        };
        assert!(mean < most, "{target:?}, {hidden}: {mean}");
    }
}

#[test]
fn the_file_has_the_mix_and_all_metadata() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.gguf");
    let file = run::open(&model(256));
    write(&file, Quantisation::Q4K, None, &path);
    let written = GgufFile::open(&path).unwrap();
    for (name, ty) in [
        ("token_embd.weight", GgmlType::Q4K),
        ("output.weight", GgmlType::Q6K),
        ("blk.0.attn_q.weight", GgmlType::Q4K),
        ("blk.1.ffn_down.weight", GgmlType::Q6K),
        ("blk.0.attn_norm.weight", GgmlType::F32),
    ] {
        assert_eq!(written.tensor(name).unwrap().ty, ty, "{name}");
    }
    let metadata = written.metadata();
    assert_eq!(metadata.get_u32("general.file_type").unwrap(), 15);
    let config = |file: &GgufFile| ModelConfig::from_gguf(file.metadata()).unwrap();
    assert_eq!(config(&written), config(&file));
    // What is quantised to what it is already stays as it is.
    let again = dir.path().join("again.gguf");
    write(&written, Quantisation::Q4K, None, &again);
    let again = GgufFile::open(&again).unwrap();
    for shape in TensorSource::shapes(&written) {
        let name = shape.unwrap().name;
        assert!(again.tensor(name).unwrap().data == written.tensor(name).unwrap().data);
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_a_file_and_the_older_one_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (input, output) = (dir.path().join("in.gguf"), dir.path().join("out.gguf"));
    std::fs::write(&input, model(256).to_gguf()).unwrap();
    std::fs::write(&output, "older").unwrap();
    let quantise = |blocks: &str| {
        let mut command = flambeau(blocks);
        command.arg("quantize").args([&input, &output]);
        command.output().unwrap()
    };
    let full = quantise("100");
    let stderr = String::from_utf8_lossy(&full.stderr);
    assert!(!full.status.success(), "{stderr}");
    assert!(stderr.contains("out.gguf"), "{stderr}");
    assert!(stderr.contains("File too large"), "{stderr}");
    assert_eq!(std::fs::read(&output).unwrap(), b"older");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    let roomy = quantise("unlimited");
    let stderr = String::from_utf8_lossy(&roomy.stderr);
    assert!(roomy.status.success(), "{stderr}");
    GgufFile::open(&output).unwrap();
}

#[test]
fn importance_comes_from_what_weights_meet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.gguf");
    let model = model(256);
    let file = run::open(&model);
    let tokens = run::prompt(&model, 256, 5);
    let mut decoder = decoder(&file, Activations::Float);
    decoder.record_importance();
    perplexity(&decoder, &tokens, 128, None, |_, _| {}).unwrap();
    let importance = decoder.take_importance().unwrap();
    // Seven matrices in each of two layers, and the head.
    assert_eq!(importance.len(), 15);
    assert_eq!(
        importance.of("blk.0.attn_q", 0),
        importance.of("blk.0.attn_v", 0)
    );
    assert_ne!(
        importance.of("blk.0.attn_q", 0),
        importance.of("blk.0.attn_output", 0)
    );
    assert_eq!(importance.of("output", 0).unwrap().len(), 256);
    write(&file, Quantisation::Q4K, Some(&importance), &path);
    let with = GgufFile::open(&path).unwrap();
    let without = dir.path().join("without.gguf");
    write(&file, Quantisation::Q4K, None, &without);
    let without = GgufFile::open(&without).unwrap();
    let name = "blk.0.ffn_up.weight";
    assert!(with.tensor(name).unwrap().data != without.tensor(name).unwrap().data);
}

#[test]
fn a_text_without_a_whole_window_is_an_error() {
    let model = model(64);
    let decoder = decoder(&run::open(&model), Activations::Float);
    let tokens = run::prompt(&model, 100, 5);
    let error = perplexity(&decoder, &tokens, 128, None, |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("100 tokens"), "{error}");
}

#[test]
fn a_folder_becomes_a_gguf_file_of_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out.gguf");
    let cpu = Cpu::new(2).unwrap();
    for name in [
        "llama",
        "llama3",
        "llama-linear",
        "llama-yarn",
        "llama-fp8",
        "mistral-window",
        "qwen2",
        "qwen3",
        "smollm3",
        "phi3",
        "phi3-longrope",
        "gemma2",
        "gemma3",
        "qwen3-moe",
        "mixtral",
        "qwen2-yarn",
        "gpt-oss-mxfp4",
    ] {
        let (checkpoint, config) = Checkpoint::open(&folder(name)).unwrap();
        let source = AsGguf::new(checkpoint.tensors(), &config).unwrap();
        let job = QuantiseJob {
            source: &source,
            entries: source.entries(name),
            mix: Mix {
                num_layers: config.layers.len(),
                ..mix(Quantisation::Q8_0)
            },
            importance: None,
            cpu: &cpu,
        };
        job.write(&path, |_, _| {}).unwrap();
        let file = GgufFile::open(&path).unwrap();
        let (tokens, _) = expected(name);
        let limits = flambeau::model::Limits {
            max_model_len: config.context_length,
            ..run::limits()
        };
        let weights = Weights::load(
            checkpoint.tensors(),
            &config,
            LoadOptions {
                mix: Some(job.mix),
                ..Activations::Int8.into()
            },
            &cpu,
        );
        let weights = Arc::new(weights.unwrap());
        let of_folder = Decoder::new(config.clone(), weights, &limits, cpu.clone()).unwrap();
        let config = ModelConfig::from_gguf(file.metadata()).unwrap();
        let weights = Weights::load(&file, &config, Activations::Int8, &cpu).unwrap();
        let of_file = Decoder::new(config, Arc::new(weights), &limits, cpu.clone()).unwrap();
        let (got, want) = (
            run::alone(&of_file, &tokens),
            run::alone(&of_folder, &tokens),
        );
        // Rounding to int8 tells apart what is summed in another order; FP8 weights are kept in their bits in the one, and
        // rounded to integers in the other.
        let want: Vec<Vec<f64>> = (want.iter())
            .map(|row| row.iter().map(|&x| f64::from(x)).collect())
            .collect();
        let (max, mean) = differences(&got, &want);
        let times = if name == "llama-fp8" { 2.0 } else { 1.0 };
        let (most, mean_most) = INT8_BOUNDS;
        assert!(
            max <= times * most && mean <= times * mean_most,
            "{name}: {max} {mean}"
        );
    }
}

#[test]
fn what_gguf_files_have_no_place_for_is_refused_by_key() {
    for (name, what) in [
        // Its limit is 1, and that of all such files 7.
        ("gpt-oss", "its activation"),
        ("qwen3-moe-mixed", "its layers"),
        ("qwen2-window", "its layers"),
    ] {
        let (checkpoint, config) = Checkpoint::open(&folder(name)).unwrap();
        let error = AsGguf::new(checkpoint.tensors(), &config).err().unwrap();
        assert!(error.to_string().contains(what), "{name}: {error}");
    }
}
