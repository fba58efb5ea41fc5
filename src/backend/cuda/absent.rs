//! The same names in a build without GPUs: there are no values of these types.

use std::convert::Infallible;
use std::time::Duration;

use super::{Card, CardReading, CudaError, Gemm};

/// A card: there is none.
#[derive(Clone, Debug)]
pub struct Cuda(Infallible);

/// cuBLAS for a card: there is none.
#[derive(Clone, Debug)]
pub struct Blas(Infallible);

/// A part of a card's memory: there is none.
#[derive(Clone, Debug)]
pub struct Slice(Infallible);

/// A launch to be: there is none.
pub struct Launch(Infallible);

/// A recorded sequence of launches: there is none.
pub struct Graph(Infallible);

/// A second stream of a card: there is none.
pub struct Beside(Infallible);

/// Memory that a card keeps bytes in: there is none.
pub struct Shelf(Infallible);

/// A place to send from: there is none.
pub struct Staging(Infallible);

/// A place to fetch to: there is none.
pub struct Readback(Infallible);

/// A card as the management library knows it: there is none.
pub struct Management(Infallible);

/// The errors that a card reports by number: there are none.
pub struct Xids(Infallible);

/// All cards.
///
/// # Errors
/// Always: this build cannot use any.
pub fn cards() -> Result<Vec<Card>, CudaError> {
    Err(CudaError::NotBuilt)
}

#[allow(missing_docs)] // They are those of the real types.
impl Cuda {
    pub fn open(_: usize) -> Result<Self, CudaError> {
        Err(CudaError::NotBuilt)
    }
    pub fn reopen(_: usize) -> Result<Self, CudaError> {
        Err(CudaError::NotBuilt)
    }
    pub fn card(&self) -> &Card {
        match self.0 {}
    }
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        match self.0 {}
    }
    pub fn synchronise(&self) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn is_same(&self, _: &Self) -> bool {
        match self.0 {}
    }
    pub fn alloc(&self, _: usize) -> Result<Slice, CudaError> {
        match self.0 {}
    }
    pub fn alloc_zeroed(&self, _: usize) -> Result<Slice, CudaError> {
        match self.0 {}
    }
    pub fn upload(&self, _: &[u8]) -> Result<Slice, CudaError> {
        match self.0 {}
    }
    pub fn record<E>(&self, _: impl FnOnce() -> Result<(), E>) -> Result<Graph, E> {
        match self.0 {}
    }
    pub fn kernel(&self, _: &str, _: impl Into<String>, _: [usize; 3], _: usize) -> Launch {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Blas {
    pub fn new(cuda: &Cuda) -> Result<Self, CudaError> {
        match cuda.0 {}
    }
    pub fn cuda(&self) -> &Cuda {
        match self.0 {}
    }
    pub fn gemm(&self, _: &Gemm<'_>) -> Result<(), CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Slice {
    pub fn num_bytes(&self) -> usize {
        match self.0 {}
    }
    pub fn cuda(&self) -> &Cuda {
        match self.0 {}
    }
    pub fn narrow(&self, _: usize, _: usize) -> Result<Self, CudaError> {
        match self.0 {}
    }
    pub fn fill_zero(&self) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn copy_from(&self, _: &Self) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn write(&self, _: &[u8]) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn read(&self) -> Result<Vec<u8>, CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Launch {
    pub fn shared(self, _: usize) -> Self {
        match self.0 {}
    }
    pub fn slice(self, _: &Slice) -> Self {
        match self.0 {}
    }
    pub fn opt_slice(self, _: Option<&Slice>) -> Self {
        match self.0 {}
    }
    pub fn int(self, _: usize) -> Self {
        match self.0 {}
    }
    pub fn long(self, _: usize) -> Self {
        match self.0 {}
    }
    pub fn float(self, _: f32) -> Self {
        match self.0 {}
    }
    pub fn fields(self, _: &[usize], _: &[f32]) -> Self {
        match self.0 {}
    }
    pub fn run(self) -> Result<(), CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Graph {
    pub fn launch(&self) -> Result<(), CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Staging {
    pub fn new(cuda: &Cuda, _: usize) -> Result<Self, CudaError> {
        match cuda.0 {}
    }
    pub fn send(&mut self, _: &[u8], _: &Slice) -> Result<(), CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Beside {
    pub fn new(cuda: &Cuda) -> Result<Self, CudaError> {
        match cuda.0 {}
    }
    pub fn mark(&mut self) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn begin(&self) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn join(&self) -> Result<(), CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Shelf {
    pub fn new(cuda: &Cuda, _: usize) -> Result<Self, CudaError> {
        match cuda.0 {}
    }
    pub fn put(&self, _: &Slice, _: usize, _: Option<&Beside>) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn get(&self, _: usize, _: &Slice, _: Option<&Beside>) -> Result<(), CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Readback {
    pub fn new(cuda: &Cuda, _: usize) -> Result<Self, CudaError> {
        match cuda.0 {}
    }
    pub fn fetch(&mut self, _: &Slice) -> Result<(), CudaError> {
        match self.0 {}
    }
    pub fn wait(&mut self) -> Result<&[u8], CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Management {
    pub fn open(cuda: &Cuda) -> Result<Self, CudaError> {
        match cuda.0 {}
    }
    pub fn uuid(&self) -> &str {
        match self.0 {}
    }
    pub fn read(&self) -> CardReading {
        match self.0 {}
    }
    pub fn xids(&self) -> Result<Xids, CudaError> {
        match self.0 {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Xids {
    pub fn wait(&self, _: Duration) -> Result<Option<u64>, CudaError> {
        match self.0 {}
    }
}
