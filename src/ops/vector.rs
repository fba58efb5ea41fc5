//! Numbers that a model has for each value of a row: norms, biases, sinks.

use std::ops::Deref;

use candle_core::{Result, bail};

use crate::backend::Device;
use crate::backend::cuda::Slice;

/// f32 values in the host's memory, and in a card's where one computes with them.
#[derive(Clone, Debug)]
pub struct Vector {
    values: Vec<f32>,
    slice: Option<Slice>,
}

impl Vector {
    /// On `device`.
    ///
    /// # Errors
    /// If the card has no room.
    pub fn new(values: Vec<f32>, device: &Device) -> Result<Self> {
        let slice = match device {
            Device::Cpu => None,
            Device::Cuda(cuda) => {
                let bytes: Vec<u8> = values.iter().flat_map(|x| x.to_le_bytes()).collect();
                Some(cuda.upload(&bytes)?)
            }
        };
        Ok(Self { values, slice })
    }

    /// Where the card has it; fails, naming `what`, where none does.
    pub(super) fn slice(&self, what: &str) -> Result<&Slice> {
        match &self.slice {
            Some(slice) => Ok(slice),
            None => bail!("{what}: must be in the card's memory, too"),
        }
    }
}

/// In the host's memory alone.
impl From<Vec<f32>> for Vector {
    fn from(values: Vec<f32>) -> Self {
        Self {
            values,
            slice: None,
        }
    }
}

impl Deref for Vector {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}
