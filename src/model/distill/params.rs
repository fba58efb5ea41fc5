//! What is trained, read from the teacher.

use candle_core::{Device, Tensor, Var};

use crate::backend::cpu::Cpu;
use crate::model::gguf::shown;
use crate::model::rope::with_halves_apart;
use crate::model::source::TensorSource;
use crate::model::{ModelConfig, ModelError};
use crate::ops::RopeStyle;

/// The tensors of one model, dequantised as they are read, with rows of q and k in the order of folders.
pub(super) struct Reader<'a> {
    pub source: &'a dyn TensorSource,
    pub config: &'a ModelConfig,
    pub cpu: &'a Cpu,
}

/// What is trained, by the names that GGUF files have for it, in the order of the layers.
#[derive(Default)]
pub(super) struct Params(Vec<(String, Var)>);

impl Params {
    /// Adds `values` and gives the tensor that they are computed with: the same memory.
    pub fn add(&mut self, name: String, values: Tensor) -> candle_core::Result<Tensor> {
        let var = Var::from_tensor(&values)?;
        let tensor = var.as_tensor().clone();
        self.0.push((name, var));
        Ok(tensor)
    }

    /// Gives the parameter `name` other values, of its shape.
    pub fn set(&self, name: &str, values: &Tensor) -> candle_core::Result<()> {
        let mut params = self.0.iter();
        match params.find(|(own, _)| own == name) {
            Some((_, var)) => var.set(values),
            None => candle_core::bail!("{name} is no parameter"),
        }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, var)| (&**name, var.as_tensor()))
    }
}

impl Reader<'_> {
    /// The tensor `name`, whose dimensions must be `dims`, slowest first.
    pub fn tensor(&self, name: &str, dims: &[usize]) -> Result<Tensor, ModelError> {
        let tensor = self.source.tensor(name, self.cpu)?;
        let fastest_first: Vec<usize> = dims.iter().rev().copied().collect();
        tensor.shape.expect(&fastest_first)?;
        let mut values = tensor.dequantised(self.cpu)?;
        self.source.release(tensor.pages);
        if let Some(num_heads) = self.heads_to_reorder(name) {
            let row_len = dims.get(1).copied().unwrap_or(1);
            values = with_halves_apart(&values, num_heads, row_len);
        }
        Tensor::from_vec(values, dims, &Device::Cpu)
            .map_err(|error| ModelError::tensor(shown(name), error.to_string()))
    }

    fn heads_to_reorder(&self, name: &str) -> Option<usize> {
        let is_reordered = self.config.ropes[0].style == RopeStyle::Interleaved;
        match name.rsplit('.').nth(1) {
            Some("attn_q") if is_reordered => Some(self.config.num_heads),
            Some("attn_k") if is_reordered => Some(self.config.num_kv_heads),
            _ => None,
        }
    }
}
