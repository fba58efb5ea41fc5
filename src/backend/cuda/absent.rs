//! The same names in a build without GPUs: there are no values of these types.

use super::{Card, CudaError};

/// A card: there is none.
#[derive(Clone, Debug)]
pub enum Cuda {}

/// A part of a card's memory: there is none.
#[derive(Clone, Debug)]
pub enum Slice {}

/// A launch to be: there is none.
pub enum Launch {}

/// A recorded sequence of launches: there is none.
pub enum Graph {}

/// A place to send from: there is none.
pub enum Staging {}

/// A place to fetch to: there is none.
pub enum Readback {}

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
    pub fn card(&self) -> &Card {
        match *self {}
    }
    pub fn memory(&self) -> Result<(usize, usize), CudaError> {
        match *self {}
    }
    pub fn synchronise(&self) -> Result<(), CudaError> {
        match *self {}
    }
    pub fn is_same(&self, _: &Self) -> bool {
        match *self {}
    }
    pub fn alloc(&self, _: usize) -> Result<Slice, CudaError> {
        match *self {}
    }
    pub fn alloc_zeroed(&self, _: usize) -> Result<Slice, CudaError> {
        match *self {}
    }
    pub fn upload(&self, _: &[u8]) -> Result<Slice, CudaError> {
        match *self {}
    }
    pub fn record<E>(&self, _: impl FnOnce() -> Result<(), E>) -> Result<Graph, E> {
        match *self {}
    }
    pub fn kernel(&self, _: &str, _: impl Into<String>, _: [usize; 3], _: usize) -> Launch {
        match *self {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Slice {
    pub fn num_bytes(&self) -> usize {
        match *self {}
    }
    pub fn cuda(&self) -> &Cuda {
        match *self {}
    }
    pub fn narrow(&self, _: usize, _: usize) -> Result<Self, CudaError> {
        match *self {}
    }
    pub fn fill_zero(&self) -> Result<(), CudaError> {
        match *self {}
    }
    pub fn write(&self, _: &[u8]) -> Result<(), CudaError> {
        match *self {}
    }
    pub fn read(&self) -> Result<Vec<u8>, CudaError> {
        match *self {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Launch {
    pub fn shared(self, _: usize) -> Self {
        match self {}
    }
    pub fn slice(self, _: &Slice) -> Self {
        match self {}
    }
    pub fn opt_slice(self, _: Option<&Slice>) -> Self {
        match self {}
    }
    pub fn int(self, _: usize) -> Self {
        match self {}
    }
    pub fn long(self, _: usize) -> Self {
        match self {}
    }
    pub fn float(self, _: f32) -> Self {
        match self {}
    }
    pub fn fields(self, _: &[usize], _: &[f32]) -> Self {
        match self {}
    }
    pub fn run(self) -> Result<(), CudaError> {
        match self {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Graph {
    pub fn launch(&self) -> Result<(), CudaError> {
        match *self {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Staging {
    pub fn new(cuda: &Cuda, _: usize) -> Result<Self, CudaError> {
        match *cuda {}
    }
    pub fn send(&mut self, _: &[u8], _: &Slice) -> Result<(), CudaError> {
        match *self {}
    }
}

#[allow(missing_docs)] // They are those of the real types.
impl Readback {
    pub fn new(cuda: &Cuda, _: usize) -> Result<Self, CudaError> {
        match *cuda {}
    }
    pub fn fetch(&mut self, _: &Slice) -> Result<(), CudaError> {
        match *self {}
    }
    pub fn wait(&mut self) -> Result<&[u8], CudaError> {
        match *self {}
    }
}
