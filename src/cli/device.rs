//! Which device computes, and what it has room for.

use anyhow::Context as _;

use super::memory_plan::Memory;
use super::planned::Taken;
use super::system;
use crate::backend::Device;
use crate::backend::cuda::{Blas, Cuda, cards};
use crate::config::{ByteSize, DeviceChoice, ModelSettings};
use crate::engine::ExecutorError;
use crate::model::quantise::Mix;
use crate::model::{
    Limits, MAX_RECORDED, ModelConfig, Runner, TensorShape, TensorSource, card_obstacle, warm_up,
    warm_up_smallest,
};

/// Opens what was asked for. Gives why it is that, too.
pub(super) fn open(
    config: &ModelSettings,
    model: &ModelConfig,
    card_weights: u64,
    taken: &Taken,
) -> anyhow::Result<(Device, String)> {
    let obstacle = card_obstacle(model);
    match (config.device, obstacle) {
        (DeviceChoice::Cpu, _) => Ok((Device::Cpu, "the CPU, as asked".into())),
        (DeviceChoice::Cuda(_), Some(obstacle)) => anyhow::bail!("device: {obstacle}"),
        (DeviceChoice::Cuda(ordinal), None) if taken.cards.contains(&ordinal) => anyhow::bail!(
            "device: cuda:{ordinal} computes another model, and a card one at a time: take another card, or the CPU"
        ),
        (DeviceChoice::Cuda(ordinal), None) => {
            let cuda = Cuda::open(ordinal).context("device")?;
            let why = format!("{cuda:?}, as asked");
            Ok((Device::Cuda(cuda), why))
        }
        (DeviceChoice::Auto, obstacle) => Ok(first_card(config, obstacle, card_weights, taken)),
    }
}

/// The first card that can be opened; else the CPU.
fn first_card(
    config: &ModelSettings,
    obstacle: Option<String>,
    weights: u64,
    taken: &Taken,
) -> (Device, String) {
    let on_cpu = |why: String| (Device::Cpu, format!("the CPU: {why}"));
    let cards = match cards() {
        Ok(cards) => cards,
        Err(error) => return on_cpu(error.to_string()),
    };
    if let Some(obstacle) = obstacle.filter(|_| !cards.is_empty()) {
        return on_cpu(obstacle);
    }
    let mut reason = "the driver knows no card".to_owned();
    let is_taken = |ordinal| taken.cards.contains(&ordinal);
    for card in cards {
        if is_taken(card.ordinal) {
            reason = format!("cuda:{} computes another model", card.ordinal);
            continue;
        }
        let (card, ordinal) = (format!("cuda:{}", card.ordinal), card.ordinal);
        match Cuda::open(ordinal) {
            Ok(cuda) => {
                let why = format!("{cuda:?}, the first card that is fit");
                let device = Device::Cuda(cuda);
                // A fifth more: for a cache, and for what a step takes.
                match room(&device, config) {
                    Ok(Some(room)) if room >= weights + weights / 5 => return (device, why),
                    Ok(room) => {
                        let room = ByteSize(room.unwrap_or(0));
                        let weights = ByteSize(weights);
                        reason = format!("{card} has {room} to use, the weights take {weights}");
                    }
                    Err(error) => reason = error.to_string(),
                }
            }
            Err(error) => reason = error.to_string(),
        }
    }
    on_cpu(reason)
}

/// cuBLAS for the device, where the settings leave products to it. Opened before memory is measured, of which it takes some.
pub(super) fn blas(
    config: &ModelSettings,
    device: &Device,
    tensors: &dyn TensorSource,
    mix: Option<Mix>,
) -> anyhow::Result<Option<Blas>> {
    if config.batch_invariant {
        return Ok(None);
    }
    let Device::Cuda(cuda) = device else {
        anyhow::bail!("batch_invariant: off is for cards, and the CPU computes: leave it away");
    };
    let blas = Blas::new(cuda).context("batch_invariant")?;
    // What stays in our tiles: embeddings and experts, as GGUF files and folders name them.
    let ours = ["token_embd", "embed_tokens", "_exps", "experts"];
    let is_multiplied = |shape: TensorShape<'_>| {
        let quantised = mix.and_then(|mix| mix.type_of(shape.name, &shape.dims));
        let is_ours = ours.iter().any(|part| shape.name.contains(part));
        shape.dims.len() == 2 && shape.encoding.is_float() && quantised.is_none() && !is_ours
    };
    if !tensors.shapes().flatten().any(is_multiplied) {
        anyhow::bail!(
            "batch_invariant: off is for matrices of floats, and all of the model's are quantised: leave it away"
        );
    }
    Ok(Some(blas))
}

/// What a device has beside what is taken, for a model whose weights take `weights` bytes, and are not there yet.
pub(super) fn memory(
    device: &Device,
    config: &ModelSettings,
    weights: u64,
    taken: &Taken,
) -> anyhow::Result<Memory> {
    let beside_taken = |bytes: Option<u64>| bytes.map(|bytes| bytes.saturating_sub(taken.host));
    let available = match device {
        Device::Cpu => beside_taken(room(device, config)?),
        Device::Cuda(_) => room(device, config)?,
    };
    let kv_cache = match (config.kv_cache_memory, device, available) {
        (Some(asked), ..) => asked,
        (None, Device::Cuda(cuda), Some(room)) if room <= weights => anyhow::bail!(
            "device: {cuda:?} has {} to use, the weights take {}: quantise them, or raise gpu_memory_utilization",
            ByteSize(room),
            ByteSize(weights)
        ),
        (None, Device::Cuda(_), Some(room)) => {
            // What a step's numbers take is measured later; until then they are a tenth.
            ByteSize(room.saturating_sub(weights) / 10 * 9)
        }
        (None, ..) => ByteSize(DEFAULT_KV_CACHE),
    };
    Ok(Memory {
        weights,
        kv_cache,
        available,
        available_beside: match device {
            Device::Cpu => None,
            Device::Cuda(_) => beside_taken(system::available_memory()),
        },
    })
}

/// On a CPU.
const DEFAULT_KV_CACHE: u64 = 1 << 30;

/// Bytes that may still be used: of the host's memory what is available, of a card's what `gpu_memory_utilization` leaves.
fn room(device: &Device, config: &ModelSettings) -> anyhow::Result<Option<u64>> {
    let Device::Cuda(cuda) = device else {
        return Ok(system::available_memory());
    };
    let (free, total) = cuda.memory()?;
    let kept = (total as f64 * (1.0 - config.gpu_memory_utilization)) as usize;
    Ok(Some(free.saturating_sub(kept) as u64))
}

/// The memory for the KV cache of a card on which the weights are, so that the largest step still fits beside it: that step is computed,
/// over a cache that is just large enough for it, and what it leaves is measured. `None` where the settings say how much it is; the step is
/// computed all the same, so that what a card cannot do shows before requests come.
pub(super) fn measured_kv_cache(
    config: &ModelSettings,
    device: &Device,
    limits: &Limits,
    block_bytes: usize,
    runner: impl FnOnce(&Limits) -> Result<Runner, ExecutorError>,
) -> anyhow::Result<Option<ByteSize>> {
    let Device::Cuda(cuda) = device else {
        return Ok(None);
    };
    let num_rows = limits.max_num_batched_tokens.min(limits.max_model_len);
    let small = Limits {
        num_blocks: num_rows.div_ceil(limits.block_size),
        num_host_blocks: 0,
        ..*limits
    };
    let mut runner = runner(&small).context("the largest step does not fit the card")?;
    warm_up(&mut runner, &small).context("the largest step")?;
    warm_up_smallest(&mut runner).context("the smallest step")?;
    let left = room(device, config)?.unwrap_or(0);
    warm_up_smallest(&mut runner).context("a recorded step")?;
    let of_recorded = left.saturating_sub(room(device, config)?.unwrap_or(0));
    let room = left + (small.num_blocks * block_bytes) as u64;
    // For what grows with requests: block tables, histories of penalties, masks; for what the driver rounds up; and for recordings.
    let reserve =
        (cuda.card().total_memory as u64 / 32).min(256 << 20) + of_recorded * MAX_RECORDED as u64;
    let is_asked = config.kv_cache_memory.is_some();
    Ok((!is_asked).then(|| ByteSize(room.saturating_sub(reserve))))
}
