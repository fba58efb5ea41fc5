//! Memory of a card, and of the host's that the card copies to and from by itself.
#![allow(unsafe_code)]

use std::ffi::c_void;
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
    num_bytes: usize,
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

    /// A copy of `bytes`, there when this returns.
    ///
    /// # Errors
    /// If there is no room or the driver fails.
    pub fn upload(&self, bytes: &[u8]) -> Result<Slice, CudaError> {
        let slice = self.alloc(bytes.len())?;
        slice.write(bytes)?;
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

/// Memory of the host that stays where it is, so that the card copies without the host's help; and when its last copy is done.
struct Pinned {
    cuda: Cuda,
    data: *mut u8,
    num_bytes: usize,
    done: sys::CUevent,
}

// SAFETY: it is owned, and the driver's functions may be called by any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(cuda: &Cuda, num_bytes: usize) -> Result<Self, CudaError> {
        cuda.0.make_current()?;
        // SAFETY: owned by what follows; zeros below make it initialised.
        let data = unsafe { result::malloc_host(num_bytes.max(1), 0) };
        let data = said("cuMemHostAlloc", data)?.cast::<u8>();
        // SAFETY: that many bytes are there.
        unsafe { data.write_bytes(0, num_bytes) };
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        let done = said("cuEventCreate", result::event::create(flags));
        if done.is_err() {
            // SAFETY: allocated above.
            let _ = unsafe { result::free_host(data.cast::<c_void>()) };
        }
        Ok(Self {
            cuda: cuda.clone(),
            data,
            num_bytes,
            done: done?,
        })
    }

    /// Notes that what was asked of the card so far must be done before the memory is touched.
    fn note_use(&self) -> Result<(), CudaError> {
        // SAFETY: both live as long as this.
        let recorded = unsafe { result::event::record(self.done, self.cuda.0.stream) };
        said("cuEventRecord", recorded)
    }

    fn wait(&self) -> Result<(), CudaError> {
        self.cuda.0.make_current()?;
        // SAFETY: it lives as long as this. An event that was never recorded is done.
        said("cuEventSynchronize", unsafe {
            result::event::synchronize(self.done)
        })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.wait().is_err() && self.cuda.0.make_current().is_err() {
            return;
        }
        // SAFETY: made once, by `new`; the card is done with it, or has failed for good.
        let _ = unsafe { result::event::destroy(self.done) };
        // SAFETY: as above.
        let _ = unsafe { result::free_host(self.data.cast()) };
    }
}

/// A place from which bytes go to a card while the host goes on.
pub struct Staging(Pinned);

impl Staging {
    /// Room for so many bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(cuda: &Cuda, num_bytes: usize) -> Result<Self, CudaError> {
        Pinned::new(cuda, num_bytes).map(Self)
    }

    /// Sends `bytes` to the beginning of `to`, in the stream's order. Waits only for what this staging sent before.
    ///
    /// # Errors
    /// If there are more than the staging or `to` has room for, or the driver fails.
    pub fn send(&mut self, bytes: &[u8], to: &Slice) -> Result<(), CudaError> {
        let Self(pinned) = self;
        if bytes.len() > pinned.num_bytes || bytes.len() > to.num_bytes {
            return Err(CudaError::Launch {
                kernel: "send".to_owned(),
                reason: format!(
                    "{} bytes by way of {} to a slice of {}",
                    bytes.len(),
                    pinned.num_bytes,
                    to.num_bytes
                ),
            });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        pinned.wait()?;
        // SAFETY: the card is done with the memory, which nobody else has, and there is room.
        unsafe {
            pinned
                .data
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        // SAFETY: the bytes were just written, and stay as they are until `wait`.
        let staged = unsafe { std::slice::from_raw_parts(pinned.data, bytes.len()) };
        // SAFETY: both have that many bytes and live until the card is done.
        let copied =
            unsafe { result::memcpy_htod_async(to.address(), staged, pinned.cuda.0.stream) };
        said("cuMemcpyHtoDAsync", copied)?;
        pinned.note_use()
    }
}

/// A place to which bytes come from a card while the host goes on.
pub struct Readback {
    pinned: Pinned,
    /// What is under way.
    num_bytes: usize,
}

impl Readback {
    /// Room for so many bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(cuda: &Cuda, num_bytes: usize) -> Result<Self, CudaError> {
        Ok(Self {
            pinned: Pinned::new(cuda, num_bytes)?,
            num_bytes: 0,
        })
    }

    /// Begins to fetch `from`, once everything asked for before is done.
    ///
    /// # Errors
    /// If it is longer than there is room for, or the driver fails.
    pub fn fetch(&mut self, from: &Slice) -> Result<(), CudaError> {
        let pinned = &self.pinned;
        if from.num_bytes > pinned.num_bytes {
            return Err(CudaError::Launch {
                kernel: "fetch".to_owned(),
                reason: format!("{} bytes to {}", from.num_bytes, pinned.num_bytes),
            });
        }
        pinned.wait()?;
        self.num_bytes = from.num_bytes;
        if from.num_bytes == 0 {
            return Ok(());
        }
        let address = sys::CUdeviceptr::from(from.address());
        // SAFETY: there is room, nobody reads before `wait`, and both live until the card is done.
        let to = unsafe { std::slice::from_raw_parts_mut(pinned.data, from.num_bytes) };
        // SAFETY: as above.
        let copied = unsafe { result::memcpy_dtoh_async(to, address, pinned.cuda.0.stream) };
        said("cuMemcpyDtoHAsync", copied)?;
        pinned.note_use()
    }

    /// What was fetched, once it is there.
    ///
    /// # Errors
    /// If anything that was asked of the card before has failed.
    pub fn wait(&mut self) -> Result<&[u8], CudaError> {
        self.pinned.wait()?;
        // SAFETY: the card is done, and nobody writes while this is borrowed.
        Ok(unsafe { std::slice::from_raw_parts(self.pinned.data, self.num_bytes) })
    }
}
