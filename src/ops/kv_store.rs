//! Writing the keys and values of a step into the paged cache.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, InplaceOp3, Layout, Result, Tensor, bail};
use half::f16;

use super::view::{expect_dims, slice, slice_mut};
use crate::backend::cpu::{Cpu, DisjointMut, Kernel, Simd};

/// Where the rows of a step go in the cache: checked once a step, used by every layer.
///
/// Invariant: all slots are below `num_slots`, and no two are the same.
#[derive(Debug)]
pub struct Slots<'a> {
    slot_mapping: &'a [u32],
    num_slots: usize,
}

impl<'a> Slots<'a> {
    /// Checks `slot_mapping` `[T]`, `slot = block · block_size + offset`, against a cache of `num_slots` slots.
    ///
    /// # Errors
    /// If a slot is outside the cache, or two rows have the same slot.
    pub fn new(slot_mapping: &'a [u32], num_slots: usize) -> Result<Self> {
        if let Some((t, slot)) = slot_mapping
            .iter()
            .enumerate()
            .find(|&(_, &slot)| slot as usize >= num_slots)
        {
            bail!("slot_mapping[{t}] is {slot}, but the cache has {num_slots} slots");
        }
        let mut sorted = slot_mapping.to_vec();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("slot {} stands twice in slot_mapping", pair[0]);
        }
        Ok(Self {
            slot_mapping,
            num_slots,
        })
    }
}

/// Stores row t of k and v at slot t of `slots` in the cache, rounded to f16 (nearest, ties to even).
///
/// cache `[num_blocks, 2, num_kv_heads, block_size, D]` f16, where the second dimension is (key, value); k and v
/// `[T, num_kv_heads · D]` f32; T slots.
///
/// # Errors
/// If a shape does not fit, the slots are for another cache, or D is no multiple of 8.
pub fn kv_store(
    cache: &Tensor,
    k: &Tensor,
    v: &Tensor,
    slots: &Slots<'_>,
    cpu: &Cpu,
) -> Result<()> {
    let &[num_blocks, 2, num_kv_heads, block_size, head_dim] = cache.dims() else {
        bail!(
            "kv_store: cache must be [num_blocks, 2, num_kv_heads, block_size, D], is {:?}",
            cache.dims()
        );
    };
    if !head_dim.is_multiple_of(8) {
        bail!("kv_store: D must be a multiple of 8, is {head_dim}");
    }
    let width = num_kv_heads * head_dim;
    let &Slots {
        slot_mapping,
        num_slots,
    } = slots;
    expect_dims("kv_store: k", k, &[slot_mapping.len(), width])?;
    expect_dims("kv_store: v", v, &[slot_mapping.len(), width])?;
    if num_blocks * block_size != num_slots {
        bail!(
            "kv_store: slots are for a cache of {num_slots} slots, cache has {}",
            num_blocks * block_size
        );
    }
    cache.inplace_op3(
        k,
        v,
        &KvStore {
            slot_mapping,
            num_kv_heads,
            block_size,
            head_dim,
            cpu,
        },
    )
}

struct KvStore<'a> {
    /// Of [`Slots`].
    slot_mapping: &'a [u32],
    num_kv_heads: usize,
    block_size: usize,
    head_dim: usize,
    cpu: &'a Cpu,
}

impl InplaceOp3 for KvStore<'_> {
    fn name(&self) -> &'static str {
        "kv_store"
    }

    fn cpu_fwd(
        &self,
        cache: &mut CpuStorage,
        cache_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<()> {
        let cache = DisjointMut::new(slice_mut::<f16>("kv_store: cache", cache, cache_layout)?);
        let k = slice::<f32>("kv_store: k", k, k_layout)?;
        let v = slice::<f32>("kv_store: v", v, v_layout)?;
        let num_rows = self.slot_mapping.len();
        let rows_per_task = self
            .cpu
            .rows_per_task(num_rows, 2 * self.num_kv_heads * self.head_dim);
        self.cpu.run(num_rows.div_ceil(rows_per_task), &|task| {
            let first = task * rows_per_task;
            let rows = first..num_rows.min(first + rows_per_task);
            self.cpu.dispatch(StoreRows {
                op: self,
                cache: &cache,
                sources: [k, v],
                rows,
            });
        });
        Ok(())
    }
}

struct StoreRows<'a> {
    op: &'a KvStore<'a>,
    cache: &'a DisjointMut<'a, f16>,
    sources: [&'a [f32]; 2],
    rows: std::ops::Range<usize>,
}

impl Kernel for StoreRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let &KvStore {
            slot_mapping,
            num_kv_heads,
            block_size,
            head_dim,
            ..
        } = self.op;
        for row in self.rows {
            let slot = slot_mapping[row] as usize;
            let (block, offset) = (slot / block_size, slot % block_size);
            for (which, source) in self.sources.iter().enumerate() {
                for head in 0..num_kv_heads {
                    let from = &source[(row * num_kv_heads + head) * head_dim..][..head_dim];
                    let start = (((block * 2 + which) * num_kv_heads + head) * block_size + offset)
                        * head_dim;
                    // SAFETY: rows have different slots, and no row is in two tasks.
                    let to = unsafe { self.cache.slice(start, head_dim) };
                    for (to, from) in to
                        .as_chunks_mut::<8>()
                        .0
                        .iter_mut()
                        .zip(from.as_chunks::<8>().0)
                    {
                        s.store_f16(s.load(from), to);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::super::testing::{Random, cpus, tensor};
    use super::*;

    #[test]
    fn rows_land_rounded_in_their_slots_and_nothing_else_changes() {
        let (num_blocks, num_kv_heads, block_size, head_dim) = (7, 3, 16, 24);
        let width = num_kv_heads * head_dim;
        let mut random = Random::new(2);
        let mut slots: Vec<u32> = (0..112).collect();
        (1..112).for_each(|i| slots.swap(i, random.below(i + 1)));
        let slots = &slots[..90];
        let (k, v) = (
            random.floats(90 * width, 5.0),
            random.floats(90 * width, 5.0),
        );
        for cpu in cpus() {
            let shape = (num_blocks, 2, num_kv_heads, block_size, head_dim);
            let cache = Tensor::full(f16::ONE, shape, &Device::Cpu).unwrap();
            kv_store(
                &cache,
                &tensor(&k, (90, width)),
                &tensor(&v, (90, width)),
                &Slots::new(slots, 112).unwrap(),
                &cpu,
            )
            .unwrap();
            let got = cache.flatten_all().unwrap().to_vec1::<f16>().unwrap();
            for (at, got) in got.iter().enumerate() {
                let (d, offset) = (at % head_dim, at / head_dim % block_size);
                let (head, which) = (
                    at / (head_dim * block_size) % num_kv_heads,
                    at / (width * block_size) % 2,
                );
                let slot = at / (2 * width * block_size) * block_size + offset;
                let source = if which == 0 { &k } else { &v };
                let want = slots.iter().position(|&s| s as usize == slot);
                let want = want.map_or(f16::ONE, |t| {
                    f16::from_f32(source[t * width + head * head_dim + d])
                });
                assert_eq!(got.to_bits(), want.to_bits());
            }
        }
    }

    #[test]
    fn slots_outside_the_cache_or_used_twice_are_errors() {
        let error = |slots: &[u32]| Slots::new(slots, 32).unwrap_err().to_string();
        assert!(error(&[0, 32]).contains("slot_mapping[1] is 32"));
        assert!(error(&[5, 5]).contains("slot 5 stands twice"));
    }

    #[test]
    fn slots_of_another_cache_and_shapes_that_do_not_fit_are_errors() {
        let cpu = Cpu::new(1).unwrap();
        let cache = Tensor::zeros((2, 2, 1, 16, 8), DType::F16, &Device::Cpu).unwrap();
        let kv = tensor(&[0.0; 16], (2, 8));
        let store = |k: &Tensor, num_slots: usize| {
            let slots = Slots::new(&[0, 1], num_slots).unwrap();
            kv_store(&cache, k, &kv, &slots, &cpu).map_err(|error| error.to_string())
        };
        store(&kv, 32).unwrap();
        assert!(store(&kv, 48).unwrap_err().contains("48 slots"));
        let wide = tensor(&[0.0; 16], (1, 16));
        assert!(store(&wide, 32).unwrap_err().contains("kv_store: k"));
    }
}
