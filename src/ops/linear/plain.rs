//! Weights of floats that cuBLAS multiplies.

use candle_core::{DType, Result, bail};

use super::card::{Launch, SIZES};
use crate::backend::cuda::{Blas, FloatType, Gemm, Slice};
use crate::ops::tensor::CudaTensor;

/// A weight `[N, K]`, row by row.
pub(in crate::ops) struct PlainWeight {
    blas: Blas,
    /// Of its values and of activations: F16 or BF16.
    half: DType,
    values: Slice,
}

impl PlainWeight {
    /// Of values that are of the type `half`.
    pub(super) fn new(
        (out_features, in_features): (usize, usize),
        data: &[u8],
        half: DType,
        blas: &Blas,
    ) -> Result<Self> {
        if out_features == 0 || in_features == 0 {
            bail!("weight: [{out_features}, {in_features}] has a dimension of zero");
        }
        let row_bytes = in_features * half.size_in_bytes();
        if out_features.checked_mul(row_bytes) != Some(data.len()) {
            bail!(
                "weight [{out_features}, {in_features}]: data must have {out_features} rows of {row_bytes} bytes, has {}",
                data.len()
            );
        }
        Ok(Self {
            blas: blas.clone(),
            half,
            values: blas.cuda().upload(data)?,
        })
    }

    pub(super) fn num_bytes(&self) -> usize {
        self.values.num_bytes()
    }

    /// Writes what x gives to n columns of out, of `out_width`, from `column` on.
    pub(super) fn multiply(
        &self,
        out: &CudaTensor,
        x: &CudaTensor,
        (num_rows, width): (usize, usize),
        (n, out_width, column): (usize, usize, usize),
        bias: Option<&Slice>,
    ) -> Result<()> {
        if x.dtype != self.half {
            bail!(
                "matmul: the weight is for {:?}, not for {:?}",
                self.half,
                x.dtype
            );
        }
        if out.dtype != DType::F32 {
            out.expect_same("matmul: out", x)?;
        }
        if let Some(bias) = bias {
            fill(out, x, num_rows, (n, out_width, column), bias)?;
        }
        self.blas.gemm(&Gemm {
            out: &out.slice,
            out_type: float_type(out.dtype)?,
            out_width,
            column,
            is_added: bias.is_some(),
            x: &x.slice,
            w: &self.values,
            half: float_type(self.half)?,
            shape: (num_rows, n, width),
        })?;
        Ok(())
    }
}

/// Writes the bias to the columns of each row: what our kernel for few rows gives where there are no inputs. It is rounded as out is.
fn fill(
    out: &CudaTensor,
    x: &CudaTensor,
    num_rows: usize,
    (n, out_width, column): (usize, usize, usize),
    bias: &Slice,
) -> Result<()> {
    let (rows, outputs, shared, suffix) = SIZES[usize::from(num_rows > SIZES[0].0)];
    let launch = Launch {
        name: format!("linear_{}_{suffix}", x.half_name("matmul: x")?),
        grid: [num_rows.div_ceil(rows), n.div_ceil(outputs), 1],
        shared,
        operands: [None; 3],
        bias: Some(bias),
        row_tiles: None,
    };
    launch.run(out, (num_rows, 0), (n, out_width, column))
}

fn float_type(dtype: DType) -> Result<FloatType> {
    match dtype {
        DType::F32 => Ok(FloatType::F32),
        DType::F16 => Ok(FloatType::F16),
        DType::BF16 => Ok(FloatType::Bf16),
        dtype => bail!("matmul: {dtype:?} is none of F32, F16 and BF16"),
    }
}
