//! A second stream, for copies that need not wait for what the card computes.
#![allow(unsafe_code)]

use cudarc::driver::{result, sys};

use super::context::said;
use super::{Cuda, CudaError};

/// A stream beside the card's own, on which blocks go to the host and back. What it waits for, and what waits for it, is said by events.
pub struct Beside {
    pub(super) cuda: Cuda,
    pub(super) stream: sys::CUstream,
    /// The last two places in the card's stream that were marked, in turns.
    marks: [sys::CUevent; 2],
    num_marks: usize,
    /// When the last copies are done.
    done: sys::CUevent,
}

// SAFETY: it is owned, and the driver's functions may be called by any thread.
unsafe impl Send for Beside {}

impl Beside {
    /// One with nothing to do.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn new(cuda: &Cuda) -> Result<Self, CudaError> {
        cuda.0.make_current()?;
        // From here on what was made is given back whatever fails.
        let mut beside = Self {
            cuda: cuda.clone(),
            stream: std::ptr::null_mut(),
            marks: [std::ptr::null_mut(); 2],
            num_marks: 0,
            done: std::ptr::null_mut(),
        };
        let kind = result::stream::StreamKind::NonBlocking;
        beside.stream = said("cuStreamCreate", result::stream::create(kind))?;
        let [first, second] = &mut beside.marks;
        for event in [first, second, &mut beside.done] {
            let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
            *event = said("cuEventCreate", result::event::create(flags))?;
        }
        Ok(beside)
    }

    /// Marks what the card's stream was asked for so far.
    ///
    /// # Errors
    /// If the driver fails, or launches are being recorded.
    pub fn mark(&mut self) -> Result<(), CudaError> {
        self.prepare("mark")?;
        let mark = self.marks[self.num_marks % 2];
        // SAFETY: both live as long as this.
        said("cuEventRecord", unsafe {
            result::event::record(mark, self.cuda.0.stream)
        })?;
        self.num_marks += 1;
        Ok(())
    }

    /// Makes what comes next here wait for what was marked before last, or first: all but what the card's stream was asked for between
    /// the last two marks, and since.
    ///
    /// # Errors
    /// If the driver fails, or launches are being recorded.
    pub fn begin(&self) -> Result<(), CudaError> {
        self.prepare("begin")?;
        let mark = match self.num_marks {
            0 => return Ok(()),
            1 => self.marks[0],
            marked => self.marks[marked % 2],
        };
        self.wait(self.stream, mark)
    }

    /// Makes the card's stream wait for what was asked for here.
    ///
    /// # Errors
    /// If the driver fails, or launches are being recorded.
    pub fn join(&self) -> Result<(), CudaError> {
        self.prepare("join")?;
        // SAFETY: both live as long as this.
        said("cuEventRecord", unsafe {
            result::event::record(self.done, self.stream)
        })?;
        self.wait(self.cuda.0.stream, self.done)
    }

    fn wait(&self, stream: sys::CUstream, event: sys::CUevent) -> Result<(), CudaError> {
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both live as long as this; what was recorded before the call is waited for, whatever is recorded after it.
        said("cuStreamWaitEvent", unsafe {
            result::stream::wait_event(stream, event, flags)
        })
    }

    fn prepare(&self, doing: &str) -> Result<(), CudaError> {
        self.cuda.0.check_not_recording(doing)?;
        self.cuda.0.make_current()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // A card that has failed answers everything with its failure; there is nobody to tell.
        let _ = self.cuda.0.make_current();
        if !self.stream.is_null() {
            // SAFETY: made by `new`, and nobody else has it.
            let _ = unsafe { result::stream::synchronize(self.stream) };
            // SAFETY: as above.
            let _ = unsafe { result::stream::destroy(self.stream) };
        }
        let [first, second] = self.marks;
        for event in [first, second, self.done] {
            if !event.is_null() {
                // SAFETY: as above. The driver keeps what a stream still waits for.
                let _ = unsafe { result::event::destroy(event) };
            }
        }
    }
}
