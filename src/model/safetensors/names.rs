//! What `transformers` calls the tensors of a Llama-shaped decoder.

/// The parts of a layer, by GGUF's name and by the one in a safetensors file. Where there are several, the first that is there
/// counts: what follows attention in Gemma's files is called like what precedes the feed-forward in others'.
const LAYER: [(&str, &str); 18] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_qkv", "self_attn.qkv_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("attn_output", "self_attn.o_proj"),
    ("post_attention_norm", "post_attention_layernorm"),
    ("ffn_norm", "pre_feedforward_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_gate_up", "mlp.gate_up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("post_ffw_norm", "post_feedforward_layernorm"),
    ("ffn_gate_inp", "mlp.gate"),
    ("ffn_gate_inp", "block_sparse_moe.gate"),
];

/// gpt-oss's, whose router has a name of its own.
const ROUTER: &str = "mlp.router";

/// The part of a layer and the rest of its name: `blk.3.attn_q.weight` is `(3, attn_q, weight)`.
pub(super) fn split(name: &str) -> Option<(&str, &str, &str)> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (part, kind) = rest.split_once('.')?;
    Some((layer, part, kind))
}

/// The names that the tensor may have that a GGUF file would call `name`, without what a folder puts before all of them.
pub(in crate::model) fn names_of(name: &str) -> Vec<String> {
    match name {
        "token_embd.weight" => return vec!["model.embed_tokens.weight".into()],
        "output_norm.weight" => return vec!["model.norm.weight".into()],
        "output.weight" => return vec!["lm_head.weight".into()],
        _ => {}
    }
    let Some((layer, part, kind)) = split(name) else {
        return Vec::new();
    };
    if (part, kind) == ("attn_sinks", "weight") {
        return vec![format!("model.layers.{layer}.self_attn.sinks")];
    }
    let router = (part == "ffn_gate_inp").then_some(&ROUTER);
    let theirs = LAYER.iter().filter(|(ours, _)| *ours == part);
    let theirs = theirs.map(|(_, theirs)| theirs).chain(router);
    theirs
        .map(|theirs| format!("model.layers.{layer}.{theirs}.{kind}"))
        .collect()
}

/// What GGUF files call the linear layer that `transformers` calls `module` (`model.layers.3.self_attn.q_proj`), if every layer has one.
pub(in crate::model) fn part_of(module: &str) -> Option<String> {
    let (before, rest) = module.split_once("layers.")?;
    let is_decoder = before.is_empty() || PREFIXES.contains(&before);
    let (layer, theirs) = rest.split_once('.')?;
    let (ours, _) = LAYER
        .iter()
        .find(|(_, known)| *known == theirs && is_decoder)?;
    // Of one tensor, gate and up are called as GGUF files call them.
    let ours = if *ours == "ffn_gate_up" {
        "ffn_up"
    } else {
        ours
    };
    Some(format!("blk.{layer}.{ours}"))
}

const PREFIXES: [&str; 3] = ["model.", "language_model.model.", "model.language_model."];

/// What the folder has in the place of `model.`, where models of images and texts have the decoder's tensors.
pub(super) fn prefix(has_tensor: impl Fn(&str) -> bool) -> &'static str {
    let is_there = |prefix: &&&str| has_tensor(&format!("{prefix}embed_tokens.weight"));
    PREFIXES
        .iter()
        .find(is_there)
        .copied()
        .unwrap_or(PREFIXES[0])
}

/// Whether the tensor says nothing of the decoder that the configuration does not say: old files have the rotary frequencies
/// in them, and models of images and texts have what reads images.
pub(super) fn is_redundant(name: &str) -> bool {
    const OF_IMAGES: [&str; 2] = ["vision_tower.", "multi_modal_projector."];
    let part = name.strip_prefix("model.").unwrap_or(name);
    name.ends_with(".rotary_emb.inv_freq") || OF_IMAGES.iter().any(|known| part.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for (ours, theirs) in [
            ("token_embd.weight", &["model.embed_tokens.weight"][..]),
            ("output.weight", &["lm_head.weight"]),
            (
                "blk.12.attn_q.bias",
                &["model.layers.12.self_attn.q_proj.bias"],
            ),
            (
                "blk.0.ffn_norm.weight",
                &[
                    "model.layers.0.pre_feedforward_layernorm.weight",
                    "model.layers.0.post_attention_layernorm.weight",
                ],
            ),
            (
                "blk.7.ffn_gate_inp.bias",
                &[
                    "model.layers.7.mlp.gate.bias",
                    "model.layers.7.block_sparse_moe.gate.bias",
                    "model.layers.7.mlp.router.bias",
                ],
            ),
        ] {
            assert_eq!(names_of(ours), theirs);
        }
        for ours in ["rope_freqs.weight", "blk.0.other.weight", "blk.0", "blk.x"] {
            assert!(names_of(ours).is_empty(), "{ours}");
        }
    }

    #[test]
    fn what_stands_before_the_names_is_found() {
        for before in ["model.", "language_model.model.", "model.language_model."] {
            let name = format!("{before}embed_tokens.weight");
            assert_eq!(prefix(|asked| asked == name), before);
        }
        assert_eq!(prefix(|_| false), "model.");
    }
}
