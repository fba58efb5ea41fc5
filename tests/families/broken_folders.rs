//! What is wrong with a model's folder is said by file, tensor or key.

use std::fs;
use std::path::Path;

use flambeau::backend::cpu::Cpu;
use flambeau::model::{Activations, Checkpoint, Weights};
use tempfile::TempDir;

use super::transformers::folder;

/// A copy of a good folder.
pub fn copy(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// The error of loading it.
#[track_caller]
pub fn error(folder: &Path) -> String {
    let cpu = Cpu::new(1).unwrap();
    let loaded = Checkpoint::open(folder).and_then(|(checkpoint, config)| {
        Weights::load(checkpoint.tensors(), &config, Activations::Int8, &cpu)
    });
    loaded.err().expect("the folder is broken").to_string()
}

/// Replaces text in config.json.
pub fn configured(name: &str, from: &str, to: &str) -> TempDir {
    let copy = copy(name);
    let path = copy.path().join("config.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    fs::write(&path, text.replace(from, to)).unwrap();
    copy
}

fn shard(folder: &Path, i: usize) -> std::path::PathBuf {
    let mut shards: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("model-")
        })
        .collect();
    shards.sort();
    shards.swap_remove(i)
}

#[test]
fn a_shard_that_is_missing_or_cut_is_named() {
    for length in [None, Some(0), Some(5), Some(300)] {
        let folder = copy("llama3");
        let path = shard(folder.path(), 1);
        match length {
            None => fs::remove_file(&path).unwrap(),
            Some(length) => {
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(length).unwrap();
            }
        }
        let error = error(folder.path());
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(error.contains(name), "{length:?}: {error}");
    }
}

#[test]
fn an_index_that_leads_out_of_the_folder_or_to_the_wrong_shard_is_refused() {
    let (first, second) = ("model-00001-of-", "model-00002-of-");
    for (from, to) in [(first, "../model-00001-of-"), (first, second)] {
        let folder = copy("llama3");
        let path = folder.path().join("model.safetensors.index.json");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let error = error(folder.path());
        assert!(error.contains("index.json"), "{error}");
    }
}

#[test]
fn a_tensor_that_is_missing_or_has_another_shape_or_no_use_is_named() {
    for (key, from, to, tensor) in [
        (
            "num_hidden_layers",
            2,
            3,
            "model.layers.2.input_layernorm.weight",
        ),
        ("num_hidden_layers", 2, 1, "model.layers.1."),
        (
            "intermediate_size",
            48,
            56,
            "model.layers.0.mlp.gate_proj.weight",
        ),
    ] {
        let (from, to) = (format!("\"{key}\": {from}"), format!("\"{key}\": {to}"));
        let error = error(configured("llama", &from, &to).path());
        assert!(error.contains(tensor), "{to}: {error}");
    }
}

#[test]
fn a_key_that_asks_for_another_computation_is_named() {
    for (name, from, to, key) in [
        (
            "llama",
            r#""model_type": "llama""#,
            r#""model_type": "mamba""#,
            "model_type",
        ),
        (
            "llama",
            r#""hidden_act": "silu""#,
            r#""hidden_act": "gelu""#,
            "hidden_act",
        ),
        (
            "llama",
            r#""num_key_value_heads": 2"#,
            r#""num_key_value_heads": 3"#,
            "num_key_value_heads",
        ),
        (
            "llama",
            r#""num_attention_heads": 4"#,
            r#""num_attention_heads": 0"#,
            "num_attention_heads",
        ),
        (
            "llama",
            r#""rms_norm_eps": 1e-06"#,
            r#""rms_norm_eps": -1.0"#,
            "rms_norm_eps",
        ),
        (
            "llama",
            r#""hidden_act""#,
            r#""quantization_config": {"quant_method": "awq"}, "hidden_act""#,
            "quantization_config",
        ),
        (
            "llama",
            r#""hidden_act""#,
            r#""partial_rotary_factor": 0.5, "hidden_act""#,
            "partial_rotary_factor",
        ),
        (
            "mistral",
            r#""sliding_window""#,
            r#""window""#,
            "sliding_window",
        ),
        (
            "llama3",
            r#""rope_type": "llama3""#,
            r#""rope_type": "spiral""#,
            "rope_parameters.rope_type: \"spiral\"",
        ),
        (
            "qwen2-yarn",
            r#""beta_fast": 8"#,
            r#""beta_fast": 1"#,
            "rope_parameters.beta_fast",
        ),
        (
            "llama-yarn",
            r#""original_max_position_embeddings": 32"#,
            r#""original": 32"#,
            "rope_parameters.original_max_position_embeddings",
        ),
        (
            "phi3-longrope",
            r#""short_factor": ["#,
            r#""short_factor": [1.0,"#,
            "rope_parameters.short_factor",
        ),
        (
            "phi3",
            r#""partial_rotary_factor": 1.0"#,
            r#""partial_rotary_factor": 0.1"#,
            "partial_rotary_factor",
        ),
        (
            "smollm3",
            r#""no_rope_layers": ["#,
            r#""no_rope_layers": [1,"#,
            "no_rope_layers",
        ),
        (
            "llama3",
            r#""factor": 8.0"#,
            r#""other": 8.0"#,
            "rope_parameters.factor",
        ),
        (
            "llama3",
            r#""high_freq_factor": 4.0"#,
            r#""high_freq_factor": 1.0"#,
            "rope_parameters.high_freq_factor",
        ),
    ] {
        let error = error(configured(name, from, to).path());
        assert!(
            error.contains(&format!("config.json: {key}")),
            "{key}: {error}"
        );
    }
}

#[test]
fn keys_that_some_families_alone_have_are_read_in_no_other_and_never_half() {
    for (name, from, to, key) in [
        (
            "gemma3",
            r#""model_type""#,
            r#""text_config": 5, "model_type""#,
            "text_config",
        ),
        (
            "gemma3",
            r#""_sliding_window_pattern": 6"#,
            r#""sliding_window_pattern": 0"#,
            "sliding_window_pattern",
        ),
        (
            "gpt-oss",
            r#""rope_parameters""#,
            r#""other_parameters""#,
            "rope_scaling",
        ),
        (
            "llama",
            r#""rope_parameters": {"#,
            r#""rope_parameters": {"full_attention": {}, "sliding_attention": {},"#,
            "rope_parameters",
        ),
    ] {
        let text = configured(name, from, to);
        let path = text.path().join("config.json");
        // The pattern counts where no list says more.
        let json = fs::read_to_string(&path).unwrap();
        fs::write(&path, json.replace("\"layer_types\"", "\"other_types\"")).unwrap();
        let error = error(text.path());
        assert!(
            error.contains(&format!("config.json: {key}")),
            "{key}: {error}"
        );
    }
    let half = configured("gemma3", r#""factor": 4.0"#, r#""factor": "4""#);
    assert!(error(half.path()).contains("config.json"));
    // A Llama's text_config is nobody's business.
    let copy = configured(
        "llama",
        r#""model_type""#,
        r#""text_config": 5, "model_type""#,
    );
    assert!(Checkpoint::open(copy.path()).is_ok());
}

#[test]
fn a_config_that_is_no_json_or_lacks_a_key_is_an_error_naming_it() {
    let no_key = configured("llama", r#""vocab_size""#, r#""size_of_vocabulary""#);
    let message = error(no_key.path());
    assert!(
        message.contains("config.json") && message.contains("vocab_size"),
        "{message}"
    );
    let folder = copy("llama");
    fs::write(folder.path().join("config.json"), "{").unwrap();
    let message = error(folder.path());
    assert!(message.contains("config.json"), "{message}");
}
