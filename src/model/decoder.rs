//! The decoder: token rows in, logits of the rows to sample out.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, bail};

use super::adapters::AdapterRows;
use super::buffers::Buffers;
use super::weights::{FeedForward, LayerWeights, Linear, Mlp};
use super::{Divisors, ExpertsConfig, Importance, ModelConfig, Weights};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::ops::{
    AttentionBatch, AttentionParams, KvCache, KvDtype, LinearGroup, LinearPart, QkNorm, RopeTable,
    Routing, Slots, Tensor, add_assign, add_low_rank, combine_experts, embedding, gated_activation,
    gather_rows, matmul, matmul_groups, paged_attention, rms_norm, rope_store, softcap,
};
use crate::scheduler::{BlockMove, StepPlan};

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
    /// Blocks of the host's arena; 0 for none.
    pub num_host_blocks: usize,
    /// Tokens a block; a multiple of 16.
    pub block_size: usize,
    /// What keys and values are rounded to.
    pub kv_dtype: KvDtype,
}

/// A Llama-shaped decoder over preallocated buffers and a paged KV cache.
pub struct Decoder {
    config: ModelConfig,
    weights: Arc<Weights>,
    /// As the configuration numbers them.
    ropes: Vec<RopeTable>,
    buffers: Buffers,
    /// One a layer.
    kv_caches: Vec<KvCache>,
    /// Where blocks go that are thrown out of the cache: one a layer, or none.
    host_caches: Vec<KvCache>,
    pub(super) limits: Limits,
    cpu: Cpu,
    /// What weights meet, while it is recorded.
    importance: Option<RefCell<Importance>>,
}

/// A step's arrays that every layer uses, checked.
struct Step<'a> {
    positions: &'a [u32],
    slots: Slots<'a>,
    batch: AttentionBatch<'a>,
    adapters: AdapterRows<'a>,
}

impl Decoder {
    /// Allocates buffers and cache. The weights are shared, so that a second decoder costs only those.
    pub fn new(
        config: ModelConfig,
        weights: Arc<Weights>,
        limits: &Limits,
        cpu: Cpu,
    ) -> Result<Self> {
        let ropes = config.ropes.iter().enumerate().map(|(i, rope)| {
            let tensors = match i {
                0 => &weights.rope_divisors,
                _ => &Divisors::None,
            };
            rope.table(config.head_dim, tensors, limits.max_model_len)
        });
        let ropes = ropes.collect::<Result<_>>()?;
        let buffers = Buffers::new(&config, limits, &Device::Cpu)?;
        let kv_cache = |num_blocks: usize| {
            KvCache::new(
                limits.kv_dtype,
                num_blocks,
                config.num_kv_heads,
                limits.block_size,
                config.head_dim,
                &Device::Cpu,
            )
        };
        let arena = |num_blocks: usize| {
            let layers = config.layers.iter().filter(|_| num_blocks > 0);
            let layers = layers.map(|_| kv_cache(num_blocks));
            layers.collect::<Result<Vec<_>>>()
        };
        let (kv_caches, host_caches) = (arena(limits.num_blocks)?, arena(limits.num_host_blocks)?);
        Ok(Self {
            config,
            weights,
            ropes,
            buffers,
            kv_caches,
            host_caches,
            limits: *limits,
            cpu,
            importance: None,
        })
    }

    /// Records from now on what weights meet.
    pub fn record_importance(&mut self) {
        self.importance = Some(RefCell::default());
    }

    /// Ends the recording and gives what it has.
    pub fn take_importance(&mut self) -> Option<Importance> {
        self.importance.take().map(RefCell::into_inner)
    }

    /// Computes one step: stores the keys and values of its `T` rows and returns the logits of its `B` sample rows,
    /// `[B, V]` float32, in a buffer that the next step overwrites. `None` when no row is sampled.
    pub fn forward(&self, plan: &StepPlan) -> Result<Option<Tensor>> {
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
            adapters: AdapterRows::of_step(plan)?,
        };
        let sampled_rows: Vec<u32> = plan.samples.iter().map(|sample| sample.row_idx).collect();
        let sampled_batch = step.batch.select(&sampled_rows)?;
        let sampled_adapters = step.adapters.select(&sampled_rows);
        self.move_blocks(&plan.block_moves)?;
        let hidden = self.buffers.hidden.narrow(0, plan.num_tokens())?;
        embedding(
            &hidden,
            &plan.token_ids,
            &self.weights.embedding,
            self.config.embedding_scale,
            &self.cpu,
        )?;

        let (mut hidden, mut batch, mut adapters) = (hidden, &step.batch, &step.adapters);
        for (i, (layer, kv_cache)) in self.weights.layers.iter().zip(&self.kv_caches).enumerate() {
            let rope = self.config.layers[i].rope_idx.map(|i| &self.ropes[i]);
            let mut qkv = self.project_and_store(layer, kv_cache, rope, &hidden, &step)?;
            if i + 1 == self.weights.layers.len() {
                // Every key and value is stored; of what is left, nobody reads the rows that are not sampled.
                if sampled_rows.is_empty() {
                    return Ok(None);
                }
                (hidden, qkv) = self.gather_sampled(&hidden, &qkv, &sampled_rows)?;
                (batch, adapters) = (&sampled_batch, &sampled_adapters);
            }
            let params = AttentionParams {
                scale: self.config.attention_scale,
                window: self.config.layers[i].window,
                softcap: self.config.attention_softcap,
                sinks: layer.sinks.as_deref(),
            };
            self.attend(layer, kv_cache, params, &hidden, &qkv, (batch, adapters))?;
            self.feed_forward(layer, &hidden, adapters)?;
        }
        self.lm_head(&hidden).map(Some)
    }

    /// Copies blocks within the cache, and to and from the host's arena.
    fn move_blocks(&self, moves: &[BlockMove]) -> Result<()> {
        for &block_move in moves {
            for (i, cache) in self.kv_caches.iter().enumerate() {
                let host = || match self.host_caches.get(i) {
                    Some(host) => Ok(host),
                    None => bail!("{block_move:?}: there is no host arena"),
                };
                match block_move {
                    BlockMove::Copy { from, to } => cache.copy_block(from.0, to.0)?,
                    BlockMove::Save { block, slot } => {
                        host()?.copy_block_from(cache, block.0, slot.0)?;
                    }
                    BlockMove::Load { slot, block } => {
                        cache.copy_block_from(host()?, slot.0, block.0)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Projects the rows' queries, keys and values and stores the last two; the queries are ready for attention.
    fn project_and_store(
        &self,
        layer: &LayerWeights,
        kv_cache: &KvCache,
        rope: Option<&RopeTable>,
        hidden: &Tensor,
        step: &Step<'_>,
    ) -> Result<Tensor> {
        let (cpu, eps) = (&self.cpu, self.config.rms_norm_eps);
        let normed = rows_for(hidden, &self.buffers.normed)?;
        let qkv = rows_for(hidden, &self.buffers.qkv)?;
        rms_norm(&normed, hidden, &layer.attn_norm, eps, cpu)?;
        self.linear(&qkv, &normed, &layer.qkv, &step.adapters)?;
        let norm = layer.qk_norm.as_ref().map(|weights| QkNorm {
            q: &weights.q,
            k: &weights.k,
            eps,
        });
        let (positions, slots) = (step.positions, &step.slots);
        rope_store(&qkv, kv_cache, positions, slots, norm, rope, cpu)?;
        Ok(qkv)
    }

    fn gather_sampled(
        &self,
        hidden: &Tensor,
        qkv: &Tensor,
        rows: &[u32],
    ) -> Result<(Tensor, Tensor)> {
        let sampled_hidden = self.buffers.sampled_hidden.narrow(0, rows.len())?;
        let sampled_qkv = self.buffers.sampled_qkv.narrow(0, rows.len())?;
        gather_rows(&sampled_hidden, hidden, rows)?;
        gather_rows(&sampled_qkv, qkv, rows)?;
        Ok((sampled_hidden, sampled_qkv))
    }

    /// Adds attention, projected, to the residual stream.
    fn attend(
        &self,
        layer: &LayerWeights,
        kv_cache: &KvCache,
        params: AttentionParams<'_>,
        hidden: &Tensor,
        qkv: &Tensor,
        (batch, adapters): (&AttentionBatch<'_>, &AdapterRows<'_>),
    ) -> Result<()> {
        let attention = rows_for(hidden, &self.buffers.attention)?;
        let delta = rows_for(hidden, &self.buffers.delta)?;
        paged_attention(&attention, qkv, kv_cache, batch, params, &self.cpu)?;
        self.linear(&delta, &attention, &layer.o, adapters)?;
        self.add(hidden, &delta, layer.post_attn_norm.as_deref())
    }

    /// Adds what a block gives, normalised where the model has a norm for it, to the residual stream.
    fn add(&self, hidden: &Tensor, delta: &Tensor, norm: Option<&[f32]>) -> Result<()> {
        let Some(norm) = norm else {
            return add_assign(hidden, delta, &self.cpu);
        };
        let normed = rows_for(hidden, &self.buffers.normed)?;
        rms_norm(&normed, delta, norm, self.config.rms_norm_eps, &self.cpu)?;
        add_assign(hidden, &normed, &self.cpu)
    }

    /// Adds the feed-forward to the residual stream.
    fn feed_forward(
        &self,
        layer: &LayerWeights,
        hidden: &Tensor,
        adapters: &AdapterRows<'_>,
    ) -> Result<()> {
        let (cpu, eps) = (&self.cpu, self.config.rms_norm_eps);
        let normed = rows_for(hidden, &self.buffers.normed)?;
        let delta = rows_for(hidden, &self.buffers.delta)?;
        rms_norm(&normed, hidden, &layer.ffn_norm, eps, cpu)?;
        match (&layer.ffn, &self.config.experts) {
            (FeedForward::Dense(mlp), _) => {
                let gate_up = rows_for(hidden, &self.buffers.gate_up)?;
                let activated = rows_for(hidden, &self.buffers.activated)?;
                self.linear(&gate_up, &normed, &mlp.gate_up, adapters)?;
                gated_activation(&activated, &gate_up, self.config.glu, cpu)?;
                self.linear(&delta, &activated, &mlp.down, adapters)?;
            }
            (FeedForward::Experts { router, experts }, Some(config)) => {
                self.routed_experts(router, experts, config, &normed, &delta)?;
            }
            (FeedForward::Experts { .. }, None) => {
                bail!("weights have experts, the model has none")
            }
        }
        self.add(hidden, &delta, layer.post_ffn_norm.as_deref())
    }

    /// Writes to delta what the experts of each row of x give.
    fn routed_experts(
        &self,
        router: &Linear,
        experts: &[Mlp],
        config: &ExpertsConfig,
        x: &Tensor,
        delta: &Tensor,
    ) -> Result<()> {
        let (cpu, num_rows) = (&self.cpu, x.dims()?.0);
        let Some(buffers) = &self.buffers.experts else {
            bail!("the buffers are of a model without experts");
        };
        let logits = rows_for(x, &buffers.logits)?;
        self.linear(&logits, x, router, &AdapterRows::default())?;
        let routing = Routing::new(&logits, config.top_k, config.is_normalised)?;
        let pairs = |buffer: &Tensor| buffer.narrow(0, num_rows * config.top_k);
        let (gathered, gate_up) = (pairs(&buffers.gathered)?, pairs(&buffers.gate_up)?);
        let (activated, outputs) = (pairs(&buffers.activated)?, pairs(&buffers.outputs)?);
        let groups = |linear: fn(&Mlp) -> &Linear| {
            let group = |(expert, rows)| LinearGroup {
                rows,
                parts: parts(linear(&experts[expert])),
            };
            routing.experts().map(group).collect::<Vec<_>>()
        };
        let record = |linear: fn(&Mlp) -> &Linear, x: &Tensor| {
            let mut pairs = routing.experts();
            pairs.try_for_each(|(expert, rows)| {
                self.record(linear(&experts[expert]), expert, x, rows)
            })
        };
        gather_rows(&gathered, x, routing.rows())?;
        record(|mlp| &mlp.gate_up, &gathered)?;
        matmul_groups(&gate_up, &gathered, &groups(|mlp| &mlp.gate_up), cpu)?;
        gated_activation(&activated, &gate_up, self.config.glu, cpu)?;
        record(|mlp| &mlp.down, &activated)?;
        matmul_groups(&outputs, &activated, &groups(|mlp| &mlp.down), cpu)?;
        combine_experts(delta, &outputs, &routing, cpu)
    }

    fn lm_head(&self, hidden: &Tensor) -> Result<Tensor> {
        let (cpu, eps) = (&self.cpu, self.config.rms_norm_eps);
        let normed = rows_for(hidden, &self.buffers.normed)?;
        let logits = rows_for(hidden, &self.buffers.logits)?;
        rms_norm(&normed, hidden, &self.weights.output_norm, eps, cpu)?;
        match &self.weights.output {
            Some(head) => self.linear(&logits, &normed, head, &AdapterRows::default())?,
            None => {
                let part = LinearPart {
                    weight: &self.weights.embedding,
                    bias: None,
                };
                if let Some(importance) = &self.importance {
                    let mut importance = importance.borrow_mut();
                    importance.add("token_embd", 0, &normed, 0..normed.dims()?.0)?;
                }
                matmul(&logits, &normed, &[part], cpu)?;
            }
        }
        if let Some(cap) = self.config.logit_softcap {
            softcap(&logits, cap, cpu)?;
        }
        Ok(logits)
    }

    fn linear(
        &self,
        out: &Tensor,
        x: &Tensor,
        linear: &Linear,
        adapters: &AdapterRows<'_>,
    ) -> Result<()> {
        self.record(linear, 0, x, 0..x.dims()?.0)?;
        matmul(out, x, &parts(linear), &self.cpu)?;
        match adapters.is_empty() {
            true => Ok(()),
            false => add_low_rank(out, x, &adapters.groups(linear), &self.cpu),
        }
    }

    /// Notes the rows of x as inputs of the projections, where that is recorded.
    fn record(&self, linear: &Linear, expert: usize, x: &Tensor, rows: Range<usize>) -> Result<()> {
        let Some(importance) = &self.importance else {
            return Ok(());
        };
        let mut importance = importance.borrow_mut();
        let mut parts = linear.parts.iter();
        parts.try_for_each(|part| importance.add(&part.name, expert, x, rows.clone()))
    }
}

fn parts(linear: &Linear) -> Vec<LinearPart<'_>> {
    let parts = linear.parts.iter().map(|part| LinearPart {
        weight: &part.weight,
        bias: part.bias.as_deref(),
    });
    parts.collect()
}

/// As many of the buffer's first rows as `hidden` has.
fn rows_for(hidden: &Tensor, buffer: &Tensor) -> Result<Tensor> {
    buffer.narrow(0, hidden.dims()?.0)
}
