//! Memory of the host that a card copies to and from by itself, while the host goes on.
#![allow(unsafe_code)]

use std::ffi::c_void;

use cudarc::driver::{result, sys};

use super::context::said;
use super::memory::check_same;
use super::{Beside, Cuda, CudaError, Slice};

/// Memory of the host that stays where it is, so that the card copies without the host's help; and when its last copy is done.
struct Pinned {
    cuda: Cuda,
    data: *mut u8,
    num_bytes: usize,
    done: sys::CUevent,
    /// Whether nobody knows when the card is done with it.
    is_lost: bool,
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
            is_lost: false,
        })
    }

    /// Notes that what was asked of the card so far must be done before the memory is touched. Where that fails, it is waited for.
    fn note_use(&mut self) -> Result<(), CudaError> {
        // SAFETY: both live as long as this.
        let recorded = unsafe { result::event::record(self.done, self.cuda.0.stream) };
        let noted = said("cuEventRecord", recorded);
        if noted.is_err() && self.cuda.synchronise().is_err() {
            self.is_lost = true;
        }
        noted
    }

    fn wait(&self) -> Result<(), CudaError> {
        if self.is_lost {
            return self.cuda.synchronise();
        }
        self.cuda.0.make_current()?;
        // SAFETY: it lives as long as this. An event that was never recorded is done.
        said("cuEventSynchronize", unsafe {
            result::event::synchronize(self.done)
        })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // A card that has failed may still write here: the memory is then left to it.
        if self.wait().is_err() {
            return;
        }
        // SAFETY: made once, by `new`; the card is done with it.
        let _ = unsafe { result::event::destroy(self.done) };
        // SAFETY: as above.
        let _ = unsafe { result::free_host(self.data.cast()) };
    }
}

/// Memory of the host that a card keeps bytes in and gets them back from, while the host goes on and reads none. Copies are in the
/// order of the card's stream, or of one beside it, which then has to be joined before the bytes are used, or this is dropped.
pub struct Shelf(Pinned);

impl Shelf {
    /// Room for so many bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn new(cuda: &Cuda, num_bytes: usize) -> Result<Self, CudaError> {
        let mut pinned = Pinned::new(cuda, num_bytes)?;
        // Nobody waits for a copy, and an event for each would cost as much as it.
        pinned.is_lost = true;
        Ok(Self(pinned))
    }

    /// Keeps `from` at `offset`.
    ///
    /// # Errors
    /// If there is no room for it, or the driver fails.
    pub fn put(
        &self,
        from: &Slice,
        offset: usize,
        beside: Option<&Beside>,
    ) -> Result<(), CudaError> {
        let (to, stream) = self.part("put", from, offset, beside)?;
        // SAFETY: there is room (`part`); only the card touches it, in its streams' order, while this lives.
        let copied = unsafe {
            sys::cuMemcpyDtoHAsync_v2(to.cast(), from.address(), from.num_bytes, stream).result()
        };
        said("cuMemcpyDtoHAsync", copied)
    }

    /// Gets `to` back from `offset`.
    ///
    /// # Errors
    /// If it ends beyond what there is, or the driver fails.
    pub fn get(&self, offset: usize, to: &Slice, beside: Option<&Beside>) -> Result<(), CudaError> {
        let (from, stream) = self.part("get", to, offset, beside)?;
        // SAFETY: it is there (`part`); only the card touches it, in its streams' order, while this lives.
        let copied = unsafe {
            sys::cuMemcpyHtoDAsync_v2(to.address(), from.cast(), to.num_bytes, stream).result()
        };
        said("cuMemcpyHtoDAsync", copied)
    }

    /// Where bytes like the slice's begin at `offset`, and the stream to copy them in.
    fn part(
        &self,
        doing: &str,
        slice: &Slice,
        offset: usize,
        beside: Option<&Beside>,
    ) -> Result<(*mut u8, sys::CUstream), CudaError> {
        let Self(pinned) = self;
        check_same(doing, &pinned.cuda, slice.cuda())?;
        let stream = match beside {
            Some(beside) => {
                check_same(doing, &pinned.cuda, &beside.cuda)?;
                beside.stream
            }
            None => pinned.cuda.0.stream,
        };
        pinned.cuda.0.check_not_recording(doing)?;
        pinned.cuda.0.make_current()?;
        match offset.checked_add(slice.num_bytes) {
            Some(end) if end <= pinned.num_bytes => {
                // SAFETY: inside the memory.
                let part = unsafe { pinned.data.add(offset) };
                Ok((part, stream))
            }
            _ => Err(CudaError::Launch {
                kernel: doing.to_owned(),
                reason: format!(
                    "{} bytes at {offset} of {}",
                    slice.num_bytes, pinned.num_bytes
                ),
            }),
        }
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
        check_same("send", &pinned.cuda, to.cuda())?;
        pinned.cuda.0.check_not_recording("send")?;
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
        let pinned = &mut self.pinned;
        if from.num_bytes > pinned.num_bytes {
            return Err(CudaError::Launch {
                kernel: "fetch".to_owned(),
                reason: format!("{} bytes to {}", from.num_bytes, pinned.num_bytes),
            });
        }
        check_same("fetch", &pinned.cuda, from.cuda())?;
        pinned.cuda.0.check_not_recording("fetch")?;
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
