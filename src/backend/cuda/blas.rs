//! Products by cuBLAS. Its library is looked for when [`Blas::new`] is called, and not before.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cudarc::cublas::result::{self, CublasError};
use cudarc::cublas::sys::{self, cudaDataType_t as Type};

use super::memory::check_same;
use super::{Cuda, CudaError, FloatType, Gemm, Slice};

/// cuBLAS for one card. What it is asked for is done in the card's order, and can be recorded. Clones are the same; it is given up with the
/// last of them.
#[derive(Clone)]
pub struct Blas(Arc<Handle>);

struct Handle {
    cuda: Cuda,
    handle: sys::cublasHandle_t,
    /// Ours, so that nothing is allocated while calls are recorded, and so that the memory plan knows of it.
    _workspace: Slice,
}

// SAFETY: the library's functions may be called by any thread, also with the same handle, whose settings do not change once it is made.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Blas {
    /// Loads the library and prepares it for a card.
    ///
    /// # Errors
    /// If there is no such library, it does not know the card, or the card has no room.
    pub fn new(cuda: &Cuda) -> Result<Self, CudaError> {
        // SAFETY: the library's initialisers are cuBLAS's.
        if !unsafe { sys::is_culib_present() } {
            return Err(CudaError::NoBlas);
        }
        // One that is too old lacks functions, of which the bindings make a panic.
        catch_unwind(AssertUnwindSafe(|| Self::of(cuda))).unwrap_or(Err(CudaError::NoBlas))
    }

    fn of(cuda: &Cuda) -> Result<Self, CudaError> {
        let context = &cuda.0;
        context.make_current()?;
        let workspace = cuda.alloc(workspace_bytes(context.card.capability))?;
        // From here on it is given up whatever fails.
        let made = Handle {
            cuda: cuda.clone(),
            handle: said("cublasCreate", result::create_handle())?,
            _workspace: workspace.clone(),
        };
        // SAFETY: the stream lives as long as the context, which `made` keeps.
        said("cublasSetStream", unsafe {
            result::set_stream(made.handle, context.stream.cast())
        })?;
        // With another stream the library has taken its own workspace again.
        let address = std::ptr::without_provenance_mut(workspace.address() as usize);
        // SAFETY: it has that many bytes, from a multiple of 256 on, and lives as long as the handle.
        let set =
            unsafe { sys::cublasSetWorkspace_v2(made.handle, address, workspace.num_bytes()) };
        said("cublasSetWorkspace", set.result())?;
        // Else parts of a sum are added as what they become.
        let mode = sys::cublasMath_t::CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION;
        // SAFETY: the handle was just made.
        let set = unsafe { sys::cublasSetMathMode(made.handle, mode) };
        said("cublasSetMathMode", set.result())?;
        Ok(Self(Arc::new(made)))
    }

    /// The card.
    pub fn cuda(&self) -> &Cuda {
        &self.0.cuda
    }

    /// Appends a product to what the card does. Its sums are of f32; a row's bits may depend on how many rows there are.
    ///
    /// # Errors
    /// If a slice is not of this card or not as long as the shape says, or the library refuses. What fails while it runs is told by a later
    /// call.
    pub fn gemm(&self, gemm: &Gemm<'_>) -> Result<(), CudaError> {
        check(gemm)?;
        let Handle { cuda, handle, .. } = &*self.0;
        for slice in [gemm.out, gemm.x, gemm.w] {
            check_same(DOING, cuda, slice.cuda())?;
        }
        let (rows, n, k) = gemm.shape;
        if rows == 0 {
            return Ok(());
        }
        cuda.0.make_current()?;
        let address = |slice: &Slice, offset: usize| {
            std::ptr::without_provenance_mut(slice.address() as usize + offset)
        };
        let out_offset = gemm.column * num_bytes(gemm.out_type);
        let (one, beta) = (1f32, if gemm.is_added { 1f32 } else { 0.0 });
        // The library's matrices stand column by column: its C is out on its side, w on its side times x.
        // SAFETY: all lie in the card's memory (`check`), which lives until the card is done with it; both factors are read before the call
        // returns.
        let asked = unsafe {
            sys::cublasGemmEx(
                *handle,
                sys::cublasOperation_t::CUBLAS_OP_T,
                sys::cublasOperation_t::CUBLAS_OP_N,
                n as c_int,
                rows as c_int,
                k as c_int,
                (&raw const one).cast(),
                address(gemm.w, 0),
                type_of(gemm.half),
                k as c_int,
                address(gemm.x, 0),
                type_of(gemm.half),
                k as c_int,
                (&raw const beta).cast(),
                address(gemm.out, out_offset),
                type_of(gemm.out_type),
                gemm.out_width as c_int,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        said(DOING, asked.result())
    }
}

impl std::fmt::Debug for Blas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cuBLAS on {:?}", self.0.cuda)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.cuda.0.make_current().is_ok() {
            // SAFETY: made once, by `Blas::new`; this waits for what the card does with it.
            let _ = unsafe { result::destroy_handle(self.handle) };
        }
    }
}

const DOING: &str = "cublasGemmEx";

/// As the reference of `cublasSetWorkspace` recommends: 32 MiB on Hopper, 4 MiB on cards before it. Later ones get as much as Hopper.
fn workspace_bytes(capability: u32) -> usize {
    match capability {
        90.. => 32 << 20,
        _ => 4 << 20,
    }
}

/// Fails unless every matrix lies in its slice.
fn check(gemm: &Gemm<'_>) -> Result<(), CudaError> {
    let (rows, n, k) = gemm.shape;
    let (half, row) = (num_bytes(gemm.half), gemm.out_width);
    let fits = gemm.x.num_bytes() == rows * k * half
        && gemm.w.num_bytes() == n * k * half
        && gemm.out.num_bytes() == rows * row * num_bytes(gemm.out_type)
        && gemm.column + n <= row
        && [rows, n, k, row]
            .iter()
            .all(|&len| len <= c_int::MAX as usize);
    match fits && n > 0 && k > 0 {
        true => Ok(()),
        false => Err(CudaError::Launch {
            kernel: DOING.to_owned(),
            reason: format!(
                "[{rows}, {k}] · [{n}, {k}]ᵀ to {row} columns from {} on: of {} and {} bytes, to {}",
                gemm.column,
                gemm.x.num_bytes(),
                gemm.w.num_bytes(),
                gemm.out.num_bytes()
            ),
        }),
    }
}

fn num_bytes(float: FloatType) -> usize {
    match float {
        FloatType::F32 => 4,
        FloatType::F16 | FloatType::Bf16 => 2,
    }
}

fn type_of(float: FloatType) -> Type {
    match float {
        FloatType::F32 => Type::CUDA_R_32F,
        FloatType::F16 => Type::CUDA_R_16F,
        FloatType::Bf16 => Type::CUDA_R_16BF,
    }
}

/// The library's answer to a call.
fn said<T>(doing: &str, answer: Result<T, CublasError>) -> Result<T, CudaError> {
    answer.map_err(|CublasError(status)| {
        // SAFETY: the library has a text for every number, which stays.
        let text = unsafe { CStr::from_ptr(sys::cublasGetStatusString(status)) };
        CudaError::Driver {
            doing: doing.to_owned(),
            name: format!("{status:?}"),
            text: text.to_string_lossy().into_owned(),
        }
    })
}
