//! Copying whole blocks, within a cache or between two.

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, WithDType, bail};

use super::{Bf16, F16, Int8, KvCache, KvDtype, KvFormat};
use crate::ops::tensor::{CudaTensor, Tensor};
use crate::ops::view::{slice, slice_mut};

impl KvCache {
    /// Copies a block's keys and values to another block.
    ///
    /// # Errors
    /// If a block is outside the cache.
    pub fn copy_block(&self, from: u32, to: u32) -> Result<()> {
        let copy = CopyBlock::new(self, self, from, to)?;
        match &self.data {
            Tensor::Cuda(data) => copy.cuda_fwd(data),
            Tensor::Cpu(_) => self.data.inplace_op1(&copy),
        }
    }

    /// Copies a block's keys and values from another cache of the same layer, both in the host's memory.
    ///
    /// # Errors
    /// If a block is outside its cache, or the caches differ in more than their number of blocks.
    pub(super) fn copy_block_from(&self, source: &KvCache, from: u32, to: u32) -> Result<()> {
        let copy = CopyBlock::new(self, source, from, to)?;
        self.data.inplace_op2(&source.data, &copy)
    }
}

/// Where a block starts in each cache, and its length, in units.
struct CopyBlock {
    dtype: KvDtype,
    from: usize,
    to: usize,
    len: usize,
}

impl CopyBlock {
    fn new(cache: &KvCache, source: &KvCache, from: u32, to: u32) -> Result<Self> {
        let (from, to) = (from as usize, to as usize);
        if from >= source.num_blocks || to >= cache.num_blocks {
            bail!(
                "copy_block: from {from} to {to}, but there are {} and {} blocks",
                source.num_blocks,
                cache.num_blocks
            );
        }
        let (_, len) = cache.data.dims()?;
        if source.dtype != cache.dtype || source.data.dims()?.1 != len {
            bail!("copy_block: blocks of the caches are not alike");
        }
        Ok(Self {
            dtype: cache.dtype,
            from: from * len,
            to: to * len,
            len,
        })
    }

    fn cuda_fwd(&self, data: &CudaTensor) -> Result<()> {
        let bytes = |units: usize| units * data.dtype.size_in_bytes();
        let from = data.slice.narrow(bytes(self.from), bytes(self.len))?;
        let to = data.slice.narrow(bytes(self.to), bytes(self.len))?;
        Ok(to.copy_from(&from)?)
    }

    fn within<F: KvFormat>(&self, data: &mut CpuStorage, layout: &Layout) -> Result<()>
    where
        F::Unit: WithDType,
    {
        let data = slice_mut::<F::Unit>("copy_block: cache", data, layout)?;
        data.copy_within(self.from..self.from + self.len, self.to);
        Ok(())
    }

    fn between<F: KvFormat>(
        &self,
        (data, layout): (&mut CpuStorage, &Layout),
        (source, source_layout): (&CpuStorage, &Layout),
    ) -> Result<()>
    where
        F::Unit: WithDType,
    {
        let data = slice_mut::<F::Unit>("copy_block: cache", data, layout)?;
        let source = slice::<F::Unit>("copy_block: source", source, source_layout)?;
        data[self.to..self.to + self.len].copy_from_slice(&source[self.from..self.from + self.len]);
        Ok(())
    }
}

impl InplaceOp1 for CopyBlock {
    fn name(&self) -> &'static str {
        "copy_block"
    }

    fn cpu_fwd(&self, data: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match self.dtype {
            KvDtype::F16 => self.within::<F16>(data, layout),
            KvDtype::Bf16 => self.within::<Bf16>(data, layout),
            KvDtype::Int8 => self.within::<Int8>(data, layout),
        }
    }
}

impl InplaceOp2 for CopyBlock {
    fn name(&self) -> &'static str {
        "copy_block_from"
    }

    fn cpu_fwd(
        &self,
        data: &mut CpuStorage,
        layout: &Layout,
        source: &CpuStorage,
        source_layout: &Layout,
    ) -> Result<()> {
        let (data, source) = ((data, layout), (source, source_layout));
        match self.dtype {
            KvDtype::F16 => self.between::<F16>(data, source),
            KvDtype::Bf16 => self.between::<Bf16>(data, source),
            KvDtype::Int8 => self.between::<Int8>(data, source),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::backend::Device;

    const FORMATS: [(KvDtype, usize); 3] = [
        (KvDtype::F16, 16 * 8),
        (KvDtype::Bf16, 16 * 8),
        (KvDtype::Int8, 16 * 12),
    ];

    /// A cache whose blocks hold their numbers, counted from `first`.
    fn numbered(dtype: KvDtype, num_blocks: usize, num_units: usize, first: usize) -> KvCache {
        let mut cache = KvCache::new(dtype, num_blocks, 1, 16, 8, &Device::Cpu).unwrap();
        let len = num_blocks * 2 * num_units;
        let numbers: Vec<u8> = (0..len)
            .map(|i| (first + i / (2 * num_units)) as u8)
            .collect();
        let (shape, unit) = (cache.data.dims().unwrap(), dtype.unit());
        let numbers =
            candle_core::Tensor::from_vec(numbers, shape, &candle_core::Device::Cpu).unwrap();
        cache.data = numbers.to_dtype(unit).unwrap().into();
        cache
    }

    /// The number that each block holds.
    fn numbers(cache: &KvCache) -> Vec<u8> {
        let data = cache
            .data
            .cpu("cache")
            .unwrap()
            .to_dtype(DType::U8)
            .unwrap()
            .flatten_all()
            .unwrap();
        let data = data.to_vec1::<u8>().unwrap();
        let blocks = data.chunks(data.len() / cache.num_blocks);
        let one = |block: &[u8]| {
            assert!(
                block.iter().all(|x| *x == block[0]),
                "a block is copied whole"
            );
            block[0]
        };
        blocks.map(one).collect()
    }

    #[test]
    fn copies_follow_one_another_and_touch_nothing_else() {
        for (dtype, num_units) in FORMATS {
            let cache = numbered(dtype, 4, num_units, 0);
            for (from, to) in [(2, 0), (0, 3), (1, 2)] {
                cache.copy_block(from, to).unwrap();
            }
            assert_eq!(numbers(&cache), [2, 1, 1, 2]);
        }
    }

    #[test]
    fn blocks_go_to_another_cache_and_come_back() {
        for (dtype, num_units) in FORMATS {
            let (cache, host) = (
                numbered(dtype, 4, num_units, 0),
                numbered(dtype, 9, num_units, 10),
            );
            host.copy_block_from(&cache, 3, 8).unwrap();
            cache.copy_block_from(&host, 8, 0).unwrap();
            cache.copy_block_from(&host, 1, 1).unwrap();
            assert_eq!(numbers(&cache), [3, 11, 2, 3]);
            assert_eq!(numbers(&host), [10, 11, 12, 13, 14, 15, 16, 17, 3]);
        }
    }

    #[test]
    fn blocks_outside_a_cache_or_of_another_kind_are_errors() {
        let new = |dtype, num_blocks, head_dim| {
            KvCache::new(dtype, num_blocks, 1, 16, head_dim, &Device::Cpu).unwrap()
        };
        let (cache, host) = (new(KvDtype::F16, 4, 8), new(KvDtype::F16, 2, 8));
        for (from, to) in [(0, 4), (4, 0)] {
            assert!(cache.copy_block(from, to).is_err());
        }
        for (from, to) in [(2, 0), (0, 4)] {
            assert!(cache.copy_block_from(&host, from, to).is_err());
        }
        for other in [new(KvDtype::Bf16, 2, 8), new(KvDtype::F16, 2, 16)] {
            assert!(cache.copy_block_from(&other, 0, 0).is_err());
        }
    }
}
