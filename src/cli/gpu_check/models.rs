//! Whole models of random weights: logits against the CPU's, and answers whoever shares the batch.

use std::sync::Arc;

use anyhow::Result;

use super::super::bench::rng::Rng;
use super::report::Report;
use super::{num_different, relative_error};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Cuda;
use crate::model::gguf::GgmlType;
use crate::model::{
    Activations, Decoder, Encoding, ExpertsConfig, Limits, LoadOptions, ModelConfig, RandomModel,
    Weights, llama_of,
};
use crate::ops::KvDtype;
use crate::request::SamplingParams;
use crate::scheduler::{SampleRow, SequenceId, StepPlan};

const NUM_TOKENS: usize = 280;

pub(super) fn check(report: &mut Report, cuda: &Cuda, cpu: &Cpu) -> Result<()> {
    let dense = llama_of(2, (128, 256), (4, 2, 64), 256);
    let qk_norm = ModelConfig {
        has_qk_norm: true,
        ..llama_of(2, (128, 256), (2, 1, 128), 256)
    };
    let mut experts = llama_of(2, (128, 256), (4, 2, 64), 256);
    experts.experts = Some(ExpertsConfig {
        num_experts: 8,
        top_k: 2,
        intermediate_size: 64,
        is_normalised: true,
    });
    experts
        .layers
        .iter_mut()
        .for_each(|layer| layer.has_experts = true);
    let quantised = llama_of(2, (256, 512), (4, 2, 64), 256);
    for (name, config, encoding, bound) in [
        ("dense, BF16", dense, Encoding::Ggml(GgmlType::BF16), 0.02),
        (
            "with norms of heads, BF16",
            qk_norm,
            Encoding::Ggml(GgmlType::BF16),
            0.02,
        ),
        (
            "with experts, BF16",
            experts,
            Encoding::Ggml(GgmlType::BF16),
            0.03,
        ),
        (
            "dense, Q4_K",
            quantised.clone(),
            Encoding::Ggml(GgmlType::Q4K),
            0.02,
        ),
        ("dense, FP8", quantised, Encoding::Fp8, 0.02),
    ] {
        let model = random_model(&config, encoding, cpu);
        let decoder = |activations: Activations, device| {
            let options = LoadOptions {
                device,
                ..activations.into()
            };
            let weights = Weights::load(&model, &config, options, cpu)?;
            Ok::<_, anyhow::Error>(Decoder::new(
                config.clone(),
                Arc::new(weights),
                &limits(),
                cpu.clone(),
            )?)
        };
        let want = logits(&decoder(Activations::Float, Device::Cpu)?, &[NUM_TOKENS])?;
        let card = decoder(Activations::Int8, Device::Cuda(cuda.clone()))?;
        let whole = logits(&card, &[NUM_TOKENS])?;
        report.check(
            format!("logits, {name}"),
            relative_error(&whole, &want),
            bound,
        );
        let parts = [1, 34, 275, 276, 277, NUM_TOKENS];
        let different = num_different(&logits(&card, &parts)?, &whole, config.vocab_size);
        report.check(
            format!("rows that differ in parts, {name}"),
            different as f64,
            0.0,
        );
    }
    Ok(())
}

fn limits() -> Limits {
    Limits {
        max_num_batched_tokens: NUM_TOKENS,
        max_samples: NUM_TOKENS,
        max_model_len: 512,
        num_blocks: 32,
        num_host_blocks: 0,
        block_size: 16,
        kv_dtype: KvDtype::Bf16,
    }
}

/// The logits of all rows of one sequence, computed in parts with these ends.
fn logits(decoder: &Decoder, ends: &[usize]) -> Result<Vec<f32>> {
    let (mut all, mut start) = (Vec::new(), 0);
    for &end in ends {
        let part = start..end;
        start = end;
        let num_rows = part.len() as u32;
        let sample = |row_idx: u32| SampleRow {
            row_idx,
            sampling: Arc::new(SamplingParams::greedy()),
            position: part.start as u32 + row_idx + 1,
            history: 0..0,
            num_prompt_tokens: 0,
            banned: 0..0,
            mask: None,
            known: None,
        };
        let num_blocks = part.end.div_ceil(16) as u32;
        let positions = part.clone().map(|i| i as u32);
        let plan = StepPlan {
            token_ids: positions.clone().map(|i| i * 31 % 256).collect(),
            positions: positions.clone().collect(),
            // Blocks from the top.
            slot_mapping: positions.map(|i| (31 - i / 16) * 16 + i % 16).collect(),
            sequences: vec![SequenceId(0)],
            adapters: vec![None],
            cu_seqlens_q: vec![0, num_rows],
            context_lens: vec![part.end as u32],
            block_tables: (0..num_blocks).map(|i| 31 - i).collect(),
            block_table_offsets: vec![0, num_blocks],
            samples: (0..num_rows).map(sample).collect(),
            ..StepPlan::default()
        };
        if let Some(logits) = decoder.forward(&plan, None)? {
            all.extend(logits.to_vec()?);
        }
    }
    Ok(all)
}

/// A model of random weights, the same each time.
pub(super) fn random_model(config: &ModelConfig, encoding: Encoding, cpu: &Cpu) -> RandomModel {
    let mut random = Rng::keyed(5, 0);
    // The sum of four uniform ones is near enough to normal.
    let draw = || {
        let sum: f64 = (0..4).map(|_| random.unit() - 0.5).sum();
        (sum * 3f64.sqrt()) as f32
    };
    RandomModel::new(config, encoding, draw, cpu)
}
