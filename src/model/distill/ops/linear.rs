//! `y = x Wᵀ`, `[T, K]` by `[N, K]` to `[T, N]`.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

/// candle's product, whose gradient of W has W's own layout: of a transposed one it makes copies.
pub(in super::super) struct Linear;

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (t, k) = x_layout.shape().dims2()?;
        let (n, _) = weight_layout.shape().dims2()?;
        let transposed = weight_layout.transpose(0, 1)?;
        let y = x.matmul(weight, (1, t, n, k), x_layout, &transposed)?;
        Ok((y, (t, n).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(dy.matmul(weight)?), Some(dy.t()?.matmul(x)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradients, values};
    use super::*;

    #[test]
    fn gradients_are_those_of_differences() {
        let args = [values(&[5, 6], 0.0), values(&[4, 6], 1.0)];
        check_gradients(&args, |args| args[0].apply_op2(&args[1], Linear));
    }
}
