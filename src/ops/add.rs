//! Adding one tensor to another in place.

use candle_core::{CpuStorage, InplaceOp2, Layout, Result};

use super::Tensor;
use super::view::{expect_dims, slice, slice_mut};
use crate::backend::cpu::Cpu;

/// `x += y`, element by element, for two f32 tensors of one shape.
///
/// # Errors
/// If the shapes differ or a tensor is not contiguous f32.
pub fn add_assign(x: &Tensor, y: &Tensor, cpu: &Cpu) -> Result<()> {
    let (rows, columns) = x.dims()?;
    expect_dims("add: y", y, &[rows, columns])?;
    x.inplace_op2(y, &Add { cpu })
}

struct Add<'a> {
    cpu: &'a Cpu,
}

impl InplaceOp2 for Add<'_> {
    fn name(&self) -> &'static str {
        "add"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        y: &CpuStorage,
        y_layout: &Layout,
    ) -> Result<()> {
        let x = slice_mut::<f32>("add: x", x, x_layout)?;
        let y = slice::<f32>("add: y", y, y_layout)?;
        let chunk_len = self.cpu.rows_per_task(x.len(), 1);
        self.cpu.for_each_chunk(x, chunk_len, &|i, x| {
            for (x, y) in x.iter_mut().zip(&y[i * chunk_len..]) {
                *x += y;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, cpus, tensor, view};
    use super::*;

    #[test]
    fn every_element_is_the_sum_and_the_rest_of_the_buffer_is_untouched() {
        let mut random = Random::new(1);
        let (a, b) = (random.floats(40_000, 3.0), random.floats(40_000, 3.0));
        for cpu in cpus() {
            let (buffer, x) = view(&a, (80, 500));
            add_assign(&x, &tensor(&b, (80, 500)), &cpu).unwrap();
            let want: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a + b).collect();
            assert_eq!(x.to_vec().unwrap(), want);
            buffer.assert_margins_untouched();
        }
    }

    #[test]
    fn shapes_that_differ_are_an_error_naming_the_argument() {
        let cpu = Cpu::new(1).unwrap();
        let error =
            add_assign(&tensor(&[0.0; 6], (2, 3)), &tensor(&[0.0; 6], (3, 2)), &cpu).unwrap_err();
        assert!(error.to_string().contains("add: y"), "{error}");
    }
}
