//! Where a model's tensors come from.

use std::borrow::Cow;

use super::gguf::{GgufError, GgufFile, TensorView, shown};
use super::{Encoding, ModelError};
use crate::backend::cpu::Cpu;

/// The tensors of a model, by the names that GGUF files have for them (`blk.0.attn_q.weight`), with rows in the order that the
/// model's configuration says.
pub trait TensorSource {
    /// What the tensor `name` is, without its data. Errors call it what the file calls it.
    fn shape(&self, name: &str) -> Result<TensorShape<'_>, ModelError>;

    /// The tensor `name`; `cpu` makes blocks of it where the file has none.
    fn tensor(&self, name: &str, cpu: &Cpu) -> Result<Tensor<'_>, ModelError>;

    /// The part of one expert of the tensor `name`, whose last dimension is that of the experts in a GGUF file.
    fn expert(&self, name: &str, expert: usize, cpu: &Cpu) -> Result<Tensor<'_>, ModelError>;

    /// Whether there is a tensor `name`, of whatever type.
    fn has_tensor(&self, name: &str) -> bool;

    /// All tensors, under the names that the file has for them.
    fn shapes(&self) -> Box<dyn Iterator<Item = Result<TensorShape<'_>, ModelError>> + '_>;

    /// Says that these bytes of a tensor were read, so that their memory may go back to the system. They stay readable.
    fn release(&self, pages: &[u8]);
}

/// All of a tensor but its data.
#[derive(Clone, Debug)]
pub struct TensorShape<'a> {
    /// What the file calls it.
    pub name: &'a str,
    /// How its elements are encoded.
    pub encoding: Encoding,
    /// As in GGUF files: `dims[0]` is the one whose elements are adjacent.
    pub dims: Vec<usize>,
}

/// A tensor of a model.
pub struct Tensor<'a> {
    /// What it is.
    pub shape: TensorShape<'a>,
    /// The encoded elements, row after row.
    pub data: Cow<'a, [u8]>,
    /// The part of the file that they were read from.
    pub(super) pages: &'a [u8],
}

impl TensorShape<'_> {
    /// Elements a row.
    pub fn cols(&self) -> usize {
        self.dims[0]
    }

    /// The product of all dimensions but the first.
    pub fn rows(&self) -> usize {
        self.dims[1..].iter().product()
    }

    /// Fails unless the tensor has these dimensions, fastest first.
    pub(super) fn expect(&self, dims: &[usize]) -> Result<(), ModelError> {
        if self.dims == dims {
            return Ok(());
        }
        let message = format!(
            "is {:?}, but the model's configuration makes it {dims:?} (fastest dimension first)",
            self.dims
        );
        Err(ModelError::tensor(shown(self.name), message))
    }
}

impl<'a> Tensor<'a> {
    /// Data that stands in no file.
    pub(super) fn owned(shape: TensorShape<'a>, data: Vec<u8>) -> Self {
        Self {
            shape,
            data: Cow::Owned(data),
            pages: &[],
        }
    }
}

impl Tensor<'_> {
    /// Its values, `[rows, cols]`.
    pub(super) fn dequantised(&self, cpu: &Cpu) -> Result<Vec<f32>, ModelError> {
        let shape = &self.shape;
        shape
            .encoding
            .dequantised(shape.rows(), shape.cols(), &self.data, cpu)
            .map_err(|message| ModelError::tensor(shown(shape.name), message))
    }
}

impl<'a> From<TensorView<'a>> for Tensor<'a> {
    fn from(view: TensorView<'a>) -> Self {
        Self {
            shape: shape_of(view),
            data: Cow::Borrowed(view.data),
            pages: view.data,
        }
    }
}

fn shape_of(view: TensorView<'_>) -> TensorShape<'_> {
    TensorShape {
        name: view.name,
        encoding: Encoding::Ggml(view.ty),
        dims: view.dims.to_vec(),
    }
}

impl TensorSource for GgufFile {
    fn shape(&self, name: &str) -> Result<TensorShape<'_>, ModelError> {
        Ok(shape_of(GgufFile::tensor(self, name)?))
    }

    fn tensor(&self, name: &str, _: &Cpu) -> Result<Tensor<'_>, ModelError> {
        Ok(GgufFile::tensor(self, name)?.into())
    }

    fn expert(&self, name: &str, expert: usize, _: &Cpu) -> Result<Tensor<'_>, ModelError> {
        let view = GgufFile::tensor(self, name)?;
        let mut shape = shape_of(view);
        let num_experts = match shape.dims.len() {
            2 | 3 => shape.dims.pop().unwrap_or(0),
            _ => 0,
        };
        if expert >= num_experts {
            let message = format!("is {:?}, which has no expert {expert}", view.dims);
            return Err(ModelError::tensor(shown(name), message));
        }
        let len = view.data.len() / num_experts;
        let data = &view.data[expert * len..][..len];
        Ok(Tensor {
            shape,
            data: Cow::Borrowed(data),
            pages: data,
        })
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.has_tensor(name)
    }

    fn shapes(&self) -> Box<dyn Iterator<Item = Result<TensorShape<'_>, ModelError>> + '_> {
        let shape = |tensor: Result<_, GgufError>| Ok(shape_of(tensor?));
        Box::new(self.tensors().map(shape))
    }

    fn release(&self, pages: &[u8]) {
        // Only advice to the system: the file is read correctly without it.
        let _ = self.bytes().release(pages);
    }
}
