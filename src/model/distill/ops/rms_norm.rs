//! RMSNorm of rows: `y = x / sqrt(mean(x²) + ε) · w`, `[T, H]` by `[H]`. Source: Zhang and Sennrich, 2019.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Floats, ROWS_A_TASK, dot, floats, tensor};

pub(in super::super) struct RmsNorm {
    pub eps: f32,
}

impl RmsNorm {
    fn scale(&self, x: &[f32]) -> f32 {
        1.0 / (dot(x, x) / x.len() as f32 + self.eps).sqrt()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (floats(x, x_layout)?, floats(weight, weight_layout)?);
        let width = weight.len();
        let mut y = vec![0.0; x.len()];
        let rows = y.par_chunks_mut(width).zip(x.par_chunks(width));
        rows.with_min_len(ROWS_A_TASK).for_each(|(y, x)| {
            let scale = self.scale(x);
            for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
                *y = x * scale * w;
            }
        });
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    /// With r the scale: `dx = r (dy w) - x r³ / H · Σ dy w x` and `dw = Σ dy x r` over the rows.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (x_values, w, dy) = (Floats::of(x)?, Floats::of(weight)?, Floats::of(dy)?);
        let width = w.len();
        let mut dx = vec![0.0; x_values.len()];
        let rows = dx
            .par_chunks_mut(width)
            .zip(x_values.par_chunks(width))
            .zip(dy.par_chunks(width));
        rows.with_min_len(ROWS_A_TASK).for_each(|((dx, x), dy)| {
            let scale = self.scale(x);
            for ((dx, dy), w) in dx.iter_mut().zip(dy).zip(&*w) {
                *dx = dy * w;
            }
            let along = dot(dx, x) * scale * scale / width as f32;
            for (dx, x) in dx.iter_mut().zip(x) {
                *dx = (*dx - x * along) * scale;
            }
        });
        let mut dw = vec![0.0; width];
        for (x, dy) in x_values.chunks(width).zip(dy.chunks(width)) {
            let scale = self.scale(x);
            for ((dw, x), dy) in dw.iter_mut().zip(x).zip(dy) {
                *dw += dy * x * scale;
            }
        }
        Ok((
            Some(tensor(dx, x.shape())?),
            Some(tensor(dw, weight.shape())?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradients, values};
    use super::*;

    #[test]
    fn gradients_are_those_of_differences() {
        let args = [values(&[5, 12], 0.0), values(&[12], 1.0)];
        check_gradients(&args, |args| {
            args[0].apply_op2(&args[1], RmsNorm { eps: 1e-5 })
        });
    }
}
