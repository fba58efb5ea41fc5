//! The time of whole decoder steps on the real default model: `cargo bench --bench steps`.
//!
//! Random tokens straight into the decoder, without engine or sampling. The cases take turns and the best of many rounds
//! counts: other processes only ever take speed away. Name a part of a case to run only what holds it.

#[path = "../tests/common/mod.rs"]
#[allow(clippy::unwrap_used)]
mod common;

use std::sync::Arc;
use std::time::Instant;

use flambeau::backend::cpu::Cpu;
use flambeau::model::Activations;
use flambeau::ops::KvDtype;
use flambeau::request::SamplingParams;
use flambeau::scheduler::{SampleRow, SequenceId, StepPlan};

const NUM_BLOCKS: usize = 800;
const NUM_ROUNDS: usize = 15;

/// `num_sequences` sequences of `context_len` tokens, of which the step computes the last `q_len` and samples one.
fn plan(num_sequences: usize, q_len: usize, context_len: usize) -> StepPlan {
    let sampling = Arc::new(SamplingParams::greedy());
    let blocks_each = context_len.div_ceil(16);
    assert!(num_sequences * blocks_each <= NUM_BLOCKS);
    let mut plan = StepPlan::default();
    plan.clear();
    for s in 0..num_sequences {
        let first_block = (s * blocks_each) as u32;
        for position in context_len - q_len..context_len {
            let token = (s * 7919 + position * 104_729) % 49_152;
            plan.token_ids.push(token as u32);
            plan.positions.push(position as u32);
            plan.slot_mapping.push(first_block * 16 + position as u32);
        }
        plan.sequences.push(SequenceId(s as u64));
        plan.adapters.push(None);
        plan.cu_seqlens_q.push(plan.token_ids.len() as u32);
        plan.context_lens.push(context_len as u32);
        plan.block_tables
            .extend(first_block..first_block + blocks_each as u32);
        plan.block_table_offsets
            .push(plan.block_tables.len() as u32);
        plan.samples.push(SampleRow {
            known: None,
            mask: None,
            row_idx: plan.token_ids.len() as u32 - 1,
            sampling: Arc::clone(&sampling),
            position: context_len as u32,
            history: 0..0,
            num_prompt_tokens: 0,
            banned: 0..0,
        });
    }
    plan
}

fn main() -> anyhow::Result<()> {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let model = common::load(Activations::Int8, &Cpu::new(2)?);
    let runs = [
        (1, KvDtype::F16),
        (2, KvDtype::F16),
        (2, KvDtype::Bf16),
        (2, KvDtype::Int8),
    ];
    for (num_threads, kv_dtype) in runs {
        let cpu = Cpu::new(num_threads)?;
        let decoder = common::decoder(&model, &common::limits(NUM_BLOCKS, kv_dtype), &cpu);
        let cases = [
            ("prompt of 512", plan(1, 512, 512)),
            ("prompt of 128", plan(1, 128, 128)),
            ("4 prompts of 128", plan(4, 128, 128)),
            ("1 decode at 200", plan(1, 1, 200)),
            ("1 decode at 2000", plan(1, 1, 2000)),
            ("1 decode at 8000", plan(1, 1, 8000)),
            ("8 decodes at 150", plan(8, 1, 150)),
            ("8 decodes at 1600", plan(8, 1, 1600)),
            ("64 rows at 4000", plan(1, 64, 4000)),
            ("16 decodes at 200", plan(16, 1, 200)),
            ("64 decodes at 128", plan(64, 1, 128)),
        ];
        let wanted = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter));
        let mut best = [f64::INFINITY; 11];
        for _ in 0..NUM_ROUNDS {
            for ((name, plan), best) in cases.iter().zip(&mut best) {
                if wanted(name) {
                    let start = Instant::now();
                    decoder.forward(plan, None)?;
                    *best = best.min(start.elapsed().as_secs_f64());
                }
            }
        }
        println!(
            "\n{:<20}{:>12}   threads: {num_threads}, KV cache: {kv_dtype}",
            "step", "ms"
        );
        for ((name, _), best) in cases.iter().zip(best).filter(|((name, _), _)| wanted(name)) {
            println!("{name:<20}{:>12.2}", best * 1e3);
        }
    }
    Ok(())
}
