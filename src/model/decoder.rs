//! The decoder: token rows in, logits of the rows to sample out.

use std::sync::Arc;

use candle_core::{Device, Result, Tensor};

use super::buffers::{Buffers, kv_cache};
use super::weights::{LayerWeights, Linear};
use super::{ModelConfig, Weights};
use crate::backend::cpu::Cpu;
use crate::ops::{
    AttentionBatch, LinearPart, RopeTable, Slots, add_assign, embedding, gather_rows, kv_store,
    matmul, paged_attention, rms_norm, rms_norm_inplace, rope, silu_mul,
};
use crate::scheduler::StepPlan;

/// What the buffers are made for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Token rows a step.
    pub max_num_batched_tokens: usize,
    /// Sampled rows a step.
    pub max_samples: usize,
    /// Positions a sequence may reach.
    pub max_model_len: usize,
    /// Blocks of the KV cache.
    pub num_blocks: usize,
    /// Tokens a block; a multiple of 16.
    pub block_size: usize,
}

/// A Llama-shaped decoder over preallocated buffers and a paged KV cache.
pub struct Decoder {
    config: ModelConfig,
    weights: Arc<Weights>,
    rope: RopeTable,
    buffers: Buffers,
    kv_cache: Vec<Tensor>,
    limits: Limits,
    cpu: Cpu,
}

/// A step's arrays that every layer uses, checked.
struct Step<'a> {
    positions: &'a [u32],
    slots: Slots<'a>,
    batch: AttentionBatch<'a>,
}

impl Decoder {
    /// Allocates buffers and cache. The weights are shared, so that a second decoder costs only those.
    pub fn new(
        config: ModelConfig,
        weights: Arc<Weights>,
        limits: &Limits,
        cpu: Cpu,
    ) -> Result<Self> {
        let r = &config.rope;
        let freqs = weights.rope_freqs.as_deref();
        let rope = RopeTable::new(
            config.head_dim,
            r.rotary_dim,
            r.base,
            freqs,
            r.linear_scale,
            limits.max_model_len,
            r.style,
        )?;
        let buffers = Buffers::new(&config, limits, &Device::Cpu)?;
        let kv_cache = kv_cache(&config, limits, &Device::Cpu)?;
        Ok(Self {
            config,
            weights,
            rope,
            buffers,
            kv_cache,
            limits: *limits,
            cpu,
        })
    }

    /// Computes one step: stores the keys and values of its `T` rows and returns the logits of its `B` sample rows,
    /// `[B, V]` float32, in a buffer that the next step overwrites. `None` when no row is sampled.
    pub fn forward(&self, plan: &StepPlan) -> Result<Option<Tensor>> {
        let num_tokens = plan.num_tokens();
        let hidden = self.buffers.hidden.narrow(0, 0, num_tokens)?;
        let &Limits {
            num_blocks,
            block_size,
            ..
        } = &self.limits;
        let step = Step {
            positions: &plan.positions,
            slots: Slots::new(&plan.slot_mapping, num_blocks * block_size)?,
            batch: AttentionBatch::new(
                &plan.cu_seqlens_q,
                &plan.context_lens,
                &plan.block_tables,
                &plan.block_table_offsets,
                num_blocks,
                block_size,
            )?,
        };
        embedding(&hidden, &plan.token_ids, &self.weights.embedding, &self.cpu)?;
        for (layer, kv_cache) in self.weights.layers.iter().zip(&self.kv_cache) {
            self.attention_block(layer, kv_cache, &hidden, &step)?;
            self.feed_forward_block(layer, &hidden)?;
        }
        self.lm_head(&hidden, plan)
    }

    fn attention_block(
        &self,
        layer: &LayerWeights,
        kv_cache: &Tensor,
        hidden: &Tensor,
        step: &Step<'_>,
    ) -> Result<()> {
        let (cpu, eps) = (&self.cpu, self.config.rms_norm_eps);
        let rows = |buffer: &Tensor| buffer.narrow(0, 0, hidden.dim(0)?);
        let (normed, delta) = (rows(&self.buffers.normed)?, rows(&self.buffers.delta)?);
        let (q, k, v) = (
            rows(&self.buffers.q)?,
            rows(&self.buffers.k)?,
            rows(&self.buffers.v)?,
        );
        let attention = rows(&self.buffers.attention)?;

        rms_norm(&normed, hidden, &layer.attn_norm, eps, cpu)?;
        self.linear(&q, &normed, &layer.q)?;
        self.linear(&k, &normed, &layer.k)?;
        self.linear(&v, &normed, &layer.v)?;
        if let Some(weight) = &layer.q_norm {
            rms_norm_inplace(&q, weight, eps, cpu)?;
        }
        if let Some(weight) = &layer.k_norm {
            rms_norm_inplace(&k, weight, eps, cpu)?;
        }
        rope(&q, step.positions, &self.rope, cpu)?;
        rope(&k, step.positions, &self.rope, cpu)?;
        kv_store(kv_cache, &k, &v, &step.slots, cpu)?;
        let scale = 1.0 / (self.config.head_dim as f32).sqrt();
        paged_attention(&attention, &q, kv_cache, &step.batch, scale, cpu)?;
        self.linear(&delta, &attention, &layer.o)?;
        add_assign(hidden, &delta, cpu)
    }

    fn feed_forward_block(&self, layer: &LayerWeights, hidden: &Tensor) -> Result<()> {
        let rows = |buffer: &Tensor| buffer.narrow(0, 0, hidden.dim(0)?);
        let (normed, delta) = (rows(&self.buffers.normed)?, rows(&self.buffers.delta)?);
        let (gate, up, activated) = (
            rows(&self.buffers.gate)?,
            rows(&self.buffers.up)?,
            rows(&self.buffers.activated)?,
        );

        rms_norm(
            &normed,
            hidden,
            &layer.ffn_norm,
            self.config.rms_norm_eps,
            &self.cpu,
        )?;
        self.linear(&gate, &normed, &layer.gate)?;
        self.linear(&up, &normed, &layer.up)?;
        silu_mul(&activated, &gate, &up, &self.cpu)?;
        self.linear(&delta, &activated, &layer.down)?;
        add_assign(hidden, &delta, &self.cpu)
    }

    fn lm_head(&self, hidden: &Tensor, plan: &StepPlan) -> Result<Option<Tensor>> {
        if plan.samples.is_empty() {
            return Ok(None);
        }
        let rows = |buffer: &Tensor| buffer.narrow(0, 0, plan.samples.len());
        let (sampled, normed, logits) = (
            rows(&self.buffers.sampled)?,
            rows(&self.buffers.sampled_normed)?,
            rows(&self.buffers.logits)?,
        );
        let row_ids: Vec<u32> = plan.samples.iter().map(|sample| sample.row_idx).collect();

        gather_rows(&sampled, hidden, &row_ids)?;
        rms_norm(
            &normed,
            &sampled,
            &self.weights.output_norm,
            self.config.rms_norm_eps,
            &self.cpu,
        )?;
        match &self.weights.output {
            Some(head) => self.linear(&logits, &normed, head)?,
            None => {
                let part = LinearPart {
                    weight: &self.weights.embedding,
                    bias: None,
                };
                matmul(&logits, &normed, &[part], &self.cpu)?;
            }
        }
        Ok(Some(logits))
    }

    fn linear(&self, out: &Tensor, x: &Tensor, linear: &Linear) -> Result<()> {
        let part = LinearPart {
            weight: &linear.weight,
            bias: linear.bias.as_deref(),
        };
        matmul(out, x, &[part], &self.cpu)
    }
}
