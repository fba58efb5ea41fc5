//! A card that is the shim's: its driver, and what it has of cuBLAS, in the place of NVIDIA's.
#![allow(unsafe_code)]
#![allow(dead_code)] // Each test binary uses its own part.

use std::ffi::CString;
use std::path::{Path, PathBuf};

use flambeau::backend::Device;
use flambeau::backend::cuda::{Blas, Cuda};

/// The shim, loaded by its name as the driver, so that whoever looks for the driver finds it.
fn library() -> *mut libc::c_void {
    let built = PathBuf::from(env!("FLAMBEAU_KERNEL_SHIM"));
    load(&std::env::var_os("FLAMBEAU_KERNEL_SHIM").map_or(built, PathBuf::from))
}

fn load(path: &Path) -> *mut libc::c_void {
    let name = CString::new(path.to_str().expect("a path in UTF-8")).expect("names have no zeros");
    // SAFETY: the library's initialisers only fill tables of its own.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "cannot load {path:?}");
    library
}

/// Loads the shim and opens its card.
pub fn shim_card() -> Cuda {
    library();
    Cuda::open(0).expect("the shim has a card")
}

/// The same for cuBLAS, which is nowhere before this is called.
pub fn shim_blas(cuda: &Cuda) -> Blas {
    let driver = PathBuf::from(env!("FLAMBEAU_KERNEL_SHIM"));
    load(&driver.with_file_name("driver").join("libcublas.so"));
    Blas::new(cuda).expect("the shim has cuBLAS")
}

/// It, for tensors.
pub fn shim_device() -> Device {
    Device::Cuda(shim_card())
}

/// Whether streams beside a card's own are as early as they may be, or as late.
pub fn be_hasty(is_hasty: bool) {
    // SAFETY: a name ends in a zero.
    let function = unsafe { libc::dlsym(library(), c"shim_be_hasty".as_ptr()) };
    assert!(!function.is_null(), "the library has no shim_be_hasty");
    // SAFETY: it is that of `kernels/shim/driver.cpp`.
    let function: extern "C" fn(bool) = unsafe { std::mem::transmute(function) };
    function(is_hasty);
}
