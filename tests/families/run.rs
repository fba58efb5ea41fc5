//! From a random model to the decoder's logits, through a file on disk.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use flambeau::backend::cpu::Cpu;
use flambeau::model::gguf::GgufFile;
use flambeau::model::{Activations, Decoder, Limits, ModelConfig, ModelError, Weights};
use flambeau::ops::KvDtype;
use flambeau::request::{Adapter, SamplingParams};
use flambeau::scheduler::{SampleRow, SequenceId, StepPlan};

use super::model::{Model, Rng};

pub const BLOCK_SIZE: usize = 16;
pub const NUM_BLOCKS: usize = 48;

/// Tokens of one sequence that a step computes, and where its keys and values are.
pub struct Chunk<'a> {
    pub tokens: &'a [u32],
    pub range: Range<usize>,
    pub blocks: &'a [u32],
}

/// The model as the file of its bytes gives it.
pub fn open(model: &Model) -> GgufFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&model.to_gguf()).unwrap();
    // The mapping outlives the name.
    GgufFile::open(file.path()).unwrap()
}

pub fn try_load(
    model: &Model,
    activations: Activations,
    cpu: &Cpu,
) -> Result<(ModelConfig, Weights), ModelError> {
    let file = open(model);
    let config = ModelConfig::from_gguf(file.metadata())?;
    let weights = Weights::load(&file, &config, activations, cpu)?;
    Ok((config, weights))
}

pub fn limits() -> Limits {
    Limits {
        max_num_batched_tokens: 512,
        max_samples: 512,
        num_host_blocks: 0,
        max_model_len: 512,
        num_blocks: NUM_BLOCKS,
        block_size: BLOCK_SIZE,
        kv_dtype: KvDtype::F16,
    }
}

pub fn decoder(model: &Model, activations: Activations, num_threads: usize) -> Decoder {
    let cpu = Cpu::new(num_threads).unwrap();
    let (config, weights) = try_load(model, activations, &cpu).unwrap();
    Decoder::new(config, Arc::new(weights), &limits(), cpu).unwrap()
}

pub fn prompt(model: &Model, len: usize, seed: u64) -> Vec<u32> {
    let mut rng = Rng(seed);
    (0..len)
        .map(|_| rng.below(model.spec.vocab) as u32)
        .collect()
}

/// One step; the logits of every row, in the chunks' order.
pub fn step(decoder: &Decoder, chunks: &[Chunk<'_>]) -> Vec<Vec<f32>> {
    step_with(decoder, chunks, &vec![None; chunks.len()])
}

/// [`step`], each chunk with an adapter or without.
pub fn step_with(
    decoder: &Decoder,
    chunks: &[Chunk<'_>],
    adapters: &[Option<Adapter>],
) -> Vec<Vec<f32>> {
    logits(decoder, &plan_of(chunks, adapters))
}

/// The logits of a plan's sample rows, of which there are some.
pub fn logits(decoder: &Decoder, plan: &StepPlan) -> Vec<Vec<f32>> {
    let logits = decoder.forward(plan, None).unwrap();
    logits.unwrap().to_rows().unwrap()
}

/// A step that reads the logits of every row, in the chunks' order.
pub fn plan_of(chunks: &[Chunk<'_>], adapters: &[Option<Adapter>]) -> StepPlan {
    let mut plan = StepPlan::default();
    plan.clear();
    for (s, chunk) in chunks.iter().enumerate() {
        for position in chunk.range.clone() {
            let row_idx = plan.token_ids.len() as u32;
            let block = chunk.blocks[position / BLOCK_SIZE];
            plan.token_ids.push(chunk.tokens[position]);
            plan.positions.push(position as u32);
            plan.slot_mapping
                .push(block * BLOCK_SIZE as u32 + (position % BLOCK_SIZE) as u32);
            plan.samples.push(SampleRow {
                known: None,
                mask: None,
                row_idx,
                sampling: Arc::new(SamplingParams::greedy()),
                position: position as u32 + 1,
                history: 0..0,
                num_prompt_tokens: 0,
                banned: 0..0,
            });
        }
        plan.sequences.push(SequenceId(s as u64));
        plan.adapters.push(adapters[s].clone());
        plan.cu_seqlens_q.push(plan.token_ids.len() as u32);
        plan.context_lens.push(chunk.range.end as u32);
        let num_blocks = chunk.range.end.div_ceil(BLOCK_SIZE);
        plan.block_tables.extend(&chunk.blocks[..num_blocks]);
        plan.block_table_offsets
            .push(plan.block_tables.len() as u32);
    }
    plan
}

/// The logits of `tokens` computed alone and at once.
pub fn alone(decoder: &Decoder, tokens: &[u32]) -> Vec<Vec<f32>> {
    alone_with(decoder, tokens, None)
}

/// [`alone`], with an adapter.
pub fn alone_with(decoder: &Decoder, tokens: &[u32], adapter: Option<Adapter>) -> Vec<Vec<f32>> {
    let blocks: Vec<u32> = (0..NUM_BLOCKS as u32).collect();
    let chunk = Chunk {
        tokens,
        range: 0..tokens.len(),
        blocks: &blocks,
    };
    step_with(decoder, &[chunk], &[adapter])
}
