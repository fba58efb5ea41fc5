//! A folder of safetensors written as the GGUF file that llama.cpp's converter would make of it.

mod experts;
mod metadata;

use std::io::Write;

use flambeau::model::gguf::GgufFile;
use safetensors::SafeTensors;
use serde_json::Value;

use super::blocks::{BF16, F32};
use super::gguf_writer::GgufWriter;
use super::model::str_entry;
use super::transformers::folder;

/// The parts of a layer, as `transformers` and GGUF files call them.
const LAYER: [(&str, &str); 18] = [
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
    ("mlp.gate", "ffn_gate_inp"),
    ("mlp.router", "ffn_gate_inp"),
    ("block_sparse_moe.gate", "ffn_gate_inp"),
    ("pre_feedforward_layernorm", "ffn_norm"),
    ("post_feedforward_layernorm", "post_ffw_norm"),
];

fn gguf_name(name: &str, is_gemma: bool) -> String {
    let Some(rest) = name.strip_prefix("model.layers.") else {
        return match name {
            "model.embed_tokens.weight" => "token_embd.weight".into(),
            "model.norm.weight" => "output_norm.weight".into(),
            "lm_head.weight" => "output.weight".into(),
            other => panic!("{other}"),
        };
    };
    let (layer, rest) = rest.split_once('.').unwrap();
    match rest {
        "self_attn.sinks" => return format!("blk.{layer}.attn_sinks.weight"),
        "post_attention_layernorm.weight" if is_gemma => {
            return format!("blk.{layer}.post_attention_norm.weight");
        }
        _ => {}
    }
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

/// A tensor of the file.
pub struct GgufTensor {
    pub name: String,
    pub dims: Vec<u64>,
    pub ty: u32,
    pub data: Vec<u8>,
}

/// Gemma's, to which converters add the one that its classes add.
fn with_one(data: &[u8]) -> Vec<u8> {
    let values = data.as_chunks::<2>().0.iter();
    let values = values.map(|&bytes| half::bf16::from_le_bytes(bytes).to_f32() + 1.0);
    values.flat_map(f32::to_le_bytes).collect()
}

fn tensor(name: &str, shape: &[usize], data: &[u8], to: &Target<'_>) -> GgufTensor {
    let is_gemma = to.arch.starts_with("gemma");
    let name = gguf_name(name, is_gemma);
    let dims = shape.iter().rev().map(|&dim| dim as u64).collect();
    let heads = match name.rsplit_once('.').unwrap().0.rsplit_once('.') {
        Some((_, "attn_q")) => "num_attention_heads",
        Some((_, "attn_k")) => "num_key_value_heads",
        _ => "",
    };
    let heads = to.config[heads].as_u64().unwrap_or(0) as usize;
    let (ty, data) = match (is_gemma && name.contains("norm"), heads) {
        (true, _) => (F32, with_one(data)),
        (false, 1..) if to.has_neighbouring_pairs => (BF16, with_neighbouring_pairs(data, heads)),
        _ => (BF16, data.to_vec()),
    };
    GgufTensor {
        name,
        dims,
        ty,
        data,
    }
}

/// What a file is made for.
struct Target<'a> {
    arch: &'a str,
    has_neighbouring_pairs: bool,
    config: &'a Value,
}

/// The file that stands for the folder `name` as architecture `arch`, in whose files pairs that turn are neighbours or not.
pub fn open(name: &str, arch: &str, has_neighbouring_pairs: bool) -> GgufFile {
    let config = std::fs::read(folder(name).join("config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    let mut file = GgufWriter::new();
    let (ty, value) = str_entry(arch);
    file.entry("general.architecture", ty, &value);
    for (key, (ty, value)) in metadata::entries(&config) {
        file.entry(&format!("{arch}.{key}"), ty, &value);
    }
    let target = Target {
        arch,
        has_neighbouring_pairs,
        config: &config,
    };
    let bytes = std::fs::read(folder(name).join("model.safetensors")).unwrap();
    let source = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = source.tensors().into_iter();
    let tensors = tensors.filter(|(name, _)| !name.contains("experts"));
    let tensors = tensors.map(|(name, view)| tensor(&name, view.shape(), view.data(), &target));
    for tensor in tensors.chain(experts::tensors(&source, &config)) {
        file.tensor(&tensor.name, &tensor.dims, tensor.ty, &tensor.data);
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
