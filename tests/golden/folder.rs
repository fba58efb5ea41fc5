//! The default model's file, decoded to bfloat16 and written as a folder of safetensors.

use std::fs;
use std::path::Path;

use flambeau::model::gguf::GgufFile;
use half::bf16;
use safetensors::tensor::{Dtype, TensorView};

/// The parts of a layer, as GGUF files and `transformers` call them.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

fn theirs(name: &str) -> String {
    match name {
        "token_embd.weight" => return "model.embed_tokens.weight".into(),
        "output_norm.weight" => return "model.norm.weight".into(),
        _ => {}
    }
    let mut parts = name.split('.').skip(1);
    let (layer, part) = (parts.next().unwrap(), parts.next().unwrap());
    let (_, theirs) = LAYER.iter().find(|(ours, _)| *ours == part).unwrap();
    format!("model.layers.{layer}.{theirs}.weight")
}

/// The rows of each head with neighbours that turn together, as two halves.
fn halves(values: &[f32], heads: usize, cols: usize) -> Vec<f32> {
    let heads = values.chunks(values.len() / heads);
    heads
        .flat_map(|head| {
            let rows: Vec<&[f32]> = head.chunks(cols).collect();
            let (even, odd) = (rows.iter().step_by(2), rows.iter().skip(1).step_by(2));
            even.chain(odd)
                .copied()
                .flatten()
                .copied()
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Writes config.json and model.safetensors into `folder`.
pub fn write(file: &GgufFile, folder: &Path) {
    let metadata = file.metadata();
    let size = |key: &str| metadata.get_u32(&format!("llama.{key}")).unwrap();
    let (heads, kv_heads) = (
        size("attention.head_count"),
        size("attention.head_count_kv"),
    );
    let config = serde_json::json!({
        "model_type": "llama",
        "hidden_size": size("embedding_length"),
        "intermediate_size": size("feed_forward_length"),
        "num_hidden_layers": size("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": size("vocab_size"),
        "rms_norm_eps": metadata.get_f32("llama.attention.layer_norm_rms_epsilon").unwrap(),
        "max_position_embeddings": size("context_length"),
        "rope_theta": metadata.get_f32("llama.rope.freq_base").unwrap(),
        "tie_word_embeddings": true,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let tensors = file.tensors().map(|tensor| {
        let tensor = tensor.unwrap();
        let mut values = vec![0.0; tensor.rows() * tensor.cols()];
        tensor.dequantise_into(&mut values).unwrap();
        if tensor.name.ends_with("attn_q.weight") {
            values = halves(&values, heads as usize, tensor.cols());
        } else if tensor.name.ends_with("attn_k.weight") {
            values = halves(&values, kv_heads as usize, tensor.cols());
        }
        let bytes = values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes());
        let shape: Vec<usize> = tensor.dims.iter().rev().copied().collect();
        (theirs(tensor.name), shape, bytes.collect::<Vec<u8>>())
    });
    let tensors: Vec<_> = tensors.collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), bytes).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}
