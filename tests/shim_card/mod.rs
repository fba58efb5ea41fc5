//! A card that is the shim's: its driver in the place of NVIDIA's.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::path::PathBuf;

use flambeau::backend::Device;
use flambeau::backend::cuda::Cuda;

/// Loads the shim by its name as the driver, so that whoever looks for the driver finds it, and opens its card.
pub fn shim_card() -> Cuda {
    let built = PathBuf::from(env!("FLAMBEAU_KERNEL_SHIM"));
    let path = std::env::var_os("FLAMBEAU_KERNEL_SHIM").map_or(built, PathBuf::from);
    let name = CString::new(path.to_str().expect("a path in UTF-8")).expect("names have no zeros");
    // SAFETY: the library's initialisers only fill tables of its own.
    let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "cannot load {path:?}");
    Cuda::open(0).expect("the shim has a card")
}

/// It, for tensors.
pub fn shim_device() -> Device {
    Device::Cuda(shim_card())
}
