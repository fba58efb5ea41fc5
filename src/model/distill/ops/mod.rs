//! The differentiable ops that candle's own would make of several, each with its gradient. All are of contiguous float32 on the CPU;
//! rows are shared among the threads of the pool that calls.

mod causal_softmax;
mod linear;
mod rms_norm;
mod rope;
mod swiglu;

pub(super) use causal_softmax::CausalSoftmax;
pub(super) use linear::Linear;
pub(super) use rms_norm::RmsNorm;
pub(super) use rope::Rope;
pub(super) use swiglu::SwiGlu;

use std::ops::Deref;

use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, StorageRef, Tensor, bail};

/// Rows that a thread takes at once.
pub(super) const ROWS_A_TASK: usize = 16;

/// The values of an argument of an op.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("must be contiguous float32"),
    }
}

/// The same, to write.
pub(super) fn floats_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((start, end))) => Ok(&mut values[start..end]),
        _ => bail!("must be contiguous float32"),
    }
}

/// The values of a tensor, without a copy.
pub(super) struct Floats<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl<'a> Floats<'a> {
    pub(super) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(_)), Some((start, end))) => Ok(Self {
                storage,
                start,
                end,
            }),
            _ => bail!("must be contiguous float32 in the host's memory"),
        }
    }
}

impl Deref for Floats<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.start..self.end],
            _ => unreachable!("checked when it was made: this is a bug"),
        }
    }
}

fn tensor(values: Vec<f32>, shape: &Shape) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

/// In eight chains, which the compiler may keep in a vector.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_chunks, b_chunks) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a_chunks.0.iter().zip(b_chunks.0) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    let rest = a_chunks.1.iter().zip(b_chunks.1).map(|(a, b)| a * b);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

#[cfg(test)]
pub(super) mod tests {
    use candle_core::{Result, Tensor, Var};

    /// Compares the gradient of `f(args)`, weighted by fixed numbers and summed, with differences along fixed directions.
    pub fn check_gradients(args: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
        let wave = |tensor: &Tensor, pace: f64| {
            let values = (0..tensor.elem_count()).map(|i| (pace * (i as f64 + 1.0)).sin() as f32);
            Tensor::from_vec(values.collect(), tensor.shape(), tensor.device()).unwrap()
        };
        let vars: Vec<Var> = args
            .iter()
            .map(|arg| Var::from_tensor(arg).unwrap())
            .collect();
        let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
        let value = |args: &[Tensor]| {
            let out = f(args).unwrap();
            (&out * wave(&out, 0.7)).unwrap().sum_all().unwrap()
        };
        let gradients = value(&tensors).backward().unwrap();
        for (i, arg) in args.iter().enumerate() {
            let direction = wave(arg, 1.3);
            let gradient = gradients.get(&tensors[i]).unwrap();
            let want = (gradient * &direction).unwrap().sum_all().unwrap();
            let want = f64::from(want.to_scalar::<f32>().unwrap());
            let step = 1e-2;
            let at = |sign: f64| {
                let mut moved = args.to_vec();
                moved[i] = (arg + (&direction * (sign * step)).unwrap()).unwrap();
                f64::from(value(&moved).to_scalar::<f32>().unwrap())
            };
            let got = (at(1.0) - at(-1.0)) / (2.0 * step);
            let bound = 2e-3 * (1.0 + want.abs());
            assert!((got - want).abs() < bound, "argument {i}: {got} {want}");
        }
    }

    /// Values about zero, of about the size one.
    pub fn values(dims: &[usize], seed: f64) -> Tensor {
        let len: usize = dims.iter().product();
        let values = (0..len).map(|i| ((i as f64 + seed) * 12.9898).sin() as f32);
        Tensor::from_vec(values.collect(), dims, &candle_core::Device::Cpu).unwrap()
    }
}
