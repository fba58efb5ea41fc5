//! Copying whole blocks.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, WithDType, bail};

use super::{Bf16, F16, Int8, KvCache, KvDtype, KvFormat};
use crate::ops::view::slice_mut;

impl KvCache {
    /// Copies keys and values of blocks, as `(from, to)`, one pair after the other.
    ///
    /// # Errors
    /// If a block is outside the cache.
    pub fn copy_blocks(&self, copies: &[(u32, u32)]) -> Result<()> {
        for (i, &(from, to)) in copies.iter().enumerate() {
            if from.max(to) as usize >= self.num_blocks {
                bail!(
                    "copy_blocks: copies[{i}] is from {from} to {to}, but the cache has {} blocks",
                    self.num_blocks
                );
            }
        }
        if copies.is_empty() {
            return Ok(());
        }
        let cache = self;
        self.data.inplace_op1(&CopyBlocks { cache, copies })
    }
}

struct CopyBlocks<'a> {
    cache: &'a KvCache,
    copies: &'a [(u32, u32)],
}

impl CopyBlocks<'_> {
    fn copy<F: KvFormat>(&self, data: &mut CpuStorage, layout: &Layout) -> Result<()>
    where
        F::Unit: WithDType,
    {
        let data = slice_mut::<F::Unit>("copy_blocks: cache", data, layout)?;
        let block_len = 2 * self.cache.num_kv_heads * self.cache.head_len::<F>();
        for &(from, to) in self.copies {
            let start = from as usize * block_len;
            data.copy_within(start..start + block_len, to as usize * block_len);
        }
        Ok(())
    }
}

impl InplaceOp1 for CopyBlocks<'_> {
    fn name(&self) -> &'static str {
        "copy_blocks"
    }

    fn cpu_fwd(&self, data: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match self.cache.dtype {
            KvDtype::F16 => self.copy::<F16>(data, layout),
            KvDtype::Bf16 => self.copy::<Bf16>(data, layout),
            KvDtype::Int8 => self.copy::<Int8>(data, layout),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn copies_follow_one_another_and_touch_nothing_else() {
        for (dtype, num_units) in [(KvDtype::F16, 16 * 8), (KvDtype::Int8, 16 * 12)] {
            let mut cache = KvCache::new(dtype, 4, 1, 16, 8, &Device::Cpu).unwrap();
            let len = 4 * 2 * num_units;
            let numbers: Vec<u8> = (0..len).map(|i| (i / (2 * num_units)) as u8).collect();
            let shape = cache.data.shape().clone();
            let numbers = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap();
            cache.data = numbers.to_dtype(cache.data.dtype()).unwrap();
            cache.copy_blocks(&[(2, 0), (0, 3), (1, 2)]).unwrap();
            let data = cache.data.to_dtype(candle_core::DType::U8).unwrap();
            let data = data.flatten_all().unwrap().to_vec1::<u8>().unwrap();
            for (block, want) in data.chunks(2 * num_units).zip([2, 1, 1, 2]) {
                assert!(block.iter().all(|&x| x == want));
            }
        }
    }

    #[test]
    fn a_block_outside_the_cache_is_an_error() {
        let cache = KvCache::new(KvDtype::F16, 4, 1, 16, 8, &Device::Cpu).unwrap();
        let error = cache.copy_blocks(&[(0, 1), (4, 0)]).unwrap_err();
        assert!(error.to_string().contains("copies[1]"), "{error}");
    }
}
