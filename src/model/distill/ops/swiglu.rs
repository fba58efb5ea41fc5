//! `silu(gate) · up`, element by element. Source: Shazeer, "GLU Variants Improve Transformer", 2020.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{Floats, floats, tensor};

pub(in super::super) struct SwiGlu;

const VALUES_A_TASK: usize = 1 << 13;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        gate_layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (floats(gate, gate_layout)?, floats(up, up_layout)?);
        let mut y = vec![0.0; gate.len()];
        let chunks = y.par_chunks_mut(VALUES_A_TASK);
        let chunks = chunks
            .zip(gate.par_chunks(VALUES_A_TASK))
            .zip(up.par_chunks(VALUES_A_TASK));
        chunks.for_each(|((y, gate), up)| {
            for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
                *y = gate * sigmoid(*gate) * up;
            }
        });
        Ok((CpuStorage::F32(y), gate_layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let shape = gate.shape();
        let (gate, up, dy) = (Floats::of(gate)?, Floats::of(up)?, Floats::of(dy)?);
        let (mut dgate, mut dup) = (vec![0.0; gate.len()], vec![0.0; gate.len()]);
        let outs = dgate
            .par_chunks_mut(VALUES_A_TASK)
            .zip(dup.par_chunks_mut(VALUES_A_TASK));
        let ins = gate
            .par_chunks(VALUES_A_TASK)
            .zip(up.par_chunks(VALUES_A_TASK))
            .zip(dy.par_chunks(VALUES_A_TASK));
        outs.zip(ins).for_each(|((dgate, dup), ((gate, up), dy))| {
            for i in 0..dy.len() {
                let open = sigmoid(gate[i]);
                let silu = gate[i] * open;
                dup[i] = dy[i] * silu;
                dgate[i] = dy[i] * up[i] * (open + silu * (1.0 - open));
            }
        });
        Ok((Some(tensor(dgate, shape)?), Some(tensor(dup, shape)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_gradients, values};
    use super::*;

    #[test]
    fn gradients_are_those_of_differences() {
        let args = [values(&[3, 7], 0.0), values(&[3, 7], 5.0)];
        check_gradients(&args, |args| args[0].apply_op2(&args[1], SwiGlu));
    }
}
