//! Blocks of a layer's cache that are kept on the host, as they stand.

use candle_core::{Result, bail};

use super::KvCache;
use crate::backend::Device;
use crate::backend::cuda::{Beside, Shelf, Slice};
use crate::ops::Tensor;

/// Room on the host for blocks of one layer's cache.
pub enum HostBlocks {
    /// Of a cache in the host's memory.
    Cpu(KvCache),
    /// Of a card's, which copies by itself.
    Card {
        /// The blocks, one after the other.
        shelf: Shelf,
        /// How many there are.
        num_blocks: usize,
    },
}

impl HostBlocks {
    /// Room for `num_blocks` blocks of `cache`.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(cache: &KvCache, num_blocks: usize) -> Result<Self> {
        match &cache.data {
            Tensor::Cpu(_) => Ok(Self::Cpu(KvCache::new(
                cache.dtype,
                num_blocks,
                cache.num_kv_heads,
                cache.block_size,
                cache.head_dim,
                &Device::Cpu,
            )?)),
            Tensor::Cuda(data) => {
                let num_bytes = num_blocks * cache.block_bytes()?;
                let shelf = Shelf::new(data.card(), num_bytes).map_err(|error| {
                    let message = format!(
                        "kv_offload_memory: {num_bytes} bytes for a layer's blocks: {error}; lower it"
                    );
                    candle_core::Error::Msg(message)
                })?;
                Ok(Self::Card { shelf, num_blocks })
            }
        }
    }

    /// Keeps `block` of `cache` in `slot`: on a card, in its stream's order or in that of a stream beside it.
    ///
    /// # Errors
    /// If either is not there, or the cache is not one like that it was made for.
    pub fn save(
        &self,
        cache: &KvCache,
        block: u32,
        slot: u32,
        beside: Option<&Beside>,
    ) -> Result<()> {
        match self {
            Self::Cpu(host) => host.copy_block_from(cache, block, slot),
            Self::Card { shelf, num_blocks } => {
                let (part, offset) = on_card(cache, block, slot, *num_blocks)?;
                Ok(shelf.put(&part, offset, beside)?)
            }
        }
    }

    /// Brings what `slot` has back into `block` of `cache`, as [`HostBlocks::save`].
    ///
    /// # Errors
    /// As for [`HostBlocks::save`].
    pub fn load(
        &self,
        slot: u32,
        cache: &KvCache,
        block: u32,
        beside: Option<&Beside>,
    ) -> Result<()> {
        match self {
            Self::Cpu(host) => cache.copy_block_from(host, slot, block),
            Self::Card { shelf, num_blocks } => {
                let (part, offset) = on_card(cache, block, slot, *num_blocks)?;
                Ok(shelf.get(offset, &part, beside)?)
            }
        }
    }
}

/// A block of a card's cache, and where a slot of `num_slots` begins.
fn on_card(cache: &KvCache, block: u32, slot: u32, num_slots: usize) -> Result<(Slice, usize)> {
    let (block, slot, len) = (block as usize, slot as usize, cache.block_bytes()?);
    if block >= cache.num_blocks || slot >= num_slots {
        bail!(
            "host blocks: block {block} and slot {slot}, but there are {} and {num_slots}",
            cache.num_blocks
        );
    }
    let data = cache.data.slice("host blocks: cache")?;
    Ok((data.narrow(block * len, len)?, slot * len))
}
