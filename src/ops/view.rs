//! Slices and shape checks of candle storages, with errors that name the op and the argument.

use candle_core::{CpuStorage, Layout, Result, WithDType, bail};
use half::{bf16, f16};

use super::Tensor;

/// Element types whose storage an op may write.
pub(super) trait Element: WithDType {
    fn vec_mut(storage: &mut CpuStorage) -> Option<&mut Vec<Self>>;
}

impl Element for f32 {
    fn vec_mut(storage: &mut CpuStorage) -> Option<&mut Vec<f32>> {
        if let CpuStorage::F32(data) = storage {
            Some(data)
        } else {
            None
        }
    }
}

impl Element for bf16 {
    fn vec_mut(storage: &mut CpuStorage) -> Option<&mut Vec<bf16>> {
        if let CpuStorage::BF16(data) = storage {
            Some(data)
        } else {
            None
        }
    }
}

impl Element for u8 {
    fn vec_mut(storage: &mut CpuStorage) -> Option<&mut Vec<u8>> {
        if let CpuStorage::U8(data) = storage {
            Some(data)
        } else {
            None
        }
    }
}

impl Element for f16 {
    fn vec_mut(storage: &mut CpuStorage) -> Option<&mut Vec<f16>> {
        if let CpuStorage::F16(data) = storage {
            Some(data)
        } else {
            None
        }
    }
}

fn range(what: &str, layout: &Layout) -> Result<std::ops::Range<usize>> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(start..end),
        None => bail!(
            "{what}: must be contiguous, has shape {:?} and stride {:?}",
            layout.shape(),
            layout.stride()
        ),
    }
}

/// The elements of a contiguous view; `what` is "op: argument".
pub(super) fn slice<'a, T: Element>(
    what: &str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [T]> {
    match storage.as_slice::<T>() {
        Ok(data) => Ok(&data[range(what, layout)?]),
        Err(_) => bail!("{what}: must be {:?}", T::DTYPE),
    }
}

/// As [`slice`], to write.
pub(super) fn slice_mut<'a, T: Element>(
    what: &str,
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [T]> {
    let range = range(what, layout)?;
    match T::vec_mut(storage) {
        Some(data) => Ok(&mut data[range]),
        None => bail!("{what}: must be {:?}", T::DTYPE),
    }
}

/// The two dimensions of `tensor`.
pub(super) fn rows_and_columns(what: &str, tensor: &Tensor) -> Result<(usize, usize)> {
    match tensor.dims() {
        Ok(dims) => Ok(dims),
        Err(error) => bail!("{what}: must have two dimensions: {error}"),
    }
}

/// Fails unless `tensor` has the dimensions `want`.
pub(super) fn expect_dims(what: &str, tensor: &Tensor, want: &[usize; 2]) -> Result<()> {
    let (rows, columns) = rows_and_columns(what, tensor)?;
    if [rows, columns] != *want {
        bail!("{what}: must have shape {want:?}, has [{rows}, {columns}]");
    }
    Ok(())
}
