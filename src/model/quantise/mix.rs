//! Which tensor gets which type.

use crate::model::gguf::GgmlType;

/// What a model's weights are quantised to. As llama.cpp does it, what is most sensitive gets more bits, and rows that are no
/// whole number of a type's blocks get another type of about as many bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantisation {
    /// 4 bits, scales and minima of 32 values with 6 bits; 6 bits for the head and some of the values and down projections (as
    /// llama.cpp's Q4_K_M).
    Q4K,
    /// 4 bits, a scale for 32 values; 6 bits for the head.
    Q4_0,
    /// 8 bits, a scale for 32 values.
    Q8_0,
}

/// A quantisation of one model.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// To what.
    pub target: Quantisation,
    /// Layers of the model.
    pub num_layers: usize,
    /// Whether the embedding is the head, too.
    pub has_tied_head: bool,
}

impl Mix {
    /// The type of a tensor, by GGUF's name or by that in safetensors files; `None` if it stays what it is: whatever is no
    /// matrix, and routers, which are small.
    pub fn type_of(&self, name: &str, dims: &[usize]) -> Option<GgmlType> {
        let is_matrix = dims.len() >= 2 && name.ends_with(".weight");
        let is_router = [
            "ffn_gate_inp",
            "mlp.gate.",
            "mlp.router",
            "block_sparse_moe.gate",
        ];
        if !is_matrix || is_router.iter().any(|part| name.contains(part)) {
            return None;
        }
        let has = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
        let is_embedding = has(&["token_embd", "embed_tokens"]);
        let is_head = name.starts_with("output.") || has(&["lm_head"]);
        let is_sensitive = is_head || is_embedding && self.has_tied_head;
        let takes_more = has(&["attn_qkv.", "qkv_proj"])
            || has(&["attn_v.", "v_proj", "ffn_down", "down_proj", ".w2."])
                && layer(name).is_some_and(|i| self.takes_more_bits(i));
        let wanted = match self.target {
            Quantisation::Q8_0 => GgmlType::Q8_0,
            Quantisation::Q4_0 if is_sensitive => GgmlType::Q6K,
            Quantisation::Q4_0 => GgmlType::Q4_0,
            Quantisation::Q4K if is_sensitive || takes_more => GgmlType::Q6K,
            Quantisation::Q4K => GgmlType::Q4K,
        };
        Some(match wanted {
            _ if !dims[0].is_multiple_of(32) => GgmlType::F16,
            GgmlType::Q6K if !dims[0].is_multiple_of(256) => GgmlType::Q8_0,
            GgmlType::Q4K if !dims[0].is_multiple_of(256) => GgmlType::Q5_0,
            wanted => wanted,
        })
    }

    /// The first and the last eighth of the layers, and every third between.
    fn takes_more_bits(&self, layer: usize) -> bool {
        let eighth = self.num_layers / 8;
        layer < eighth || layer >= 7 * self.num_layers / 8 || (layer - eighth) % 3 == 2
    }
}

/// The number after `blk.` or `layers.`.
fn layer(name: &str) -> Option<usize> {
    let (_, rest) = name
        .split_once("blk.")
        .or_else(|| name.split_once("layers."))?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sensitive_gets_more_bits_by_either_name() {
        let mix = Mix {
            target: Quantisation::Q4K,
            num_layers: 16,
            has_tied_head: true,
        };
        for (name, want) in [
            ("token_embd.weight", Some(GgmlType::Q6K)),
            ("model.embed_tokens.weight", Some(GgmlType::Q6K)),
            ("blk.0.attn_v.weight", Some(GgmlType::Q6K)),
            (
                "model.layers.0.self_attn.v_proj.weight",
                Some(GgmlType::Q6K),
            ),
            ("blk.2.attn_v.weight", Some(GgmlType::Q4K)),
            ("blk.4.ffn_down.weight", Some(GgmlType::Q6K)),
            ("blk.15.ffn_down_exps.weight", Some(GgmlType::Q6K)),
            ("blk.15.attn_q.weight", Some(GgmlType::Q4K)),
            ("blk.15.ffn_gate_inp.weight", None),
            ("blk.15.ffn_gate_exps.bias", None),
        ] {
            assert_eq!(mix.type_of(name, &[512, 512]), want, "{name}");
        }
        assert_eq!(mix.type_of("blk.0.attn_norm.weight", &[512]), None);
        let untied = Mix {
            has_tied_head: false,
            ..mix
        };
        let embedding = untied.type_of("token_embd.weight", &[512, 512]);
        assert_eq!(embedding, Some(GgmlType::Q4K));
    }

    #[test]
    fn rows_that_are_no_whole_blocks_get_another_type() {
        for (target, cols, want) in [
            (Quantisation::Q4K, 576, GgmlType::Q5_0),
            (Quantisation::Q4K, 100, GgmlType::F16),
            (Quantisation::Q4_0, 576, GgmlType::Q4_0),
            (Quantisation::Q8_0, 16, GgmlType::F16),
        ] {
            let mix = Mix {
                target,
                num_layers: 8,
                has_tied_head: false,
            };
            assert_eq!(mix.type_of("blk.2.attn_q.weight", &[cols, 64]), Some(want));
        }
    }
}
