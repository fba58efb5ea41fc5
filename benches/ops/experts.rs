//! The feed-forward of routed experts, at the shapes of a layer of Qwen3-30B-A3B in Q4_K.

use std::hint::black_box;

use candle_core::DType;
use flambeau::backend::Device;
use flambeau::backend::cpu::Cpu;
use flambeau::ops::{
    Glu, LinearGroup, LinearPart, PackedWeight, Routing, Tensor, WeightFormat, combine_experts,
    gated_activation, gather_rows, matmul_groups,
};

use super::normal;

use crate::limits::{Limits, Numbers};
use crate::{blocks, seconds};

const HIDDEN: usize = 2048;
const INNER: usize = 768;
const NUM_EXPERTS: usize = 128;
const TOP_K: usize = 8;

struct Expert {
    gate: PackedWeight,
    up: PackedWeight,
    down: PackedWeight,
}

pub fn bench(cpu: &Cpu, limits: &Limits) -> anyhow::Result<()> {
    let raw = blocks(INNER * HIDDEN / 256, 144, &[0, 2]);
    let weight = |n, k| PackedWeight::new(WeightFormat::Q4K, n, k, &raw, cpu);
    let experts = (0..NUM_EXPERTS)
        .map(|_| {
            anyhow::Ok(Expert {
                gate: weight(INNER, HIDDEN)?,
                up: weight(INNER, HIDDEN)?,
                down: weight(HIDDEN, INNER)?,
            })
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    println!(
        "{:<20}{:>12}{:>10}{:>14}{:>10}",
        "experts", "µs a layer", "GMAC/s", "weights GB/s", "of limit"
    );
    for num_rows in [1, 8, 64, 512] {
        let zeros = |rows, cols| Tensor::zeros((rows, cols), DType::F32, &Device::Cpu);
        let x = normal((num_rows, HIDDEN))?;
        let logits = normal((num_rows, NUM_EXPERTS))?;
        let num_pairs = num_rows * TOP_K;
        let (gathered, gate_up) = (zeros(num_pairs, HIDDEN)?, zeros(num_pairs, 2 * INNER)?);
        let (activated, outputs) = (zeros(num_pairs, INNER)?, zeros(num_pairs, HIDDEN)?);
        let out = zeros(num_rows, HIDDEN)?;
        let layer = || {
            let routing = Routing::new(&logits, TOP_K, true)?;
            let groups = |parts: fn(&Expert) -> Vec<&PackedWeight>| {
                let group = |(expert, rows)| LinearGroup {
                    rows,
                    parts: (parts(&experts[expert]).into_iter())
                        .map(|weight| LinearPart { weight, bias: None })
                        .collect(),
                };
                routing.experts().map(group).collect::<Vec<_>>()
            };
            gather_rows(&gathered, &x, routing.rows())?;
            let first = groups(|expert| vec![&expert.gate, &expert.up]);
            matmul_groups(&gate_up, &gathered, &first, cpu)?;
            gated_activation(&activated, &gate_up, Glu::Silu, cpu)?;
            matmul_groups(
                &outputs,
                &activated,
                &groups(|expert| vec![&expert.down]),
                cpu,
            )?;
            combine_experts(black_box(&out), &outputs, &routing, cpu)
        };
        let time = seconds(|| layer().expect("shapes fit"));
        let num_used = Routing::new(&logits, TOP_K, true)?.experts().count();
        let bytes = num_used * 3 * experts[0].gate.num_bytes();
        let macs = (num_pairs * 3 * HIDDEN * INNER) as f64;
        println!(
            "{:<20}{:>12.0}{:>10.1}{:>14.1}{:>9.0}%",
            format!("{num_rows} rows, {num_used} used"),
            time * 1e6,
            macs / time / 1e9,
            bytes as f64 / time / 1e9,
            limits.share(time, Numbers::Int8, macs, bytes) * 1e2
        );
    }
    Ok(())
}
