//! Picking rows.

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, bail};

use super::Tensor;
use super::numbers::Numbers;
use super::tensor::CudaTensor;
use super::view::{expect_dims, rows_and_columns, slice, slice_mut};

/// `out[i] = x[rows[i]]`: out `[B, H]`, x `[T, H]`, both f32 (on a card f32 or of 16 bits); `rows` has B indices below T.
///
/// # Errors
/// If a shape does not fit or an index is not below T.
pub fn gather_rows<'a>(out: &Tensor, x: &Tensor, rows: impl Into<Numbers<'a>>) -> Result<()> {
    let numbers = rows.into();
    let rows = numbers.host;
    let (num_rows, width) = rows_and_columns("gather_rows: x", x)?;
    expect_dims("gather_rows: out", out, &[rows.len(), width])?;
    if let Some((i, row)) = rows
        .iter()
        .enumerate()
        .find(|&(_, &row)| row as usize >= num_rows)
    {
        bail!("gather_rows: rows[{i}] is {row}, but x has {num_rows} rows");
    }
    if let Tensor::Cuda(out) = out {
        return cuda_fwd(out, x.cuda("gather_rows: x", out)?, &numbers, width);
    }
    out.inplace_op2(x, &GatherRows { rows, width })
}

/// On a card: f32 by `kernels/embedding.cu`, 16 bits by `kernels/experts.cu`.
fn cuda_fwd(out: &CudaTensor, x: &CudaTensor, rows: &Numbers<'_>, width: usize) -> Result<()> {
    x.expect_same("gather_rows: x", out)?;
    if !width.is_multiple_of(8) {
        bail!("gather_rows: on a card rows must have a multiple of 8 columns, not {width}");
    }
    let (cuda, grid) = (out.card(), [rows.host.len(), 1, 1]);
    let slice = rows.slice("gather_rows: rows")?;
    let launch = match out.dtype {
        DType::F32 => (cuda.kernel("embedding", "gather_rows", grid, 256))
            .slice(&out.slice)
            .slice(slice)
            .slice(&x.slice),
        _ => {
            let half = out.half_name("gather_rows: out")?;
            let name = format!("gather_pairs_{half}");
            let launch = cuda.kernel("experts", name, grid, 256);
            launch.slice(&out.slice).slice(&x.slice).slice(slice)
        }
    };
    Ok(launch.int(width).run()?)
}

struct GatherRows<'a> {
    rows: &'a [u32],
    width: usize,
}

impl InplaceOp2 for GatherRows<'_> {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        out_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let out = slice_mut::<f32>("gather_rows: out", out, out_layout)?;
        let x = slice::<f32>("gather_rows: x", x, x_layout)?;
        // One row a sequence at most: too little to share between threads.
        for (out, &row) in out.chunks_exact_mut(self.width.max(1)).zip(self.rows) {
            out.copy_from_slice(&x[row as usize * self.width..][..self.width]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{tensor, view};
    use super::*;

    #[test]
    fn rows_come_in_the_order_asked_for() {
        let (buffer, out) = view(&[0.0; 6], (3, 2));
        gather_rows(
            &out,
            &tensor(&[0., 1., 10., 11., 20., 21.], (3, 2)),
            &[2, 0, 2],
        )
        .unwrap();
        assert_eq!(out.to_rows().unwrap(), [[20., 21.], [0., 1.], [20., 21.]]);
        buffer.assert_margins_untouched();
    }

    #[test]
    fn a_row_out_of_range_is_an_error_naming_it() {
        let x = tensor(&[0.0; 6], (3, 2));
        let error = gather_rows(&tensor(&[0.0; 4], (2, 2)), &x, &[0, 3])
            .unwrap_err()
            .to_string();
        assert!(error.contains("rows[1] is 3"), "{error}");
    }
}
