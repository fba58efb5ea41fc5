//! A folder of safetensors written as the GGUF file that llama.cpp's converter would make of it.

use std::io::Write;

use flambeau::model::gguf::GgufFile;
use safetensors::SafeTensors;
use serde_json::Value;

use super::blocks::{BF16, F32};
use super::gguf_writer::GgufWriter;
use super::model::{Entry, f32_entry, str_entry, u32_entry};
use super::transformers::folder;

/// The parts of a layer, as `transformers` and GGUF files call them.
const LAYER: [(&str, &str); 13] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.qkv_proj", "attn_qkv"),
    ("self_attn.q_norm", "attn_q_norm"),
    ("self_attn.k_norm", "attn_k_norm"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.gate_up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

fn gguf_name(name: &str) -> String {
    let Some(rest) = name.strip_prefix("model.layers.") else {
        return match name {
            "model.embed_tokens.weight" => "token_embd.weight".into(),
            "model.norm.weight" => "output_norm.weight".into(),
            "lm_head.weight" => "output.weight".into(),
            other => panic!("{other}"),
        };
    };
    let (layer, rest) = rest.split_once('.').unwrap();
    let (part, kind) = rest.rsplit_once('.').unwrap();
    let (_, ours) = LAYER.iter().find(|(theirs, _)| *theirs == part).unwrap();
    format!("blk.{layer}.{ours}.{kind}")
}

/// Puts the rows of each head that turn together beside each other.
fn with_neighbouring_pairs(data: &[u8], num_heads: usize) -> Vec<u8> {
    data.chunks(data.len() / num_heads)
        .flat_map(|head| {
            let (low, high) = head.split_at(head.len() / 2);
            let rows = low.chunks(ROW_BYTES).zip(high.chunks(ROW_BYTES));
            rows.flat_map(|(low, high)| [low, high].concat())
        })
        .collect()
}

/// Of the models' width, 32, in bfloat16.
const ROW_BYTES: usize = 64;

/// The metadata under the architecture's name.
fn entries(config: &Value) -> Vec<(&'static str, Entry)> {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let size = |key: &str| u32_entry(config[key].as_u64().unwrap() as usize);
    let rope = &config["rope_parameters"];
    let mut entries = vec![
        ("block_count", size("num_hidden_layers")),
        ("embedding_length", size("hidden_size")),
        ("feed_forward_length", size("intermediate_size")),
        ("attention.head_count", size("num_attention_heads")),
        ("attention.head_count_kv", size("num_key_value_heads")),
        ("context_length", size("max_position_embeddings")),
        ("vocab_size", size("vocab_size")),
        ("rope.freq_base", f32_entry(number(&rope["rope_theta"]))),
        (
            "attention.layer_norm_rms_epsilon",
            f32_entry(number(&config["rms_norm_eps"])),
        ),
    ];
    let head_dim = config["head_dim"].as_u64().unwrap_or(8) as usize;
    entries.push(("attention.key_length", u32_entry(head_dim)));
    if let Some(part) = rope["partial_rotary_factor"].as_f64() {
        let rotary_dim = (head_dim as f64 * part) as usize;
        entries.push(("rope.dimension_count", u32_entry(rotary_dim)));
    }
    if let Some(window) = config["sliding_window"].as_u64()
        && config["use_sliding_window"] != Value::Bool(false)
    {
        entries.push(("attention.sliding_window", u32_entry(window as usize)));
    }
    let kind = rope["rope_type"].as_str().unwrap();
    if ["linear", "yarn", "longrope"].contains(&kind) {
        entries.push(("rope.scaling.type", str_entry(kind)));
    }
    if let Some(factor) = rope["factor"].as_f64() {
        entries.push(("rope.scaling.factor", f32_entry(factor as f32)));
    }
    if let Some(original) = rope["original_max_position_embeddings"].as_u64() {
        let entry = u32_entry(original as usize);
        entries.push(("rope.scaling.original_context_length", entry));
        if kind == "longrope" {
            let length = config["max_position_embeddings"].as_f64().unwrap();
            let magnitude = (1.0 + (length / original as f64).ln() / (original as f64).ln()).sqrt();
            entries.push(("rope.scaling.attn_factor", f32_entry(magnitude as f32)));
        }
    }
    entries
}

/// The file that stands for the folder `name` as architecture `arch`, in whose files pairs that turn are neighbours or not.
pub fn open(name: &str, arch: &str, has_neighbouring_pairs: bool) -> GgufFile {
    let config = std::fs::read(folder(name).join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let heads = |key: &str| config[key].as_u64().unwrap() as usize;
    let mut file = GgufWriter::new();
    let (ty, value) = str_entry(arch);
    file.entry("general.architecture", ty, &value);
    for (key, (ty, value)) in entries(&config) {
        file.entry(&format!("{arch}.{key}"), ty, &value);
    }
    let bytes = std::fs::read(folder(name).join("model.safetensors")).unwrap();
    for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let dims: Vec<u64> = tensor.shape().iter().rev().map(|&dim| dim as u64).collect();
        let ours = gguf_name(&name);
        let heads = match ours.rsplit_once('.').unwrap().0.rsplit_once('.') {
            Some((_, "attn_q")) => heads("num_attention_heads"),
            Some((_, "attn_k")) => heads("num_key_value_heads"),
            _ => 0,
        };
        match has_neighbouring_pairs && heads > 0 {
            true => file.tensor(
                &ours,
                &dims,
                BF16,
                &with_neighbouring_pairs(tensor.data(), heads),
            ),
            false => file.tensor(&ours, &dims, BF16, tensor.data()),
        };
    }
    for (key, name) in [
        ("short_factor", "rope_factors_short.weight"),
        ("long_factor", "rope_factors_long.weight"),
    ] {
        if let Some(factors) = config["rope_parameters"][key].as_array() {
            let factors = factors.iter().map(|factor| factor.as_f64().unwrap() as f32);
            let bytes: Vec<u8> = factors.flat_map(f32::to_le_bytes).collect();
            file.tensor(name, &[bytes.len() as u64 / 4], F32, &bytes);
        }
    }
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(&file.finish()).unwrap();
    // The mapping outlives the name.
    GgufFile::open(on_disk.path()).unwrap()
}
