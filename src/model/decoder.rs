//! The decoder: token rows in, logits of the rows to sample out.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, bail};

use super::adapters::AdapterRows;
use super::block_moves::BlockMover;
use super::buffers::Buffers;
use super::card_steps::CardSteps;
use super::step::{Step, StepRows};
use super::weights::{FeedForward, LayerWeights, Linear};
use super::{Divisors, Importance, LayerConfig, Limits, ModelConfig, Weights};
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::backend::cuda::Slice;
use crate::ops::{
    AttentionBatch, AttentionParams, KvCache, LinearPart, Numbers, QkNorm, RopeTable, Slots,
    Tensor, Vector, add_low_rank, add_rms_norm, embedding, gated_activation, gather_rows, matmul,
    paged_attention, rms_norm, rope_store, softcap,
};
use crate::scheduler::StepPlan;

/// A Llama-shaped decoder over preallocated buffers and a paged KV cache.
pub struct Decoder {
    pub(super) config: ModelConfig,
    weights: Arc<Weights>,
    /// As the configuration numbers them.
    ropes: Vec<RopeTable>,
    pub(super) buffers: Buffers,
    /// Where a card computes.
    card: Option<CardSteps>,
    block_mover: BlockMover,
    /// One a layer.
    kv_caches: Vec<KvCache>,
    pub(super) limits: Limits,
    pub(super) cpu: Cpu,
    /// What weights meet, while it is recorded.
    importance: Option<RefCell<Importance>>,
}

impl Decoder {
    /// Allocates buffers and cache. The weights are shared, so that a second decoder costs only those.
    pub fn new(
        config: ModelConfig,
        weights: Arc<Weights>,
        limits: &Limits,
        cpu: Cpu,
    ) -> Result<Self> {
        let device = &weights.device;
        let ropes = config.ropes.iter().enumerate().map(|(i, rope)| {
            let tensors = match i {
                0 => &weights.rope_divisors,
                _ => &Divisors::None,
            };
            let table = rope.table(config.head_dim, tensors, limits.max_model_len)?;
            table.on(device)
        });
        let ropes = ropes.collect::<Result<_>>()?;
        let buffers = Buffers::new(&config, limits, weights.activation, device)?;
        let card = match device {
            Device::Cpu => None,
            Device::Cuda(cuda) => Some(CardSteps::new(&config, limits, weights.activation, cuda)?),
        };
        let kv_cache = |_: &LayerConfig| {
            KvCache::new(
                limits.kv_dtype,
                limits.num_blocks,
                config.num_kv_heads,
                limits.block_size,
                config.head_dim,
                device,
            )
        };
        let kv_caches = config.layers.iter().map(kv_cache);
        let kv_caches = kv_caches.collect::<Result<Vec<_>>>()?;
        let block_mover = BlockMover::new(&kv_caches, limits, device)?;
        Ok(Self {
            config,
            weights,
            ropes,
            buffers,
            card,
            kv_caches,
            block_mover,
            limits: *limits,
            cpu,
            importance: None,
        })
    }

    /// Where it computes.
    pub(super) fn device(&self) -> &Device {
        &self.weights.device
    }

    /// Logits of a row.
    pub(super) fn vocab_size(&self) -> usize {
        self.config.vocab_size
    }

    /// How many kinds of steps a card replays with one call each, so far.
    pub fn num_recorded(&self) -> usize {
        self.card.as_ref().map_or(0, CardSteps::num_recorded)
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
    /// `[B, V]` float32, in a buffer that the next step overwrites. `None` when no row is sampled. `drawn` is where a card has, or is
    /// going to have, the tokens that the step before draws; without it the plan may have no [`StepPlan::pending`] rows.
    pub fn forward(&self, plan: &StepPlan, drawn: Option<&Slice>) -> Result<Option<Tensor>> {
        let card = self.card.as_ref();
        let rows = StepRows::new(plan, card.and_then(|card| card.recorded_rows(plan)));
        let mut step = Step::new(plan, &rows, &self.limits)?;
        let adapters = AdapterRows::of_step(plan)?;
        let kind = match card {
            Some(card) => card.send(&mut step, plan, drawn)?,
            None if plan.pending.is_empty() => None,
            None => bail!("the plan has tokens of a step in flight, and the CPU has none"),
        };
        self.block_mover.run(plan, &self.kv_caches)?;
        if let (Some(card), Some(kind)) = (card, kind) {
            card.replay(kind, || self.compute(&step, &adapters).map(|_| ()))?;
            return self.buffers.logits.narrow(0, plan.samples.len()).map(Some);
        }
        self.compute(&step, &adapters)
    }

    /// The same for a step whose numbers are where it is computed.
    fn compute(&self, step: &Step<'_>, all_adapters: &AdapterRows<'_>) -> Result<Option<Tensor>> {
        let mut hidden = self.buffers.hidden.narrow(0, step.token_ids.len())?;
        let (table, scale) = (&self.weights.embedding, self.config.embedding_scale);
        embedding(&hidden, step.token_ids.clone(), table, scale, &self.cpu)?;

        let sampled = step.sampled.as_ref();
        let padded = step.is_recorded.then_some(&step.slots);
        let sampled_adapters = sampled.map(|(rows, _)| all_adapters.select(rows.host()));
        let (mut batch, mut adapters) = (&step.batch, all_adapters);
        // What is still to be added to the residual stream.
        let mut delta = None;
        for (i, (layer, kv_cache)) in self.weights.layers.iter().zip(&self.kv_caches).enumerate() {
            let rope = self.config.layers[i].rope_idx.map(|i| &self.ropes[i]);
            let mut qkv = self.project(layer, &hidden, delta, adapters)?;
            self.store(layer, kv_cache, rope, &qkv, step)?;
            if i + 1 == self.weights.layers.len() {
                // Every key and value is stored; of what is left, nobody reads the rows that are not sampled.
                if let (Some((rows, sampled_batch)), Some(sampled_adapters)) =
                    (sampled, &sampled_adapters)
                {
                    if rows.is_empty() {
                        return Ok(None);
                    }
                    (hidden, qkv) = self.gather_sampled(&hidden, &qkv, rows)?;
                    (batch, adapters) = (sampled_batch, sampled_adapters);
                }
            }
            let params = AttentionParams {
                scale: self.config.attention_scale,
                window: self.config.layers[i].window,
                softcap: self.config.attention_softcap,
                sinks: layer.sinks.as_ref(),
            };
            let attended = self.attend(layer, kv_cache, params, &qkv, (batch, adapters))?;
            delta = Some(self.feed_forward(layer, &hidden, &attended, (adapters, padded))?);
        }
        self.lm_head(&hidden, delta.as_ref()).map(Some)
    }

    /// Adds what is still to be added to the residual stream, and projects the rows' queries, keys and values.
    fn project(
        &self,
        layer: &LayerWeights,
        hidden: &Tensor,
        delta: Option<Tensor>,
        adapters: &AdapterRows<'_>,
    ) -> Result<Tensor> {
        let normed = rows_for(hidden, &self.buffers.normed)?;
        let qkv = rows_for(hidden, &self.buffers.qkv)?;
        let (norm, eps) = (&layer.attn_norm, self.config.rms_norm_eps);
        add_rms_norm(&normed, hidden, delta.as_ref(), norm, eps, &self.cpu)?;
        self.linear(&qkv, &normed, &layer.qkv, adapters)?;
        Ok(qkv)
    }

    /// Stores the rows' keys and values; their queries are then ready for attention.
    fn store(
        &self,
        layer: &LayerWeights,
        kv_cache: &KvCache,
        rope: Option<&RopeTable>,
        qkv: &Tensor,
        step: &Step<'_>,
    ) -> Result<()> {
        let norm = layer.qk_norm.as_ref().map(|weights| QkNorm {
            q: &weights.q,
            k: &weights.k,
            eps: self.config.rms_norm_eps,
        });
        let positions = step.positions.clone();
        rope_store(qkv, kv_cache, positions, &step.slots, norm, rope, &self.cpu)
    }

    fn gather_sampled(
        &self,
        hidden: &Tensor,
        qkv: &Tensor,
        rows: &Numbers<'_>,
    ) -> Result<(Tensor, Tensor)> {
        let sampled_hidden = self.buffers.sampled_hidden.narrow(0, rows.len())?;
        let sampled_qkv = self.buffers.sampled_qkv.narrow(0, rows.len())?;
        gather_rows(&sampled_hidden, hidden, rows.clone())?;
        gather_rows(&sampled_qkv, qkv, rows.clone())?;
        Ok((sampled_hidden, sampled_qkv))
    }

    /// What attention, projected, adds to the residual stream.
    fn attend(
        &self,
        layer: &LayerWeights,
        kv_cache: &KvCache,
        params: AttentionParams<'_>,
        qkv: &Tensor,
        (batch, adapters): (&AttentionBatch<'_>, &AdapterRows<'_>),
    ) -> Result<Tensor> {
        let attention = rows_for(qkv, &self.buffers.attention)?;
        let delta = rows_for(qkv, &self.buffers.delta)?;
        paged_attention(&attention, qkv, kv_cache, batch, params, &self.cpu)?;
        self.linear(&delta, &attention, &layer.o, adapters)?;
        self.post_norm(delta, layer.post_attn_norm.as_ref())
    }

    /// What a block gives, normalised where the model has a norm for it.
    fn post_norm(&self, delta: Tensor, norm: Option<&Vector>) -> Result<Tensor> {
        let Some(norm) = norm else {
            return Ok(delta);
        };
        let normed = rows_for(&delta, &self.buffers.delta_normed)?;
        rms_norm(&normed, &delta, norm, self.config.rms_norm_eps, &self.cpu)?;
        Ok(normed)
    }

    /// Adds what attention gave to the residual stream. Gives what the feed-forward adds to it.
    fn feed_forward(
        &self,
        layer: &LayerWeights,
        hidden: &Tensor,
        attended: &Tensor,
        (adapters, padded): (&AdapterRows<'_>, Option<&Slots<'_>>),
    ) -> Result<Tensor> {
        let (cpu, eps) = (&self.cpu, self.config.rms_norm_eps);
        let normed = rows_for(hidden, &self.buffers.normed)?;
        let delta = rows_for(hidden, &self.buffers.delta)?;
        add_rms_norm(&normed, hidden, Some(attended), &layer.ffn_norm, eps, cpu)?;
        match (&layer.ffn, &self.config.experts) {
            (FeedForward::Dense(mlp), _) => {
                let gate_up = rows_for(hidden, &self.buffers.gate_up)?;
                let activated = rows_for(hidden, &self.buffers.activated)?;
                self.linear(&gate_up, &normed, &mlp.gate_up, adapters)?;
                gated_activation(&activated, &gate_up, self.config.glu, cpu)?;
                self.linear(&delta, &activated, &mlp.down, adapters)?;
            }
            (FeedForward::Experts { router, experts }, Some(config)) => {
                self.routed_experts(router, experts, config, &normed, &delta, padded)?;
            }
            (FeedForward::Experts { .. }, None) => {
                bail!("weights have experts, the model has none")
            }
        }
        self.post_norm(delta, layer.post_ffn_norm.as_ref())
    }

    fn lm_head(&self, hidden: &Tensor, delta: Option<&Tensor>) -> Result<Tensor> {
        let (cpu, eps) = (&self.cpu, self.config.rms_norm_eps);
        let normed = rows_for(hidden, &self.buffers.normed)?;
        let logits = rows_for(hidden, &self.buffers.logits)?;
        add_rms_norm(&normed, hidden, delta, &self.weights.output_norm, eps, cpu)?;
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

    pub(super) fn linear(
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
    pub(super) fn record(
        &self,
        linear: &Linear,
        expert: usize,
        x: &Tensor,
        rows: Range<usize>,
    ) -> Result<()> {
        let Some(importance) = &self.importance else {
            return Ok(());
        };
        let mut importance = importance.borrow_mut();
        let mut parts = linear.parts.iter();
        parts.try_for_each(|part| importance.add(&part.name, expert, x, rows.clone()))
    }
}

pub(super) fn parts(linear: &Linear) -> Vec<LinearPart<'_>> {
    let parts = linear.parts.iter().map(|part| LinearPart {
        weight: &part.weight,
        bias: part.bias.as_ref(),
    });
    parts.collect()
}

/// As many of the buffer's first rows as `hidden` has.
pub(super) fn rows_for(hidden: &Tensor, buffer: &Tensor) -> Result<Tensor> {
    buffer.narrow(0, hidden.dims()?.0)
}
