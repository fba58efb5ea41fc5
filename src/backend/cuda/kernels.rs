//! Kernels of a card, and launching them.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::Mutex;

use cudarc::driver::{result, sys};

use super::context::said;
use super::images::{Image, image, stems};
use super::{Card, Cuda, CudaError, Slice};

/// Shared memory of a block that needs no asking.
const FREE_SHARED: usize = 48 << 10;
/// Blocks of a grid in its second and third dimension, at most.
const MAX_GRID_YZ: usize = 65_535;

/// All modules, and the functions that were asked for.
#[derive(Default)]
pub(super) struct Kernels {
    modules: HashMap<&'static str, sys::CUmodule>,
    functions: Mutex<HashMap<String, Function>>,
}

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// The most dynamic shared memory that it was prepared for, in bytes.
    shared: usize,
}

impl Kernels {
    /// Loads every file's image into the current context.
    pub(super) fn load(card: &Card) -> Result<Self, CudaError> {
        let mut kernels = Self::default();
        for stem in stems() {
            let image = image(stem, card.capability).map_err(|error| CudaError::Unfit {
                ordinal: card.ordinal,
                reason: error.to_string(),
            })?;
            let loaded = match image {
                // SAFETY: a compiler made it.
                Image::Cubin(bytes) => unsafe { result::module::load_data(bytes.as_ptr().cast()) },
                Image::Ptx(text) => {
                    let text = CString::new(text).expect("PTX is text: this is a bug");
                    // SAFETY: as above, and it ends in a zero.
                    unsafe { result::module::load_data(text.as_ptr().cast()) }
                }
            };
            let module = said(&format!("cuModuleLoadData of {stem}"), loaded);
            match module {
                Ok(module) => kernels.modules.insert(stem, module),
                Err(error) => {
                    kernels.unload();
                    return Err(error);
                }
            };
        }
        Ok(kernels)
    }

    pub(super) fn unload(&mut self) {
        for (_, module) in self.modules.drain() {
            // SAFETY: loaded once, by `load`; nothing is launched any more.
            let _ = unsafe { result::module::unload(module) };
        }
    }

    /// The function, ready for that much dynamic shared memory.
    fn function(&self, stem: &str, name: &str, shared: usize) -> Result<Function, CudaError> {
        let mut functions = self
            .functions
            .lock()
            .expect("nothing panics under this lock: this is a bug");
        let known = functions.get(name).copied();
        if let Some(function) = known.filter(|function| shared <= function.shared) {
            return Ok(function);
        }
        let handle = match known {
            Some(function) => function.handle,
            None => {
                let Some(&module) = self.modules.get(stem) else {
                    return Err(CudaError::Launch {
                        kernel: name.to_owned(),
                        reason: format!("there is no kernels/{stem}.cu"),
                    });
                };
                let c_name = CString::new(name).expect("kernels have plain names: this is a bug");
                // SAFETY: the module is loaded.
                let handle = unsafe { result::module::get_function(module, c_name) };
                said(&format!("cuModuleGetFunction of {name}"), handle)?
            }
        };
        if shared > FREE_SHARED {
            let attribute =
                sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is of a loaded module.
            let set = unsafe {
                result::function::set_function_attribute(handle, attribute, shared as i32)
            };
            said(&format!("{shared} bytes of shared memory for {name}"), set)?;
        }
        let function = Function {
            handle,
            shared: shared.max(FREE_SHARED),
        };
        functions.insert(name.to_owned(), function);
        Ok(function)
    }
}

/// Bytes of arguments that a kernel has, at most.
const MAX_ARG_BYTES: usize = 192;

/// A launch to be: arguments in the kernel's order.
pub struct Launch<'a> {
    cuda: &'a Cuda,
    stem: &'a str,
    name: String,
    grid: [usize; 3],
    num_threads: usize,
    shared: usize,
    /// The arguments, each at a multiple of its alignment.
    args: [u64; MAX_ARG_BYTES / 8],
    /// Of them.
    num_bytes: usize,
    /// What addresses among them point to, so that it is there when the launch is asked for.
    slices: Vec<Slice>,
}

impl Cuda {
    /// The kernel `name` of `kernels/{stem}.cu`, with a grid of blocks of so many threads.
    pub fn kernel<'a>(
        &'a self,
        stem: &'a str,
        name: impl Into<String>,
        grid: [usize; 3],
        num_threads: usize,
    ) -> Launch<'a> {
        Launch {
            cuda: self,
            stem,
            name: name.into(),
            grid,
            num_threads,
            shared: 0,
            args: [0; MAX_ARG_BYTES / 8],
            num_bytes: 0,
            slices: Vec::with_capacity(12),
        }
    }
}

impl Launch<'_> {
    /// Dynamic shared memory of a block, bytes.
    pub fn shared(mut self, num_bytes: usize) -> Self {
        self.shared = num_bytes;
        self
    }

    fn half_word(&mut self, value: u32) {
        let (word, shift) = (self.num_bytes / 8, self.num_bytes % 8 * 8);
        self.args[word] |= u64::from(value) << shift;
        self.num_bytes += 4;
    }

    fn word(mut self, value: u64) -> Self {
        self.num_bytes = self.num_bytes.next_multiple_of(8);
        self.args[self.num_bytes / 8] = value;
        self.num_bytes += 8;
        self
    }

    /// Where a slice begins.
    pub fn slice(mut self, slice: &Slice) -> Self {
        self.slices.push(slice.clone());
        self.word(slice.address())
    }

    /// A slice or none.
    pub fn opt_slice(self, slice: Option<&Slice>) -> Self {
        match slice {
            Some(slice) => self.slice(slice),
            None => self.word(0),
        }
    }

    /// An `int`.
    pub fn int(mut self, value: usize) -> Self {
        self.half_word(value as u32);
        self
    }

    /// An `int64_t`.
    pub fn long(self, value: usize) -> Self {
        self.word(value as u64)
    }

    /// A `float`.
    pub fn float(mut self, value: f32) -> Self {
        self.half_word(value.to_bits());
        self
    }

    /// A structure of 32-bit members: integers, then floats.
    pub fn fields(mut self, ints: &[usize], floats: &[f32]) -> Self {
        ints.iter().for_each(|value| self.half_word(*value as u32));
        floats
            .iter()
            .for_each(|value| self.half_word(value.to_bits()));
        self
    }

    /// Appends it to what the card does. A grid without blocks is nothing to do.
    ///
    /// # Errors
    /// If the grid is too large, there is no such kernel, or the driver refuses. What fails while it runs is told by a later call.
    pub fn run(mut self) -> Result<(), CudaError> {
        let [x, y, z] = self.grid;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        if y > MAX_GRID_YZ || z > MAX_GRID_YZ || x > i32::MAX as usize {
            return Err(CudaError::Launch {
                reason: format!("a grid of {x} · {y} · {z} blocks is too large"),
                kernel: self.name,
            });
        }
        let context = &self.cuda.0;
        context.make_current()?;
        let function = context
            .kernels
            .function(self.stem, &self.name, self.shared)?;
        // As `CU_LAUNCH_PARAM_BUFFER_POINTER`, `CU_LAUNCH_PARAM_BUFFER_SIZE` and `CU_LAUNCH_PARAM_END` are defined.
        let mut extra: [*mut c_void; 5] = [
            std::ptr::without_provenance_mut(1),
            self.args.as_mut_ptr().cast(),
            std::ptr::without_provenance_mut(2),
            (&raw mut self.num_bytes).cast(),
            std::ptr::null_mut(),
        ];
        // SAFETY: the function is loaded, and the driver copies the arguments. That they are the kernel's is for those who launch, who are
        // the ops and the sampler of this crate: each of their launches is tested under the shim, which compares lengths and finds what
        // strays. Slices keep their memory until the launch is asked for, and freeing it waits for what was asked for.
        let launched = unsafe {
            sys::cuLaunchKernel(
                function.handle,
                x as u32,
                y as u32,
                z as u32,
                self.num_threads as u32,
                1,
                1,
                self.shared as u32,
                context.stream,
                std::ptr::null_mut(),
                extra.as_mut_ptr(),
            )
        };
        said(&self.name, launched.result())
    }
}
