//! How large a model's weights are, from its configuration alone.

use super::quantise::Mix;
use super::{ExpertsConfig, ModelConfig};
use crate::ops::WeightFormat;

impl ModelConfig {
    /// All matrices, by GGUF's names: `[inputs, outputs]`, or `[inputs, outputs, experts]`.
    pub fn matrices(&self, has_tied_head: bool) -> Vec<(String, Vec<usize>)> {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (
            self.num_heads * self.head_dim,
            self.num_kv_heads * self.head_dim,
        );
        let mut matrices = vec![(
            "token_embd.weight".to_owned(),
            vec![hidden, self.vocab_size],
        )];
        if !has_tied_head {
            matrices.push(("output.weight".to_owned(), vec![hidden, self.vocab_size]));
        }
        for (i, layer) in self.layers.iter().enumerate() {
            let mut add = |part: &str, dims: &[usize]| {
                matrices.push((format!("blk.{i}.{part}.weight"), dims.to_vec()));
            };
            add("attn_q", &[hidden, q]);
            add("attn_k", &[hidden, kv]);
            add("attn_v", &[hidden, kv]);
            add("attn_output", &[q, hidden]);
            match self.experts.filter(|_| layer.has_experts) {
                None => {
                    add("ffn_gate", &[hidden, inner]);
                    add("ffn_up", &[hidden, inner]);
                    add("ffn_down", &[inner, hidden]);
                }
                Some(ExpertsConfig {
                    num_experts,
                    intermediate_size: inner,
                    ..
                }) => {
                    add("ffn_gate_inp", &[hidden, num_experts]);
                    add("ffn_gate_exps", &[hidden, inner, num_experts]);
                    add("ffn_up_exps", &[hidden, inner, num_experts]);
                    add("ffn_down_exps", &[inner, hidden, num_experts]);
                }
            }
        }
        matrices
    }

    /// Values of all matrices.
    pub fn num_parameters(&self, has_tied_head: bool) -> u64 {
        let matrices = self.matrices(has_tied_head);
        let sizes = matrices
            .iter()
            .map(|(_, dims)| dims.iter().product::<usize>());
        sizes.sum::<usize>() as u64
    }

    /// Bytes of the repacked matrices, quantised or in bfloat16.
    pub fn weight_bytes(&self, has_tied_head: bool, mix: Option<Mix>) -> u64 {
        self.bytes_in(has_tied_head, |name, dims| {
            mix?.type_of(name, dims)?.weight_format()
        })
    }

    /// Bytes of the repacked matrices in the formats that `format_of` gives for their names and dimensions, or in bfloat16.
    pub(super) fn bytes_in(
        &self,
        has_tied_head: bool,
        format_of: impl Fn(&str, &[usize]) -> Option<WeightFormat>,
    ) -> u64 {
        let bytes = |(name, dims): &(String, Vec<usize>)| {
            let format = format_of(name, dims).unwrap_or(WeightFormat::BF16);
            let num_experts: usize = dims[2..].iter().product();
            format.packed_bytes(dims[1], dims[0]) * num_experts
        };
        let matrices = self.matrices(has_tied_head);
        matrices.iter().map(bytes).sum::<usize>() as u64
    }
}
