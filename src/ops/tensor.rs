//! What ops read and write: rows of numbers on a device.

use candle_core::{DType, Error, InplaceOp1, InplaceOp2, Result, bail};
use half::{bf16, f16};

use crate::backend::Device;
use crate::backend::cuda::{Cuda, CudaError, Slice};

/// A view of rows of numbers, `[rows, columns]` without gaps, of a bigger buffer mostly. Clones are the same memory.
#[derive(Clone, Debug)]
pub enum Tensor {
    /// In the host's memory: candle's.
    Cpu(candle_core::Tensor),
    /// In a card's.
    Cuda(CudaTensor),
}

/// A [`Tensor`] in a card's memory.
#[derive(Clone, Debug)]
pub struct CudaTensor {
    pub(crate) slice: Slice,
    /// F32, F16 or BF16.
    pub(crate) dtype: DType,
    rows: usize,
    columns: usize,
}

impl From<candle_core::Tensor> for Tensor {
    fn from(tensor: candle_core::Tensor) -> Self {
        Self::Cpu(tensor)
    }
}

impl From<CudaError> for Error {
    fn from(error: CudaError) -> Self {
        Self::wrap(error)
    }
}

impl Tensor {
    /// Zeros.
    ///
    /// # Errors
    /// If there is no room.
    pub fn zeros((rows, columns): (usize, usize), dtype: DType, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => {
                let zeros =
                    candle_core::Tensor::zeros((rows, columns), dtype, &candle_core::Device::Cpu);
                Ok(Self::Cpu(zeros?))
            }
            Device::Cuda(cuda) => Ok(Self::Cuda(CudaTensor {
                slice: cuda.alloc_zeroed(rows * columns * dtype.size_in_bytes())?,
                dtype,
                rows,
                columns,
            })),
        }
    }

    /// A copy of `values`, row by row, in the host's memory.
    ///
    /// # Errors
    /// If they are not as many as the shape has.
    pub fn from_slice(values: &[f32], (rows, columns): (usize, usize)) -> Result<Self> {
        let shape = (rows, columns);
        let tensor = candle_core::Tensor::from_slice(values, shape, &candle_core::Device::Cpu)?;
        Ok(Self::Cpu(tensor))
    }

    /// A copy of its values, as `dtype`, in the device's memory.
    ///
    /// # Errors
    /// If it holds no floats, `dtype` is not of floats, or there is no room.
    pub fn to_device(&self, dtype: DType, device: &Device) -> Result<Self> {
        let (values, dims) = (self.to_vec()?, self.dims()?);
        let tensor = Self::from_slice(&values, dims)?;
        let Device::Cuda(cuda) = device else {
            return Ok(Self::Cpu(tensor.cpu("to_device")?.to_dtype(dtype)?));
        };
        let bytes: Vec<u8> = match dtype {
            DType::F32 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            DType::F16 => (values.iter())
                .flat_map(|x| f16::from_f32(*x).to_le_bytes())
                .collect(),
            DType::BF16 => (values.iter())
                .flat_map(|x| bf16::from_f32(*x).to_le_bytes())
                .collect(),
            dtype => bail!("{dtype:?} is of no floats"),
        };
        Ok(Self::Cuda(CudaTensor {
            slice: cuda.upload(&bytes)?,
            dtype,
            rows: dims.0,
            columns: dims.1,
        }))
    }

    /// Rows and columns.
    ///
    /// # Errors
    /// If it is one of candle's that is no matrix.
    pub fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::Cpu(tensor) => tensor.dims2(),
            Self::Cuda(tensor) => Ok((tensor.rows, tensor.columns)),
        }
    }

    /// `len` rows from `start` on.
    ///
    /// # Errors
    /// If it has not so many.
    pub fn narrow(&self, start: usize, len: usize) -> Result<Self> {
        match self {
            Self::Cpu(tensor) => Ok(Self::Cpu(tensor.narrow(0, start, len)?)),
            Self::Cuda(tensor) if start + len > tensor.rows => {
                bail!("{len} rows from {start} of {}", tensor.rows)
            }
            Self::Cuda(tensor) => {
                let row_bytes = tensor.columns * tensor.dtype.size_in_bytes();
                Ok(Self::Cuda(CudaTensor {
                    dtype: tensor.dtype,
                    rows: len,
                    columns: tensor.columns,
                    slice: tensor.slice.narrow(start * row_bytes, len * row_bytes)?,
                }))
            }
        }
    }

    /// Its values, row by row; from a card once everything asked for before is done.
    ///
    /// # Errors
    /// If it holds no floats, or the card fails.
    pub fn to_vec(&self) -> Result<Vec<f32>> {
        match self {
            Self::Cpu(tensor) => tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>(),
            Self::Cuda(tensor) => {
                let bytes = tensor.slice.read()?;
                Ok(match tensor.dtype {
                    DType::F32 => values(&bytes, f32::from_le_bytes),
                    DType::F16 => values(&bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
                    DType::BF16 => values(&bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
                    dtype => bail!("a tensor of {dtype:?} holds no floats"),
                })
            }
        }
    }

    /// As [`Tensor::to_vec`], by rows.
    ///
    /// # Errors
    /// As there.
    pub fn to_rows(&self) -> Result<Vec<Vec<f32>>> {
        let (rows, columns) = self.dims()?;
        let values = self.to_vec()?;
        Ok((0..rows)
            .map(|row| values[row * columns..][..columns].to_vec())
            .collect())
    }

    /// candle's, of a tensor in the host's memory.
    pub(crate) fn inplace_op1(&self, op: &impl InplaceOp1) -> Result<()> {
        self.cpu(op.name())?.inplace_op1(op)
    }

    /// candle's, of tensors in the host's memory.
    pub(crate) fn inplace_op2(&self, x: &Self, op: &impl InplaceOp2) -> Result<()> {
        self.cpu(op.name())?.inplace_op2(x.cpu(op.name())?, op)
    }

    /// Fails, naming `what`, unless it lies in the host's memory.
    pub(crate) fn cpu(&self, what: &str) -> Result<&candle_core::Tensor> {
        match self {
            Self::Cpu(tensor) => Ok(tensor),
            Self::Cuda(_) => bail!("{what}: must be in the host's memory"),
        }
    }

    /// Fails, naming `what`, unless it lies in a card's memory: that of `with`.
    pub(crate) fn cuda(&self, what: &str, with: &CudaTensor) -> Result<&CudaTensor> {
        match self {
            Self::Cuda(tensor) if tensor.card().is_same(with.card()) => Ok(tensor),
            _ => bail!("{what}: must be in the memory of {:?}", with.card()),
        }
    }

    /// Where a card has it; fails, naming `what`, where none does.
    pub(crate) fn slice(&self, what: &str) -> Result<&Slice> {
        match self {
            Self::Cuda(tensor) => Ok(&tensor.slice),
            Self::Cpu(_) => bail!("{what}: must be in a card's memory"),
        }
    }
}

impl CudaTensor {
    /// The card.
    pub(crate) fn card(&self) -> &Cuda {
        self.slice.cuda()
    }

    /// Fails, naming `what`, unless it is of f32.
    pub(crate) fn expect_f32(&self, what: &str) -> Result<()> {
        match self.dtype {
            DType::F32 => Ok(()),
            dtype => bail!("{what}: must be F32, is {dtype:?}"),
        }
    }

    /// What kernels call its type.
    ///
    /// # Errors
    /// If it is not of 16 bits, naming `what`.
    pub(crate) fn half_name(&self, what: &str) -> Result<&'static str> {
        match self.dtype {
            DType::F16 => Ok("f16"),
            DType::BF16 => Ok("bf16"),
            dtype => bail!("{what}: must be F16 or BF16, is {dtype:?}"),
        }
    }

    /// Fails, naming `what`, unless it is of the type of `other`.
    pub(crate) fn expect_same(&self, what: &str, other: &Self) -> Result<()> {
        match self.dtype == other.dtype {
            true => Ok(()),
            false => bail!("{what}: must be {:?}, is {:?}", other.dtype, self.dtype),
        }
    }
}

fn values<const N: usize>(bytes: &[u8], decode: fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|one| decode(*one)).collect()
}
