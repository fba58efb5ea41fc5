//! The numbers of a step, checked once and used by every layer: where tokens stand, where they go, who sees whom.

use std::cell::RefCell;

use candle_core::{DType, Result, bail};

use super::{Limits, ModelConfig};
use crate::backend::cuda::{Cuda, Slice};
use crate::ops::{
    AttentionBatch, NumberBuffer, Numbers, Slots, check_heads_for_card, check_kv_dtype_for_card,
    max_partial_bytes, place_drawn,
};
use crate::scheduler::StepPlan;

/// Of a plan.
pub(super) struct Step<'a> {
    pub token_ids: Numbers<'a>,
    pub positions: Numbers<'a>,
    pub slots: Slots<'a>,
    pub batch: AttentionBatch<'a>,
    /// The rows whose logits are read.
    pub sampled_rows: Numbers<'a>,
    /// Those rows alone, as they attend.
    pub sampled_batch: AttentionBatch<'a>,
}

impl<'a> Step<'a> {
    /// In the host's memory.
    ///
    /// # Errors
    /// If the plan is not for a cache of these limits.
    pub fn new(plan: &'a StepPlan, sampled_rows: &'a [u32], limits: &Limits) -> Result<Self> {
        let &Limits {
            num_blocks,
            block_size,
            ..
        } = limits;
        let batch = AttentionBatch::new(
            &plan.cu_seqlens_q,
            &plan.context_lens,
            &plan.block_tables,
            &plan.block_table_offsets,
            num_blocks,
            block_size,
        )?;
        Ok(Self {
            token_ids: (&plan.token_ids).into(),
            positions: (&plan.positions).into(),
            slots: Slots::new(&plan.slot_mapping, num_blocks * block_size)?,
            sampled_batch: batch.select(sampled_rows)?,
            batch,
            sampled_rows: sampled_rows.into(),
        })
    }
}

/// Why cards cannot compute a model, and what to do; `None` if they can.
pub fn card_obstacle(config: &ModelConfig, has_host_blocks: bool) -> Option<String> {
    if config.experts.is_some() {
        return Some("routed experts are not computed on cards yet; use --device cpu".into());
    }
    if has_host_blocks {
        let message = "kv_offload_memory: a card's blocks are not moved to the host yet; leave it away, or use --device cpu";
        return Some(message.into());
    }
    for (name, width, multiple) in [
        ("hidden_size", config.hidden_size, 8),
        ("intermediate_size", config.intermediate_size, 8),
        ("vocab_size", config.vocab_size, 4),
    ] {
        if !width.is_multiple_of(multiple) {
            return Some(format!(
                "{name}: cards compute multiples of {multiple}, not {width}; use --device cpu"
            ));
        }
    }
    let heads = check_heads_for_card(config.num_heads / config.num_kv_heads, config.head_dim);
    heads.err().map(|error| error.to_string())
}

/// How a step's numbers get to a card.
pub(super) struct CardSteps {
    numbers: RefCell<NumberBuffer>,
    /// For attention that is split.
    partials: Slice,
    /// Of the layers, each once.
    windows: Vec<Option<usize>>,
    heads_per_kv: usize,
    head_dim: usize,
}

impl CardSteps {
    /// For a model whose activations are of that type.
    ///
    /// # Errors
    /// If cards do not compute it, or the card has no room.
    pub fn new(
        config: &ModelConfig,
        limits: &Limits,
        activation: DType,
        cuda: &Cuda,
    ) -> Result<Self> {
        if let Some(obstacle) = card_obstacle(config, limits.num_host_blocks > 0) {
            bail!("{obstacle}");
        }
        check_kv_dtype_for_card(activation, limits.kv_dtype)?;
        let mut windows: Vec<_> = config.layers.iter().map(|layer| layer.window).collect();
        windows.sort_unstable();
        windows.dedup();
        let (num_heads, head_dim) = (config.num_heads, config.head_dim);
        let partial_bytes = max_partial_bytes(limits.max_model_len, num_heads, head_dim);
        Ok(Self {
            // Grows with the first large step.
            numbers: RefCell::new(NumberBuffer::new(cuda, 16 * limits.max_num_batched_tokens)?),
            partials: cuda.alloc(partial_bytes)?,
            windows,
            heads_per_kv: num_heads / config.num_kv_heads,
            head_dim,
        })
    }

    /// Sends a step's numbers, in the order of what is asked of the card. Tokens that are pending are taken from `drawn`.
    ///
    /// # Errors
    /// If the card has no room or fails.
    pub fn send(
        &self,
        step: &mut Step<'_>,
        plan: &StepPlan,
        sampled_rows: &[u32],
        drawn: Option<&Slice>,
    ) -> Result<()> {
        let mut numbers = self.numbers.borrow_mut();
        numbers.clear();
        let pending: Vec<u32> = (plan.pending.iter())
            .flat_map(|pending| [pending.row_idx, pending.drawn_idx])
            .collect();
        let pending = numbers.push(&pending);
        let (ids, positions, slots, rows) = (
            numbers.push(&plan.token_ids),
            numbers.push(&plan.positions),
            numbers.push(&plan.slot_mapping),
            numbers.push(sampled_rows),
        );
        let cut = |batch: &AttentionBatch<'_>, numbers: &mut NumberBuffer| {
            batch.cut(numbers, &self.windows, self.heads_per_kv, self.head_dim)
        };
        let batch = cut(&step.batch, &mut numbers)?;
        let sampled_batch = cut(&step.sampled_batch, &mut numbers)?;
        numbers.send()?;
        step.token_ids.put_on_card(numbers.slice(&ids)?);
        match drawn {
            Some(drawn) => place_drawn(&step.token_ids, &numbers.slice(&pending)?, drawn)?,
            None if plan.pending.is_empty() => {}
            None => bail!("the plan has tokens of a step in flight, and there is none"),
        }
        step.positions.put_on_card(numbers.slice(&positions)?);
        step.slots.put_on_card(numbers.slice(&slots)?);
        step.sampled_rows.put_on_card(numbers.slice(&rows)?);
        step.batch.put_on_card(batch, &numbers, &self.partials)?;
        step.sampled_batch
            .put_on_card(sampled_batch, &numbers, &self.partials)
    }
}
