//! A card, opened.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{DriverError, result, sys};

use super::kernels::Kernels;
use super::{Card, CudaError};

/// A card with one stream, on which everything but uploads happens in the order in which it was asked for. Clones are the same card; it is given
/// up with the last of them.
#[derive(Clone)]
pub struct Cuda(pub(super) Arc<Context>);

pub(super) struct Context {
    pub(super) card: Card,
    pub(super) device: sys::CUdevice,
    /// Its place among those opened, from 1 on.
    number: u64,
    pub(super) context: sys::CUcontext,
    pub(super) stream: sys::CUstream,
    /// Where what comes from any thread is copied, beside whatever the stream does or records.
    uploads: sys::CUstream,
    pub(super) kernels: Kernels,
    /// Whether launches are being recorded.
    pub(super) is_recording: AtomicBool,
}

// SAFETY: the driver's functions may be called by any thread; handles are numbers to them. What is ours is behind locks.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// Contexts opened so far. One that is opened after another was given up may have its handle, so they are told apart by this.
static NUM_OPENED: AtomicU64 = AtomicU64::new(0);

/// The cards of the contexts that are not given up yet, one by one.
static LIVE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

thread_local! {
    /// The number of the context that the driver takes this thread's calls to be for.
    static CURRENT: Cell<u64> = const { Cell::new(0) };
}

fn live() -> MutexGuard<'static, Vec<usize>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All cards of this machine, in the driver's order.
///
/// # Errors
/// If there is no driver or it fails.
pub fn cards() -> Result<Vec<Card>, CudaError> {
    init()?;
    let num_cards = count()?;
    (0..num_cards).map(|i| Ok(card(i)?.1)).collect()
}

fn init() -> Result<(), CudaError> {
    // SAFETY: the library's initialisers are those of the driver.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    said("cuInit", result::init())
}

fn count() -> Result<usize, CudaError> {
    Ok(said("cuDeviceGetCount", result::device::get_count())?.max(0) as usize)
}

fn card(ordinal: usize) -> Result<(sys::CUdevice, Card), CudaError> {
    let device = said("cuDeviceGet", result::device::get(ordinal as i32))?;
    let attribute = |attribute| {
        // SAFETY: the device is the driver's.
        let value = unsafe { result::device::get_attribute(device, attribute) };
        Ok::<_, CudaError>(said("cuDeviceGetAttribute", value)?.max(0) as usize)
    };
    let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
    let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
    let card = Card {
        ordinal,
        name: said("cuDeviceGetName", result::device::get_name(device))?,
        capability: (major * 10 + minor) as u32,
        // SAFETY: the device is the driver's.
        total_memory: said("cuDeviceTotalMem", unsafe {
            result::device::total_mem(device)
        })?,
        num_multiprocessors: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
    };
    Ok((device, card))
}

impl Cuda {
    /// Opens the card and loads the kernels.
    ///
    /// # Errors
    /// If there is no such card, no kernels for it, or the driver fails.
    pub fn open(ordinal: usize) -> Result<Self, CudaError> {
        init()?;
        let num_cards = count()?;
        if ordinal >= num_cards {
            return Err(CudaError::NoCard { ordinal, num_cards });
        }
        let (device, card) = card(ordinal)?;
        // SAFETY: the device is the driver's; the context is released once, when this is dropped.
        let context = said("cuDevicePrimaryCtxRetain", unsafe {
            result::primary_ctx::retain(device)
        })?;
        live().push(ordinal);
        // From here on it is released whatever fails.
        let mut opened = Context {
            card,
            device,
            number: NUM_OPENED.fetch_add(1, Ordering::Relaxed) + 1,
            context,
            stream: std::ptr::null_mut(),
            uploads: std::ptr::null_mut(),
            kernels: Kernels::default(),
            is_recording: AtomicBool::new(false),
        };
        opened.make_current()?;
        let kind = result::stream::StreamKind::NonBlocking;
        opened.stream = said("cuStreamCreate", result::stream::create(kind))?;
        let kind = result::stream::StreamKind::NonBlocking;
        opened.uploads = said("cuStreamCreate", result::stream::create(kind))?;
        opened.kernels = Kernels::load(&opened.card)?;
        Ok(Self(Arc::new(opened)))
    }

    /// Opens a card that has failed, with a new context: waits for a while until nobody holds the old one. Libraries that were used with it
    /// may hold it as long as the process lives (the runtime below cuBLAS does): it is taken from them.
    ///
    /// # Errors
    /// As [`Cuda::open`]; the driver may want a new process.
    pub fn reopen(ordinal: usize) -> Result<Self, CudaError> {
        const TRIES: usize = 20;
        let is_held = || live().contains(&ordinal);
        for _ in 0..TRIES {
            if !is_held() {
                break;
            }
            // Whoever lets the last memory go is about to.
            std::thread::sleep(Duration::from_millis(100));
        }
        if !is_held() {
            let (device, _) = card(ordinal)?;
            let (mut flags, mut is_active) = (0, 0);
            // SAFETY: the device is the driver's, the numbers are ours.
            let state = unsafe {
                sys::cuDevicePrimaryCtxGetState(device, &raw mut flags, &raw mut is_active).result()
            };
            said("cuDevicePrimaryCtxGetState", state)?;
            if is_active != 0 {
                // SAFETY: none of ours is left, so that nothing will be given back to what comes in its place.
                let reset = unsafe { sys::cuDevicePrimaryCtxReset_v2(device).result() };
                said("cuDevicePrimaryCtxReset", reset)?;
            }
        }
        Self::open(ordinal)
    }

    /// What card it is.
    pub fn card(&self) -> &Card {
        &self.0.card
    }

    /// Free and total bytes of its memory.
    ///
    /// # Errors
    /// If the driver fails.
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        self.0.make_current()?;
        said("cuMemGetInfo", result::mem_get_info())
    }

    /// Waits for everything that was asked for.
    ///
    /// # Errors
    /// If any of it failed.
    pub fn synchronise(&self) -> Result<(), CudaError> {
        self.0.make_current()?;
        // SAFETY: the stream lives as long as this.
        said("cuStreamSynchronize", unsafe {
            result::stream::synchronize(self.0.stream)
        })
    }

    /// Whether both are the same card, opened once.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl std::fmt::Debug for Cuda {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cuda:{} ({})", self.0.card.ordinal, self.0.card.name)
    }
}

impl Context {
    /// Makes the driver take this thread's calls to be for this context.
    pub(super) fn make_current(&self) -> Result<(), CudaError> {
        CURRENT.with(|current| {
            if current.get() != self.number {
                // SAFETY: the context is retained.
                said("cuCtxSetCurrent", unsafe {
                    result::ctx::set_current(self.context)
                })?;
                current.set(self.number);
            }
            Ok(())
        })
    }

    /// Copies `bytes` to memory of that address, which nothing else uses yet. They are there when this returns.
    pub(super) fn upload(&self, bytes: &[u8], address: u64) -> Result<(), CudaError> {
        self.make_current()?;
        // SAFETY: the memory has that many bytes, and the host's outlive the copy, for which this waits.
        let copied = unsafe { result::memcpy_htod_async(address, bytes, self.uploads) };
        // SAFETY: the stream lives as long as this.
        let done = unsafe { result::stream::synchronize(self.uploads) };
        said("cuMemcpyHtoDAsync", copied)?;
        said("cuStreamSynchronize", done)
    }

    /// Fails where what is done now would become part of a graph, in which memory of the host has no place.
    pub(super) fn check_not_recording(&self, doing: &str) -> Result<(), CudaError> {
        match self.is_recording.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(CudaError::Launch {
                kernel: doing.to_owned(),
                reason: "launches alone can be recorded".to_owned(),
            }),
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // A card that has failed answers everything with its failure; there is nobody to tell.
        let _ = self.make_current();
        for stream in [self.stream, self.uploads] {
            if !stream.is_null() {
                // SAFETY: it was made by this, and nothing else holds it: memory, kernels and graphs keep the context alive.
                let _ = unsafe { result::stream::synchronize(stream) };
                // SAFETY: as above.
                let _ = unsafe { result::stream::destroy(stream) };
            }
        }
        self.kernels.unload();
        // SAFETY: retained once, by `open`.
        let _ = unsafe { result::primary_ctx::release(self.device) };
        let mut live = live();
        if let Some(i) = live.iter().position(|&card| card == self.card.ordinal) {
            live.swap_remove(i);
        }
    }
}

/// The driver's answer to a call.
pub(super) fn said<T>(doing: &str, answer: Result<T, DriverError>) -> Result<T, CudaError> {
    answer.map_err(|error| {
        let text = |text: Result<&CStr, DriverError>| match text {
            Ok(text) => text.to_string_lossy().into_owned(),
            Err(_) => "?".to_owned(),
        };
        CudaError::Driver {
            doing: doing.to_owned(),
            name: text(error.error_name()),
            text: text(error.error_string()),
        }
    })
}
