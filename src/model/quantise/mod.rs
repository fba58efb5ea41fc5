//! Quantising weights: which tensor to which type, and how values are rounded.

mod blocks;
mod file;
mod folder;
mod mix;
mod search;

pub use file::{QuantiseError, QuantiseJob, RawEntry, entries_of};
pub use folder::AsGguf;
pub use mix::{Mix, Quantisation};

use half::f16;

use super::ModelError;
use super::gguf::{GgmlType, shown};
use super::source::{Tensor, TensorSource};
use crate::backend::cpu::{Cpu, Kernel, Simd};

/// Encodes rows of `cols` values as a type that [`Mix::type_of`] gives. `importance` is the mean square of the inputs that each column
/// meets, `[cols]`; without it what is large counts more.
///
/// # Panics
/// If a row is no whole number of the type's blocks, or the type is another.
pub fn encode(
    ty: GgmlType,
    cols: usize,
    values: &[f32],
    importance: Option<&[f32]>,
    cpu: &Cpu,
) -> Vec<u8> {
    let layout = ty.layout().expect("a supported type: this is a bug");
    let row_bytes = cols / layout.block_size * layout.block_bytes;
    let mut out = vec![0; values.len() / cols * row_bytes];
    // Some rows a task: they take milliseconds.
    let rows_per_task = (1 << 16) / cols.clamp(1, 1 << 16) + 1;
    cpu.for_each_chunk(&mut out, rows_per_task * row_bytes, &|i, out| {
        let values = &values[i * rows_per_task * cols..];
        cpu.dispatch(Rows {
            ty,
            cols,
            values: &values[..out.len() / row_bytes * cols],
            importance,
            out,
        });
    });
    out
}

/// [`encode`] of a tensor of a model, some rows at a time, so that little more than the result is in memory at once.
///
/// # Errors
/// If the tensor's data is not what its shape says.
pub(super) fn encode_tensor(
    tensor: &Tensor<'_>,
    ty: GgmlType,
    importance: Option<&[f32]>,
    source: &dyn TensorSource,
    cpu: &Cpu,
) -> Result<Vec<u8>, ModelError> {
    /// 16 MiB of float32.
    const CHUNK_VALUES: usize = 1 << 22;
    let cols = tensor.shape.cols();
    let row_bytes = tensor.shape.encoding.row_bytes(cols);
    let rows_per_chunk = (CHUNK_VALUES / cols).max(1);
    let mut out = Vec::new();
    for chunk in tensor.data.chunks(rows_per_chunk * row_bytes) {
        let rows = chunk.len() / row_bytes;
        let values = tensor.shape.encoding.dequantised(rows, cols, chunk, cpu);
        let values = values.map_err(|error| ModelError::tensor(shown(tensor.shape.name), error))?;
        // Scales and values of 16 bits end there.
        let is_finite = |x: &f32| x.abs() <= 65_504.0;
        if !values.iter().all(is_finite) {
            let message =
                "holds a NaN, an infinity or a value above 65504, which cannot be quantised";
            return Err(ModelError::tensor(shown(tensor.shape.name), message));
        }
        out.extend(encode(ty, cols, &values, importance, cpu));
        // Where the data is not the file's own, its pages are released as a whole when it is done.
        source.release(chunk);
    }
    Ok(out)
}

/// A macro, so that the encoder becomes part of the kernel, where the instruction set is known: what is called through `Fn` does not.
macro_rules! each_block {
    ($rows:ident, $encode:path) => {{
        let blocks = $rows.values.as_chunks().0;
        let row_blocks = blocks.len() / ($rows.values.len() / $rows.cols).max(1);
        let importance = $rows.importance.map(|importance| importance.as_chunks().0);
        let out = $rows.out.as_chunks_mut().0;
        for (i, (x, out)) in blocks.iter().zip(out).enumerate() {
            let importance = importance.map(|importance| &importance[i % row_blocks]);
            $encode(x, importance, out);
        }
    }};
}

struct Rows<'a> {
    ty: GgmlType,
    cols: usize,
    values: &'a [f32],
    importance: Option<&'a [f32]>,
    out: &'a mut [u8],
}

/// Not over vectors by hand: compiled for the instruction set, the loops become some.
impl Kernel for Rows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        match self.ty {
            GgmlType::Q4_0 => each_block!(self, blocks::q4_0),
            GgmlType::Q5_0 => each_block!(self, blocks::q5_0),
            GgmlType::Q8_0 => each_block!(self, blocks::q8_0),
            GgmlType::Q4K => each_block!(self, blocks::q4_k),
            GgmlType::Q6K => each_block!(self, blocks::q6_k),
            GgmlType::F16 => {
                for (out, &x) in self.out.as_chunks_mut::<2>().0.iter_mut().zip(self.values) {
                    *out = f16::from_f32(x).to_le_bytes();
                }
            }
            other => panic!("{other} is no type to quantise to: this is a bug"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::gguf::dequantise;

    fn values(len: usize) -> Vec<f32> {
        let mut state = 7u32;
        let mut uniform = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        // Near a normal distribution.
        (0..len)
            .map(|_| (0..6).map(|_| uniform()).sum::<f32>() - 3.0)
            .collect()
    }

    fn error(ty: GgmlType, importance: Option<&[f32]>, weights: &[f32]) -> f64 {
        let (cols, x) = (512, values(512 * 40));
        let cpu = Cpu::new(2).unwrap();
        let bytes = encode(ty, cols, &x, importance, &cpu);
        let mut back = vec![0.0; x.len()];
        dequantise(ty, &bytes, &mut back).unwrap();
        let terms = x.iter().zip(&back).enumerate();
        let errors = terms.map(|(i, (x, y))| weights[i % cols] * (x - y).powi(2));
        let (sum, all): (f32, f32) = (errors.sum(), x.iter().map(|x| x * x).sum());
        f64::from(sum / all).sqrt()
    }

    #[test]
    fn errors_are_what_the_bits_allow() {
        for (ty, most) in [
            (GgmlType::F16, 3e-4),
            (GgmlType::Q8_0, 6e-3),
            (GgmlType::Q6K, 0.019),
            (GgmlType::Q5_0, 0.042),
            (GgmlType::Q4K, 0.075),
            (GgmlType::Q4_0, 0.09),
        ] {
            let error = error(ty, None, &[1.0; 512]);
            assert!(error < most, "{ty}: {error}");
        }
    }

    #[test]
    fn what_is_important_is_met_better() {
        let importance: Vec<f32> = (0..512)
            .map(|i| if i % 7 == 0 { 50.0 } else { 0.2 })
            .collect();
        for ty in [GgmlType::Q4_0, GgmlType::Q5_0, GgmlType::Q4K, GgmlType::Q6K] {
            let (with, without) = (
                error(ty, Some(&importance), &importance),
                error(ty, None, &importance),
            );
            assert!(with < 0.97 * without, "{ty}: {with} {without}");
        }
    }

    #[test]
    fn rows_are_the_same_on_any_number_of_threads_and_zeros_stay_zeros() {
        let x = values(512 * 300);
        for ty in [
            GgmlType::Q4_0,
            GgmlType::Q5_0,
            GgmlType::Q8_0,
            GgmlType::Q4K,
            GgmlType::Q6K,
        ] {
            let all = [1, 3].map(|n| encode(ty, 512, &x, None, &Cpu::new(n).unwrap()));
            assert!(all[0] == all[1], "{ty}");
            let zeros = encode(ty, 512, &[0.0; 512], None, &Cpu::new(1).unwrap());
            let mut back = vec![1.0; 512];
            dequantise(ty, &zeros, &mut back).unwrap();
            assert_eq!(back, [0.0; 512], "{ty}");
        }
    }
}
