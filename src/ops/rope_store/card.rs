//! RoPE and storing on a card: `kernels/rope_store.cu`.

use candle_core::{Result, bail};

use super::QkNorm;
use crate::backend::cuda::Slice;
use crate::ops::numbers::Numbers;
use crate::ops::rope::RopeTable;
use crate::ops::tensor::CudaTensor;
use crate::ops::{KvCache, RopeStyle, Slots};

/// [`rope_store`](super::rope_store) on a card: qkv of 16 bits.
pub(super) fn cuda_fwd(
    qkv: &CudaTensor,
    cache: &KvCache,
    positions: &Numbers<'_>,
    slots: &Slots<'_>,
    norm: Option<QkNorm<'_>>,
    table: Option<&RopeTable>,
    width: usize,
) -> Result<()> {
    let half = qkv.half_name("rope_store: qkv")?;
    let &KvCache {
        num_kv_heads,
        head_dim,
        block_size,
        dtype,
        ..
    } = cache;
    let weights = norm.map(|norm| {
        let (q, k) = (
            norm.q.slice("rope_store: norm")?,
            norm.k.slice("rope_store: norm")?,
        );
        Ok::<_, candle_core::Error>((q, k))
    });
    let (q_norm, k_norm) = weights.transpose()?.unzip();
    let (turns, rotary_dim, style): (Option<&Slice>, _, _) = match table {
        None => (None, 0, RopeStyle::Half),
        Some(table) => {
            let Some(turns) = table.slice() else {
                bail!("rope_store: the table must be in the card's memory, too");
            };
            (Some(turns), table.rotary_dim(), table.style())
        }
    };
    let heads = width / head_dim;
    let grid = [positions.host.len(), heads.div_ceil(4), 1];
    let name = format!("rope_store_{half}_{dtype}");
    (qkv.card().kernel("rope_store", name, grid, 128))
        .slice(&qkv.slice)
        .slice(cache.data.slice("rope_store: cache")?)
        .slice(positions.slice("rope_store: positions")?)
        .slice(slots.slice("rope_store: slots")?)
        .opt_slice(turns)
        .opt_slice(q_norm)
        .opt_slice(k_norm)
        .int(usize::from(norm.is_some()))
        .int(heads - 2 * num_kv_heads)
        .int(num_kv_heads)
        .int(block_size)
        .int(head_dim)
        .int(rotary_dim)
        .int(usize::from(style == RopeStyle::Interleaved))
        .float(norm.map_or(0.0, |norm| norm.eps))
        .run()?;
    Ok(())
}
