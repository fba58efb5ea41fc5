//! Routed experts: one tensor for each projection of a layer, the experts' parts one after the other.

use safetensors::SafeTensors;
use serde_json::Value;

use super::super::blocks::{BF16, MXFP4};
use super::GgufTensor;

/// The projections, and what Qwen's, Mixtral's and gpt-oss's files call them; of the last, the first of every second row.
const PROJECTIONS: [(&str, &str, &str, &str, Option<usize>); 3] = [
    ("ffn_gate_exps", "gate_proj", "w1", "gate_up_proj", Some(0)),
    ("ffn_up_exps", "up_proj", "w3", "gate_up_proj", Some(1)),
    ("ffn_down_exps", "down_proj", "w2", "down_proj", None),
];

pub fn tensors(source: &SafeTensors<'_>, config: &Value) -> Vec<GgufTensor> {
    let Some(num_experts) = config["num_local_experts"].as_u64() else {
        return Vec::new();
    };
    let num_layers = config["num_hidden_layers"].as_u64().unwrap();
    let mut tensors = Vec::new();
    for layer in 0..num_layers {
        let of_layer = format!("model.layers.{layer}");
        for (ours, qwen, mixtral, fused, every_second) in PROJECTIONS {
            let name = format!("blk.{layer}.{ours}");
            let fused = format!("{of_layer}.mlp.experts.{fused}");
            if source.tensor(&format!("{fused}_bias")).is_ok() {
                tensors.extend(of_fused(source, &name, &fused, every_second));
                continue;
            }
            let each = (0..num_experts).map(|e| {
                let qwen = source.tensor(&format!("{of_layer}.mlp.experts.{e}.{qwen}.weight"));
                qwen.or_else(|_| {
                    source.tensor(&format!(
                        "{of_layer}.block_sparse_moe.experts.{e}.{mixtral}.weight"
                    ))
                })
                .unwrap()
            });
            let each: Vec<_> = each.collect();
            let (rows, cols) = (each[0].shape()[0], each[0].shape()[1]);
            tensors.push(GgufTensor {
                name: format!("{name}.weight"),
                dims: vec![cols as u64, rows as u64, num_experts],
                ty: BF16,
                data: each.iter().flat_map(|view| view.data()).copied().collect(),
            });
        }
    }
    tensors
}

/// Weight, in MXFP4, and bias of a projection whose experts share tensors.
fn of_fused(
    source: &SafeTensors<'_>,
    name: &str,
    fused: &str,
    every_second: Option<usize>,
) -> [GgufTensor; 2] {
    let (first, step) = every_second.map_or((0, 1), |first| (first, 2));
    let view = source.tensor(&format!("{fused}_bias")).unwrap();
    let (num_experts, outputs) = (view.shape()[0], view.shape()[1]);
    let rows = outputs / step;
    let row = |i: usize| first + step * i;
    let pairs = (0..num_experts).flat_map(|e| (0..rows).map(move |i| (e, row(i))));
    let bias = pairs
        .clone()
        .flat_map(|(e, row)| &view.data()[2 * (e * outputs + row)..][..2]);
    let bias = GgufTensor {
        name: format!("{name}.bias"),
        dims: vec![rows as u64, num_experts as u64],
        ty: BF16,
        data: bias.copied().collect(),
    };
    let blocks = source.tensor(&format!("{fused}_blocks")).unwrap();
    let scales = source.tensor(&format!("{fused}_scales")).unwrap();
    let num_blocks = blocks.shape()[2];
    let mut data = Vec::new();
    for (e, row) in pairs {
        for b in 0..num_blocks {
            let at = (e * outputs + row) * num_blocks + b;
            let nibbles: Vec<u8> = (blocks.data()[16 * at..][..16].iter())
                .flat_map(|byte| [byte & 15, byte >> 4])
                .collect();
            data.push(scales.data()[at]);
            data.extend((0..16).map(|j| nibbles[j] | nibbles[j + 16] << 4));
        }
    }
    let weight = GgufTensor {
        name: format!("{name}.weight"),
        dims: vec![32 * num_blocks as u64, rows as u64, num_experts as u64],
        ty: MXFP4,
        data,
    };
    [weight, bias]
}
