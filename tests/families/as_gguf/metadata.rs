//! The metadata that llama.cpp's converter would write.

use serde_json::Value;

use super::super::model::{Entry, f32_entry, str_entry, u32_entry};

/// The metadata under the architecture's name.
pub fn entries(config: &Value) -> Vec<(&'static str, Entry)> {
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let size = |key: &str| u32_entry(config[key].as_u64().unwrap() as usize);
    // Layers with a window turn by frequencies that files do not name.
    let rope = match &config["rope_parameters"]["full_attention"] {
        Value::Null => &config["rope_parameters"],
        full => full,
    };
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
    for (key, ours) in [
        ("num_local_experts", "expert_count"),
        ("num_experts_per_tok", "expert_used_count"),
        ("moe_intermediate_size", "expert_feed_forward_length"),
    ] {
        if !config[key].is_null() {
            entries.push((ours, size(key)));
        }
    }
    if let Some(base) = config["rope_parameters"]["sliding_attention"]["rope_theta"].as_f64() {
        entries.push(("rope.freq_base_swa", f32_entry(base as f32)));
    }
    if let Some(width) = config["query_pre_attn_scalar"].as_f64() {
        entries.push(("attention.scale", f32_entry(1.0 / width.sqrt() as f32)));
    }
    for (key, ours) in [
        ("attn_logit_softcapping", "attn_logit_softcapping"),
        ("final_logit_softcapping", "final_logit_softcapping"),
    ] {
        if let Some(cap) = config[key].as_f64() {
            entries.push((ours, f32_entry(cap as f32)));
        }
    }
    entries
}
