//! From the projections of a step to what attention reads: queries turned, keys and values in the cache.
#![allow(unsafe_code)]

mod card;

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, bail};

use super::kv_cache::{Bf16, F16, Int8, KvCache, KvDtype, KvFormat, MAX_HEAD_DIM, Slots, TILE};
use super::numbers::Numbers;
use super::rms_norm::normalise;
use super::rope::RopeTable;
use super::view::{expect_dims, rows_and_columns, slice_mut};
use super::{Tensor, Vector};
use crate::backend::cpu::{Cpu, DisjointMut, Kernel, Simd};

/// RMSNorm of every query and key head (Qwen3).
#[derive(Clone, Copy, Debug)]
pub struct QkNorm<'a> {
    /// `[D]`.
    pub q: &'a Vector,
    /// `[D]`.
    pub k: &'a Vector,
    /// Added to the mean square.
    pub eps: f32,
}

/// Turns the queries of `qkv` by their row's position, in place, and stores the turned keys and the values in the slots
/// of `cache`, in its dtype; the keys of `qkv` are turned, too. With `norm`, queries and keys are normalised first; without a
/// table nothing is turned.
///
/// qkv `[T, (num_heads + 2 · num_kv_heads) · D]` f32: a row's queries, then its keys, then its values, by head; T positions
/// and T slots.
///
/// # Errors
/// If a shape does not fit, a position is outside the table, or the slots are for another cache.
pub fn rope_store<'a>(
    qkv: &Tensor,
    cache: &KvCache,
    positions: impl Into<Numbers<'a>>,
    slots: &Slots<'_>,
    norm: Option<QkNorm<'_>>,
    table: Option<&RopeTable>,
    cpu: &Cpu,
) -> Result<()> {
    let numbers = positions.into();
    let positions = numbers.host;
    let &KvCache {
        num_kv_heads,
        head_dim,
        ..
    } = cache;
    let (_, width) = rows_and_columns("rope_store: qkv", qkv)?;
    expect_dims("rope_store: qkv", qkv, &[positions.len(), width])?;
    let kv_width = num_kv_heads * head_dim;
    if width < 2 * kv_width || !width.is_multiple_of(head_dim) {
        bail!(
            "rope_store: qkv has rows of {width}, not of whole heads of {head_dim} with {num_kv_heads} for keys and as many for values"
        );
    }
    if let Some(table) = table {
        if table.head_dim() != head_dim {
            bail!(
                "rope_store: the table is for heads of {}, the cache for heads of {head_dim}",
                table.head_dim()
            );
        }
        table.check(positions)?;
    }
    if slots.slot_mapping.len() != positions.len() {
        bail!(
            "rope_store: {} slots for {} rows",
            slots.slot_mapping.len(),
            positions.len()
        );
    }
    if cache.num_slots() != slots.num_slots {
        bail!(
            "rope_store: slots are for a cache of {} slots, cache has {}",
            slots.num_slots,
            cache.num_slots()
        );
    }
    for weight in norm.iter().flat_map(|norm| [norm.q, norm.k]) {
        if weight.len() != head_dim {
            bail!(
                "rope_store: norm must have {head_dim} values (D), has {}",
                weight.len()
            );
        }
    }
    if let Tensor::Cuda(qkv) = qkv {
        return card::cuda_fwd(qkv, cache, &numbers, slots, norm, table, width);
    }
    cache.data.inplace_op1(&RopeStore {
        qkv,
        cache,
        positions,
        slot_mapping: slots.slot_mapping,
        norm,
        table,
        width,
        cpu,
    })
}

/// Over the cache; candle lends one storage a call to write to, so the rows' is taken inside, by [`Rows`].
struct RopeStore<'a> {
    qkv: &'a Tensor,
    cache: &'a KvCache,
    positions: &'a [u32],
    slot_mapping: &'a [u32],
    norm: Option<QkNorm<'a>>,
    table: Option<&'a RopeTable>,
    width: usize,
    cpu: &'a Cpu,
}

impl RopeStore<'_> {
    fn rows<F: KvFormat>(&self, cache: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let cache = slice_mut::<F::Unit>("rope_store: cache", cache, layout)?;
        let writer = Writer::<F> {
            cache: self.cache,
            data: &DisjointMut::new(cache),
        };
        self.qkv.inplace_op1(&Rows { op: self, writer })
    }
}

impl InplaceOp1 for RopeStore<'_> {
    fn name(&self) -> &'static str {
        "rope_store"
    }

    fn cpu_fwd(&self, cache: &mut CpuStorage, layout: &Layout) -> Result<()> {
        match self.cache.dtype {
            KvDtype::F16 => self.rows::<F16>(cache, layout),
            KvDtype::Bf16 => self.rows::<Bf16>(cache, layout),
            KvDtype::Int8 => self.rows::<Int8>(cache, layout),
        }
    }
}

struct Rows<'a, F: KvFormat> {
    op: &'a RopeStore<'a>,
    writer: Writer<'a, F>,
}

impl<F: KvFormat> InplaceOp1 for Rows<'_, F> {
    fn name(&self) -> &'static str {
        "rope_store"
    }

    fn cpu_fwd(&self, qkv: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let &RopeStore { width, cpu, .. } = self.op;
        let qkv = slice_mut::<f32>("rope_store: qkv", qkv, layout)?;
        if qkv.is_empty() {
            return Ok(());
        }
        let rows_per_task = cpu.rows_per_task(self.op.positions.len(), width);
        cpu.for_each_chunk(qkv, rows_per_task * width, &|i, rows| {
            cpu.dispatch(TurnAndStore::<F> {
                op: self.op,
                writer: &self.writer,
                rows,
                first_row: i * rows_per_task,
            });
        });
        Ok(())
    }
}

struct TurnAndStore<'a, F: KvFormat> {
    op: &'a RopeStore<'a>,
    writer: &'a Writer<'a, F>,
    rows: &'a mut [f32],
    first_row: usize,
}

impl<F: KvFormat> Kernel for TurnAndStore<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let &RopeStore {
            cache:
                &KvCache {
                    num_kv_heads,
                    head_dim,
                    ..
                },
            positions,
            slot_mapping,
            norm,
            table,
            width,
            ..
        } = self.op;
        let kv_width = num_kv_heads * head_dim;
        for (i, row) in self.rows.chunks_exact_mut(width).enumerate() {
            let row_idx = self.first_row + i;
            let (q, kv) = row.split_at_mut(width - 2 * kv_width);
            let (k, v) = kv.split_at_mut(kv_width);
            for (heads, weight) in [
                (q, norm.map(|norm| (norm.q, norm.eps))),
                (&mut *k, norm.map(|norm| (norm.k, norm.eps))),
            ] {
                for head in heads.chunks_exact_mut(head_dim) {
                    if let Some((weight, eps)) = weight {
                        normalise(s, head, weight, eps);
                    }
                    if let Some(table) = table {
                        table.turn(head, positions[row_idx]);
                    }
                }
            }
            for head in 0..num_kv_heads {
                let part = head * head_dim..(head + 1) * head_dim;
                let slot = slot_mapping[row_idx] as usize;
                // SAFETY: `Slots` holds no slot twice, each row is in one task, and `rope_store` has compared its number of
                // slots with the cache's.
                unsafe {
                    self.writer.store(s, slot, 0, head, &k[part.clone()]);
                    self.writer.store(s, slot, 1, head, &v[part]);
                }
            }
        }
    }
}

/// Puts values into the cache. Keys of different slots interleave in a tile, but share no element.
struct Writer<'a, F: KvFormat> {
    cache: &'a KvCache,
    data: &'a DisjointMut<'a, F::Unit>,
}

impl<F: KvFormat> Writer<'_, F> {
    /// The key (`which` 0) or value (1) of one head.
    ///
    /// # Safety
    /// `cache` must be the layout of `data`, and nobody else may write the slot at the same time.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, slot: usize, which: usize, head: usize, values: &[f32]) {
        let &KvCache {
            block_size,
            head_dim,
            ..
        } = self.cache;
        let (block, offset) = (slot / block_size, slot % block_size);
        let start = self.cache.head_start::<F>(block, which, head);
        let mut units = [F::Unit::default(); MAX_HEAD_DIM];
        let units = &mut units[..head_dim];
        let scale = start + block_size * head_dim + offset * F::SCALE_UNITS;
        // SAFETY: the slot is the caller's alone, and the part lives no longer than this call.
        F::encode(s, values, units, unsafe {
            self.data.slice(scale, F::SCALE_UNITS)
        });
        if which == 0 {
            let tile = start + offset / TILE * TILE * head_dim + offset % TILE;
            for (d, unit) in units.iter().enumerate() {
                // SAFETY: as above.
                unsafe { self.data.slice(tile + d * TILE, 1) }.fill(*unit);
            }
        } else {
            // SAFETY: as above.
            unsafe { self.data.slice(start + offset * head_dim, head_dim) }.copy_from_slice(units);
        }
    }
}

#[cfg(test)]
mod tests;
