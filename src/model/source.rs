//! Where a model's tensors come from.

use super::ModelError;
use super::gguf::{GgufError, GgufFile, TensorView};

/// The tensors of a model, by the names that GGUF files have for them (`blk.0.attn_q.weight`), with rows in the order that the
/// model's configuration says.
pub trait TensorSource {
    /// The tensor `name`. Errors call it what the file calls it.
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, ModelError>;

    /// Whether there is a tensor `name`, of whatever type.
    fn has_tensor(&self, name: &str) -> bool;

    /// All tensors, under the names that the file has for them.
    fn tensors(&self) -> Box<dyn Iterator<Item = Result<TensorView<'_>, ModelError>> + '_>;

    /// Says that the tensor's data was read, so that its memory may go back to the system. It stays readable.
    fn release(&self, tensor: &TensorView<'_>);
}

impl TensorSource for GgufFile {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        Ok(self.tensor(name)?)
    }

    fn has_tensor(&self, name: &str) -> bool {
        self.has_tensor(name)
    }

    fn tensors(&self) -> Box<dyn Iterator<Item = Result<TensorView<'_>, ModelError>> + '_> {
        Box::new(
            self.tensors()
                .map(|tensor: Result<_, GgufError>| Ok(tensor?)),
        )
    }

    fn release(&self, tensor: &TensorView<'_>) {
        // Only advice to the system: the file is read correctly without it.
        let _ = self.bytes().release(tensor.data);
    }
}
