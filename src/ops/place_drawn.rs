//! Input tokens that a card draws itself.

use candle_core::{Result, bail};

use super::numbers::Numbers;
use crate::backend::cuda::Slice;

/// `ids[row] = drawn[i]` for each pair (row, i) of `pending`, u32 `[N, 2]`, on the card, in the order of what is asked of it; 0 where
/// nothing was drawn ([`u32::MAX`]). Rows are below T, and each is there once; i is below the length of `drawn`. `kernels/embedding.cu`.
///
/// # Errors
/// If the numbers are not on the card, or it fails.
pub fn place_drawn(ids: &Numbers<'_>, pending: &Slice, drawn: &Slice) -> Result<()> {
    const THREADS: usize = 256;
    let num_pending = pending.num_bytes() / 8;
    if num_pending > ids.len() {
        bail!(
            "place_drawn: {num_pending} of {} tokens are drawn",
            ids.len()
        );
    }
    if num_pending == 0 {
        return Ok(());
    }
    let ids = ids.slice("place_drawn: ids")?;
    let grid = [num_pending.div_ceil(THREADS), 1, 1];
    (ids.cuda().kernel("embedding", "place_drawn", grid, THREADS))
        .slice(ids)
        .slice(pending)
        .slice(drawn)
        .int(num_pending)
        .run()?;
    Ok(())
}
