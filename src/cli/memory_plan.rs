//! Where the memory goes, worked out before anything is loaded.

use std::fmt;

use anyhow::bail;

use crate::config::{ByteSize, KvCacheDtype, ModelSettings};
use crate::model::quantise::Mix;
use crate::model::{ModelConfig, TensorSource};
use crate::ops::{KvDtype, TileFormat, WeightFormat};

/// What there is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// Of the weights.
    pub weights: u64,
    /// For the KV cache.
    pub kv_cache: ByteSize,
    /// What the device has left for it and the weights, where it can be asked.
    pub available: Option<u64>,
    /// What the host has left, where that is not the device's.
    pub available_beside: Option<u64>,
}

/// Sizes of one model on this machine.
#[derive(Clone, Debug)]
pub(super) struct MemoryPlan {
    /// Repacked weights, bytes.
    pub weights: u64,
    /// Blocks of the KV cache.
    pub num_blocks: usize,
    /// Blocks of the arena for what is thrown out of it.
    pub num_host_blocks: usize,
    /// Tokens a block.
    pub block_size: usize,
    /// What keys and values are rounded to.
    pub kv_dtype: KvDtype,
    /// Bytes a token in the cache.
    pub kv_bytes_per_token: usize,
    /// Tokens a sequence.
    pub max_model_len: usize,
    /// What the device has left, where it can be asked.
    pub available: Option<u64>,
    /// What the host has left, where that is not the device's.
    pub available_beside: Option<u64>,
}

impl MemoryPlan {
    /// Divides `kv_cache_memory` into blocks and fits `max_model_len` to them; what cannot fit is an error that says what
    /// to change.
    pub fn new(
        config: &ModelSettings,
        model: &ModelConfig,
        memory: Memory,
    ) -> anyhow::Result<Self> {
        let kv_cache_memory = memory.kv_cache;
        let kv_dtype = match config.kv_cache_dtype {
            KvCacheDtype::F16 => KvDtype::F16,
            KvCacheDtype::Bf16 => KvDtype::Bf16,
            KvCacheDtype::Int8 => KvDtype::Int8,
        };
        let kv_bytes_per_token = model.kv_bytes_per_token(kv_dtype);
        let block_bytes = kv_bytes_per_token * config.block_size;
        let num_blocks = usize::try_from(kv_cache_memory.0)? / block_bytes;
        let capacity = num_blocks * config.block_size;
        if capacity < 2 {
            bail!(
                "kv_cache_memory: {} does not hold one block of {} tokens, which takes {}; give at least that",
                kv_cache_memory,
                config.block_size,
                ByteSize(block_bytes as u64)
            );
        }
        let num_host_blocks = usize::try_from(config.kv_offload_memory.0)? / block_bytes;
        if num_host_blocks == 0 && config.kv_offload_memory.0 > 0 {
            bail!(
                "kv_offload_memory: {} does not hold one block of {} tokens, which takes {}; give at least that",
                config.kv_offload_memory,
                config.block_size,
                ByteSize(block_bytes as u64)
            );
        }
        let max_model_len = match config.max_model_len {
            Some(len) if len > model.context_length => {
                bail!(
                    "max_model_len: {len} is beyond the model's context of {}",
                    model.context_length
                )
            }
            Some(len) if len > capacity => bail!(
                "max_model_len: {len} tokens need {} of KV cache, but kv_cache_memory is {}; raise it, or lower max_model_len to {capacity}",
                ByteSize((len.div_ceil(config.block_size) * block_bytes) as u64),
                kv_cache_memory
            ),
            Some(len) => len,
            None => model.context_length.min(capacity),
        };
        Ok(Self {
            weights: memory.weights,
            num_blocks,
            num_host_blocks,
            block_size: config.block_size,
            kv_dtype,
            kv_bytes_per_token,
            max_model_len,
            available: memory.available,
            available_beside: memory.available_beside,
        })
    }

    /// Whether the system has room for it, as far as that is known.
    pub fn fits(&self) -> bool {
        self.shortage().is_none()
    }

    /// What of it has no room, and what there is.
    fn shortage(&self) -> Option<Shortage> {
        let offloaded = self.bytes_of(self.num_host_blocks);
        let beside = self
            .available_beside
            .filter(|&available| offloaded > available);
        if let Some(available) = beside {
            return Some(Shortage::Beside(offloaded, available));
        }
        let needed = self.needed();
        let available = self.available.filter(|&available| needed > available)?;
        Some(Shortage::OfDevice(needed, available))
    }

    /// Bytes of the device.
    fn needed(&self) -> u64 {
        let num_host_blocks = match self.available_beside {
            Some(_) => 0,
            None => self.num_host_blocks,
        };
        self.weights + self.bytes_of(self.num_blocks + num_host_blocks)
    }

    /// Bytes of the host's memory.
    pub fn host_bytes(&self) -> u64 {
        match self.available_beside {
            Some(_) => self.bytes_of(self.num_host_blocks),
            None => self.needed(),
        }
    }

    fn bytes_of(&self, num_blocks: usize) -> u64 {
        (num_blocks * self.block_size * self.kv_bytes_per_token) as u64
    }
}

/// What is needed and not there, and what is available.
enum Shortage {
    OfDevice(u64, u64),
    Beside(u64, u64),
}

/// Of the weights as a card keeps them, or the CPU.
pub(super) fn weight_bytes(file: &dyn TensorSource, mix: Option<Mix>, is_card: bool) -> u64 {
    file.shapes()
        .flatten()
        .map(|tensor| match tensor.dims.len() {
            1 => 4 * tensor.cols() as u64,
            _ => {
                let quantised = mix.filter(|_| tensor.encoding.is_float());
                let quantised = quantised.and_then(|mix| mix.type_of(tensor.name, &tensor.dims));
                let format = match quantised {
                    Some(ty) => ty.weight_format(),
                    None => tensor.encoding.weight_format(),
                };
                let format = format.unwrap_or(WeightFormat::F32);
                let (rows, cols) = (tensor.rows(), tensor.cols());
                match is_card {
                    true => TileFormat::of(format).num_bytes(rows, cols) as u64,
                    false => format.packed_bytes(rows, cols) as u64,
                }
            }
        })
        .sum()
}

impl fmt::Display for MemoryPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "weights        {}", ByteSize(self.weights))?;
        writeln!(
            f,
            "KV cache       {} = {} blocks of {} tokens ({} a token in {})",
            ByteSize(self.bytes_of(self.num_blocks)),
            self.num_blocks,
            self.block_size,
            ByteSize(self.kv_bytes_per_token as u64),
            self.kv_dtype
        )?;
        if self.num_host_blocks > 0 {
            writeln!(
                f,
                "KV offload     {} = {} blocks",
                ByteSize(self.bytes_of(self.num_host_blocks)),
                self.num_host_blocks
            )?;
        }
        writeln!(f, "max_model_len  {} tokens", self.max_model_len)?;
        let mut lengths: Vec<usize> = [512, 2048, 8192, 32_768]
            .into_iter()
            .filter(|&length| length < self.max_model_len)
            .collect();
        lengths.push(self.max_model_len);
        for length in lengths {
            let fitting = self.num_blocks / length.div_ceil(self.block_size);
            writeln!(f, "fits           {fitting} sequences of {length} tokens")?;
        }
        match self.shortage() {
            Some(Shortage::Beside(needed, available)) => write!(
                f,
                "does NOT fit   {} of the host's memory are needed for what is offloaded, {} are available: lower kv_offload_memory",
                ByteSize(needed),
                ByteSize(available)
            ),
            Some(Shortage::OfDevice(needed, available)) => write!(
                f,
                "does NOT fit   {} are needed, {} are available: lower kv_cache_memory, or serve a smaller quantisation",
                ByteSize(needed),
                ByteSize(available)
            ),
            None => {
                write!(f, "memory         {} needed", ByteSize(self.needed()))?;
                match self.available {
                    Some(available) => write!(f, ", {} available", ByteSize(available)),
                    None => Ok(()),
                }
            }
        }
    }
}
