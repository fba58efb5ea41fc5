//! Buffers and launches on the shim.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::OnceLock;

use half::{bf16, f16};

type Alloc = unsafe extern "C" fn(*const c_char, usize, usize, bool) -> *mut c_void;
type Free = unsafe extern "C" fn(*mut c_void);
type Launch = unsafe extern "C" fn(
    *const c_char,
    *const [u32; 3],
    *const [u32; 3],
    usize,
    *const *const c_void,
    *const usize,
    usize,
    u32,
    *mut c_char,
    usize,
) -> c_int;

/// The library with the kernels: `FLAMBEAU_KERNEL_SHIM` when the tests run names another.
fn library() -> *mut c_void {
    static LIBRARY: OnceLock<usize> = OnceLock::new();
    let open = || {
        let built = PathBuf::from(env!("FLAMBEAU_KERNEL_SHIM"));
        let path = std::env::var_os("FLAMBEAU_KERNEL_SHIM").map_or(built, PathBuf::from);
        let path =
            CString::new(path.to_str().expect("a path in UTF-8")).expect("names have no zeros");
        // SAFETY: the library's initialisers only fill tables of its own.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "cannot load {path:?}");
        handle as usize
    };
    *LIBRARY.get_or_init(open) as *mut c_void
}

/// A function of the library.
///
/// # Safety
/// F must be the type of the function.
pub unsafe fn function<F: Copy>(name: &str) -> F {
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    let c_name = CString::new(name).expect("names have no zeros");
    // SAFETY: a name ends in a zero.
    let address = unsafe { libc::dlsym(library(), c_name.as_ptr()) };
    assert!(!address.is_null(), "the library has no {name}");
    // SAFETY: of the caller.
    unsafe { std::mem::transmute_copy(&address) }
}

/// What buffers are arrays of.
pub trait Element: Copy + 'static {
    /// What no test expects anywhere.
    const POISON: Self;
}
impl Element for f32 {
    const POISON: Self = f32::from_bits(0x7fc0_dead);
}
impl Element for f16 {
    const POISON: Self = f16::from_bits(0x7ead);
}
impl Element for bf16 {
    const POISON: Self = bf16::from_bits(0x7fad);
}
impl Element for u32 {
    const POISON: Self = 0xdead_beef;
}
impl Element for i8 {
    const POISON: Self = -128;
}
impl Element for u8 {
    const POISON: Self = 0xad;
}

/// An array in what stands for a GPU's memory.
pub struct Buffer<T> {
    data: *mut T,
    len: usize,
}

impl<T: Element> Buffer<T> {
    pub fn new(name: &str, values: &[T]) -> Self {
        let buffer = Self::with_len(name, values.len(), true);
        // SAFETY: there is room for as many.
        unsafe {
            buffer
                .data
                .copy_from_nonoverlapping(values.as_ptr(), values.len())
        };
        buffer
    }

    /// To be written: a kernel that reads what none wrote fails.
    pub fn output(name: &str, len: usize) -> Self {
        let buffer = Self::with_len(name, len, false);
        for i in 0..len {
            // SAFETY: there is room for as many.
            unsafe { buffer.data.add(i).write(T::POISON) };
        }
        buffer
    }

    fn with_len(name: &str, len: usize, is_initialised: bool) -> Self {
        let c_name = CString::new(name).expect("names have no zeros");
        // The library keeps the name as long as the buffer, which lives no longer than the test.
        let c_name = Box::leak(c_name.into_boxed_c_str());
        let num_bytes = (len * size_of::<T>()).max(1);
        // SAFETY: the type of the function.
        let alloc: Alloc = unsafe { function("shim_alloc") };
        // SAFETY: it allocates.
        let data = unsafe { alloc(c_name.as_ptr(), num_bytes, size_of::<T>(), is_initialised) };
        Self {
            data: data.cast(),
            len,
        }
    }

    pub fn to_vec(&self) -> Vec<T> {
        // SAFETY: all of it was written when it was made.
        unsafe { std::slice::from_raw_parts(self.data, self.len) }.to_vec()
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: the type of the function, and memory of `shim_alloc` that nothing refers to any more.
        unsafe { function::<Free>("shim_free")(self.data.cast()) };
    }
}

/// A launch to be.
pub struct Kernel<'a> {
    name: &'a str,
    grid: [u32; 3],
    num_threads: u32,
    shared_bytes: usize,
    /// Their bytes.
    args: Vec<Vec<u8>>,
}

impl<'a> Kernel<'a> {
    pub fn new(name: &'a str, grid: [usize; 3], num_threads: usize) -> Self {
        Self {
            name,
            grid: grid.map(|blocks| blocks as u32),
            num_threads: num_threads as u32,
            shared_bytes: 0,
            args: Vec::new(),
        }
    }

    pub fn shared(mut self, bytes: usize) -> Self {
        self.shared_bytes = bytes;
        self
    }

    fn arg(mut self, bytes: &[u8]) -> Self {
        self.args.push(bytes.to_vec());
        self
    }

    pub fn buffer<T>(self, buffer: &Buffer<T>) -> Self {
        self.arg(&(buffer.data as usize).to_ne_bytes())
    }

    pub fn null(self) -> Self {
        self.arg(&0usize.to_ne_bytes())
    }

    pub fn int(self, value: usize) -> Self {
        self.arg(&(value as i32).to_ne_bytes())
    }

    pub fn long(self, value: usize) -> Self {
        self.arg(&(value as i64).to_ne_bytes())
    }

    pub fn float(self, value: f32) -> Self {
        self.arg(&value.to_ne_bytes())
    }

    /// A structure of integers and then floats.
    pub fn fields(self, ints: &[usize], floats: &[f32]) -> Self {
        let ints = ints.iter().flat_map(|value| (*value as i32).to_ne_bytes());
        let bytes: Vec<u8> = ints
            .chain(floats.iter().flat_map(|value| value.to_ne_bytes()))
            .collect();
        self.arg(&bytes)
    }

    /// Runs it with the threads in an order of this seed.
    pub fn try_run(&self, seed: u32) -> Result<(), String> {
        let name = CString::new(self.name).expect("names have no zeros");
        let args: Vec<*const c_void> = self.args.iter().map(|arg| arg.as_ptr().cast()).collect();
        let arg_bytes: Vec<usize> = self.args.iter().map(Vec::len).collect();
        let block = [self.num_threads, 1, 1];
        let mut message = [0; 1024];
        // SAFETY: the type of the function.
        let launch: Launch = unsafe { function("shim_launch") };
        // SAFETY: all arrays have the lengths that are told, and a buffer's address points at one.
        let failed = unsafe {
            launch(
                name.as_ptr(),
                &raw const self.grid,
                &raw const block,
                self.shared_bytes,
                args.as_ptr(),
                arg_bytes.as_ptr(),
                args.len(),
                seed,
                message.as_mut_ptr(),
                message.len(),
            )
        };
        if failed == 0 {
            return Ok(());
        }
        // SAFETY: it ends in a zero.
        Err(unsafe { CStr::from_ptr(message.as_ptr()) }
            .to_string_lossy()
            .into_owned())
    }

    pub fn run(&self) {
        if let Err(message) = self.try_run(1) {
            panic!("{message}");
        }
    }
}
