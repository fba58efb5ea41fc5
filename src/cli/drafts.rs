//! Models that draft what others say: what they take beside their own engines, and how they get their weights.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Context as _;

use super::memory_plan::MemoryPlan;
use super::planned::{PlannedModel, Plans};
use super::served_weights::ServedWeights;
use super::system;
use crate::backend::Device;
use crate::backend::cpu::Cpu;
use crate::config::{ByteSize, Draft};
use crate::engine::{DraftLimits, ExecutorError, ExecutorFactory, ModelDrafter};
use crate::model::Limits;
use crate::ops::KvDtype;
use crate::scheduler::{Drafter, LookupFirst, PromptLookup};
use crate::telemetry::log_line;

/// Sequences that a model drafts for at once. Where more decode together their rows fill a step, and drafts do not pay.
const NUM_SLOTS: usize = 4;
/// Tokens of a sequence, at most: a longer context takes longer to read than its drafts save, and memory.
const MAX_LEN: usize = 8192;
/// Rows a step: what one takes that reads a prompt is what others wait for their next guess.
const MAX_ROWS: usize = 64;

/// One model drafts for another.
#[derive(Clone, Debug)]
pub(super) struct DraftPlan {
    /// Whose answers are drafted.
    of: String,
    /// Who drafts them.
    model: String,
    threads: usize,
    limits: DraftLimits,
    kv_dtype: KvDtype,
    /// Of the host's memory, for its KV cache; the weights are its engine's.
    bytes: u64,
}

/// All of them.
pub(super) struct DraftPlans {
    pub plans: Vec<DraftPlan>,
    /// What all models and drafts take of the host's memory, and what there is, where that is less.
    shortage: Option<(ByteSize, ByteSize)>,
}

impl DraftPlans {
    /// Checks that each can draft for whom it is to.
    pub fn new(drafts: &[Draft], Plans(models): &Plans) -> anyhow::Result<Self> {
        let plan = |draft: &Draft| {
            let (of, model) = (&models[draft.of], &models[draft.model]);
            DraftPlan::new(of, model, draft.threads).with_context(|| of.name.clone())
        };
        let plans = (drafts.iter().map(plan)).collect::<anyhow::Result<Vec<_>>>()?;
        let of_models = models.iter().map(|model| model.plan.host_bytes());
        let of_drafts = plans.iter().map(|draft| draft.bytes);
        let needed: u64 = of_models.chain(of_drafts).sum();
        let available = system::available_memory().filter(|_| !plans.is_empty());
        let available = available.filter(|&available| needed > available);
        Ok(Self {
            plans,
            shortage: available.map(|available| (ByteSize(needed), ByteSize(available))),
        })
    }

    /// Whether the host has room for them beside the models, as far as that is known.
    pub fn fit(&self) -> bool {
        self.shortage.is_none()
    }
}

impl fmt::Display for DraftPlans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for draft in &self.plans {
            write!(
                f,
                "\ndrafts         of {} for {}: KV cache {} for {} sequences of {} tokens, {} threads",
                draft.model,
                draft.of,
                ByteSize(draft.bytes),
                draft.limits.num_slots,
                draft.limits.max_len,
                draft.threads,
            )?;
        }
        let Some((needed, available)) = self.shortage else {
            return Ok(());
        };
        write!(
            f,
            "\ndoes NOT fit   {needed} of the host's memory are needed together, {available} are available: lower the draft model's max_model_len, or kv_cache_memory"
        )
    }
}

impl DraftPlan {
    fn new(of: &PlannedModel, model: &PlannedModel, threads: usize) -> anyhow::Result<Self> {
        if matches!(of.device, Device::Cpu) {
            anyhow::bail!(
                "draft_model: is for a model on a card, beside which the CPU's cores are idle, and this one is on the CPU: leave it away"
            );
        }
        if !matches!(model.device, Device::Cpu) {
            anyhow::bail!(
                "draft_model: {} is on {:?}, and drafts are computed on the CPU: say device = \"cpu\" there",
                model.name,
                model.device
            );
        }
        if model.settings.is_on_demand() {
            anyhow::bail!(
                "draft_model: {} is not always loaded, and who drafts is: leave out its load_on_demand and unload_after",
                model.name
            );
        }
        let (own, its) = (of.tokenizer()?, model.tokenizer()?);
        if let Some(id) = own.first_difference(&its) {
            anyhow::bail!(
                "draft_model: {} has another tokenizer (token {id} is {:?}, not {:?}): draft with a model of the same family",
                model.name,
                its.token_text(id),
                own.token_text(id)
            );
        }
        let MemoryPlan {
            kv_dtype,
            kv_bytes_per_token,
            block_size,
            max_model_len,
            ..
        } = model.plan;
        let max_len = of.plan.max_model_len.min(max_model_len).min(MAX_LEN);
        let vocab_size = |model: &PlannedModel| model.model_config.vocab_size;
        let vocab_sizes = [vocab_size(of), vocab_size(model)];
        let num_tokens = own.vocab_size().min(its.vocab_size());
        let limits = DraftLimits {
            num_slots: NUM_SLOTS,
            max_len,
            max_num_batched_tokens: MAX_ROWS,
            block_size,
            vocab_size: vocab_sizes.into_iter().fold(num_tokens, usize::min),
        };
        let num_tokens = limits.num_blocks() * block_size;
        Ok(Self {
            of: of.name.clone(),
            model: model.name.clone(),
            threads,
            limits,
            kv_dtype,
            bytes: (num_tokens * kv_bytes_per_token) as u64,
        })
    }

    /// A drafter, and the thread that computes for it once the model's weights come.
    fn start(&self, weights: Receiver<Arc<ServedWeights>>) -> anyhow::Result<ModelDrafter> {
        let limits = Limits {
            max_num_batched_tokens: self.limits.max_num_batched_tokens,
            max_samples: self.limits.num_slots,
            max_model_len: self.limits.max_len,
            num_blocks: self.limits.num_blocks(),
            num_host_blocks: 0,
            block_size: self.limits.block_size,
            kv_dtype: self.kv_dtype,
        };
        let cpu = Cpu::new(self.threads).context("draft_threads")?;
        let factory: ExecutorFactory = Box::new(move || {
            let weights = weights.recv();
            let weights = weights.map_err(|_| ExecutorError("it was not loaded".into()))?;
            Ok(Box::new(weights.runner_on(&cpu, &limits)?))
        });
        let (drafter, worker) = ModelDrafter::new(self.limits);
        worker
            .spawn(&self.model, factory)
            .context("the thread for drafts")?;
        log_line(&format!("{}: drafts come from {}", self.of, self.model));
        Ok(drafter)
    }
}

/// Brings the weights of models that draft to those for whom they do, whichever of the two is loaded first.
pub(super) struct Drafts(Vec<Link>);

struct Link {
    plan: DraftPlan,
    sender: Sender<Arc<ServedWeights>>,
    /// Until the drafter is there.
    receiver: Option<Receiver<Arc<ServedWeights>>>,
}

impl Drafts {
    pub fn new(plans: Vec<DraftPlan>) -> Self {
        let link = |plan| {
            let (sender, receiver) = channel();
            Link {
                plan,
                sender,
                receiver: Some(receiver),
            }
        };
        Self(plans.into_iter().map(link).collect())
    }

    /// The weights of a model are there.
    pub fn loaded(&self, model: &str, weights: &Arc<ServedWeights>) {
        for link in self.0.iter().filter(|link| link.plan.model == model) {
            // Who would have drafted with them may have ended.
            let _ = link.sender.send(Arc::clone(weights));
        }
    }

    /// Who drafts for a model.
    pub fn drafter_of(&mut self, model: &str) -> anyhow::Result<Box<dyn Drafter>> {
        let link = self.0.iter_mut().find(|link| link.plan.of == model);
        let Some((link, receiver)) = link.and_then(|link| {
            let receiver = link.receiver.take()?;
            Some((link, receiver))
        }) else {
            return Ok(Box::new(PromptLookup));
        };
        Ok(Box::new(LookupFirst(link.plan.start(receiver)?)))
    }
}
