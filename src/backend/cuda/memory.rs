//! Memory of a card.
#![allow(unsafe_code)]

use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::context::said;
use super::{Cuda, CudaError};

/// One allocation.
struct Memory {
    cuda: Cuda,
    address: sys::CUdeviceptr,
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.cuda.0.make_current().is_ok() {
            // SAFETY: allocated once, by `alloc`; this waits for what the card does with it.
            let _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// A part of an allocation on a card, which lives as long as any part of it.
#[derive(Clone)]
pub struct Slice {
    memory: Arc<Memory>,
    offset: usize,
    pub(super) num_bytes: usize,
}

impl std::fmt::Debug for Slice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of {:?}", self.num_bytes, self.memory.cuda)
    }
}

impl Cuda {
    /// Memory that holds anything, from a multiple of 256 bytes on.
    ///
    /// # Errors
    /// If there is no room.
    pub fn alloc(&self, num_bytes: usize) -> Result<Slice, CudaError> {
        self.0.make_current()?;
        // SAFETY: it is owned by what follows. The driver refuses to allocate nothing.
        let address = match unsafe { result::malloc_sync(num_bytes.max(1)) } {
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = self.memory()?;
                return Err(CudaError::OutOfMemory {
                    num_bytes,
                    free,
                    total,
                });
            }
            answer => said("cuMemAlloc", answer)?,
        };
        let memory = Memory {
            cuda: self.clone(),
            address,
        };
        Ok(Slice {
            memory: Arc::new(memory),
            offset: 0,
            num_bytes,
        })
    }

    /// Memory of zeros.
    ///
    /// # Errors
    /// If there is no room.
    pub fn alloc_zeroed(&self, num_bytes: usize) -> Result<Slice, CudaError> {
        let slice = self.alloc(num_bytes)?;
        slice.fill_zero()?;
        Ok(slice)
    }

    /// A copy of `bytes`, there when this returns. Any thread may do so at any time.
    ///
    /// # Errors
    /// If there is no room or the driver fails.
    pub fn upload(&self, bytes: &[u8]) -> Result<Slice, CudaError> {
        let slice = self.alloc(bytes.len())?;
        if !bytes.is_empty() {
            self.0.upload(bytes, slice.address())?;
        }
        Ok(slice)
    }
}

impl Slice {
    /// Where it begins.
    pub(super) fn address(&self) -> u64 {
        self.memory.address + self.offset as u64
    }

    /// Its length.
    pub fn num_bytes(&self) -> usize {
        self.num_bytes
    }

    /// The card that has it.
    pub fn cuda(&self) -> &Cuda {
        &self.memory.cuda
    }

    /// `num_bytes` of it from `offset` on.
    ///
    /// # Errors
    /// If it has not so many.
    pub fn narrow(&self, offset: usize, num_bytes: usize) -> Result<Self, CudaError> {
        let end = offset.checked_add(num_bytes);
        if end.is_none_or(|end| end > self.num_bytes) {
            return Err(CudaError::Launch {
                kernel: "narrow".to_owned(),
                reason: format!("{num_bytes} bytes from {offset} of {}", self.num_bytes),
            });
        }
        Ok(Self {
            memory: Arc::clone(&self.memory),
            offset: self.offset + offset,
            num_bytes,
        })
    }

    /// Makes it zeros, in the stream's order.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn fill_zero(&self) -> Result<(), CudaError> {
        let context = &self.cuda().0;
        if self.num_bytes == 0 {
            return Ok(());
        }
        context.make_current()?;
        // SAFETY: inside an allocation, which lives until the card is done with it.
        let set =
            unsafe { result::memset_d8_async(self.address(), 0, self.num_bytes, context.stream) };
        said("cuMemsetD8Async", set)
    }

    /// Copies `from` there, of the same card, in the stream's order. They must not overlap.
    ///
    /// # Errors
    /// If they are not as long, or the driver fails.
    pub fn copy_from(&self, from: &Self) -> Result<(), CudaError> {
        self.check_len("copy", from.num_bytes)?;
        check_same("copy", self.cuda(), from.cuda())?;
        let context = &self.cuda().0;
        context.make_current()?;
        // SAFETY: both have that many bytes, and live until the card is done with them.
        let copied = unsafe {
            result::memcpy_dtod_async(
                self.address(),
                from.address(),
                self.num_bytes,
                context.stream,
            )
        };
        said("cuMemcpyDtoDAsync", copied)
    }

    /// Copies `bytes` there; done when this returns.
    ///
    /// # Errors
    /// If they are not as many, or the driver fails.
    pub fn write(&self, bytes: &[u8]) -> Result<(), CudaError> {
        self.check_len("write", bytes.len())?;
        let context = &self.cuda().0;
        context.make_current()?;
        if !bytes.is_empty() {
            // SAFETY: both have that many bytes, and the host's outlive the copy, for which this waits.
            let copied =
                unsafe { result::memcpy_htod_async(self.address(), bytes, context.stream) };
            said("cuMemcpyHtoDAsync", copied)?;
        }
        self.cuda().synchronise()
    }

    /// Its bytes, once everything asked for before is done.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn read(&self) -> Result<Vec<u8>, CudaError> {
        let context = &self.cuda().0;
        context.make_current()?;
        let mut bytes = vec![0; self.num_bytes];
        if !bytes.is_empty() {
            // SAFETY: both have that many bytes, and the host's outlive the copy, for which this waits.
            let copied =
                unsafe { result::memcpy_dtoh_async(&mut bytes, self.address(), context.stream) };
            let waited = self.cuda().synchronise();
            said("cuMemcpyDtoHAsync", copied)?;
            waited?;
        }
        Ok(bytes)
    }

    fn check_len(&self, doing: &str, num_bytes: usize) -> Result<(), CudaError> {
        if num_bytes == self.num_bytes {
            return Ok(());
        }
        Err(CudaError::Launch {
            kernel: doing.to_owned(),
            reason: format!("{num_bytes} bytes for a slice of {}", self.num_bytes),
        })
    }
}

/// Two openings of a card have a stream each, and nothing orders one after the other.
pub(super) fn check_same(doing: &str, one: &Cuda, other: &Cuda) -> Result<(), CudaError> {
    match one.is_same(other) {
        true => Ok(()),
        false => Err(CudaError::Launch {
            kernel: doing.to_owned(),
            reason: format!("between {one:?} and {other:?}, which was opened apart from it"),
        }),
    }
}
