#![allow(unsafe_code)]

use half::{bf16, f16};

use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, assert_close, widen};

type Reference = unsafe extern "C" fn(*mut f32, *mut f32, *const f32, *const f32, i32, i32, f32);

fn reference(x: &mut [f32], y: Option<&[f32]>, weight: &[f32], eps: f32) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    let (rows, width) = (x.len() / weight.len(), weight.len());
    let y = y.map_or(std::ptr::null(), <[f32]>::as_ptr);
    // SAFETY: the type of the function, and arrays of the shape.
    unsafe {
        let reference: Reference = function("rms_norm_reference");
        reference(
            out.as_mut_ptr(),
            x.as_mut_ptr(),
            y,
            weight.as_ptr(),
            rows as i32,
            width as i32,
            eps,
        );
    }
    out
}

fn check<T: Half>(rows: usize, width: usize) {
    let mut random = Random::new(width as u64);
    let (x, weight) = (random.floats(rows * width, 30.0), random.floats(width, 2.0));
    let y = random.halves::<T>(rows * width, 4.0);
    let weights = Buffer::new("weight", &weight);
    let y_buffer = Buffer::new("y", &y);
    for has_y in [false, true] {
        let (x_buffer, out) = (Buffer::new("x", &x), Buffer::<T>::output("out", x.len()));
        let name = format!("add_rms_norm_{}", T::NAME);
        let kernel = Kernel::new(&name, [rows, 1, 1], 256)
            .buffer(&out)
            .buffer(&x_buffer);
        let kernel = if has_y {
            kernel.buffer(&y_buffer)
        } else {
            kernel.null()
        };
        kernel
            .int(has_y.into())
            .buffer(&weights)
            .int(width)
            .float(1e-5)
            .run();
        let mut sum = x.clone();
        let want = reference(&mut sum, has_y.then(|| widen(&y)).as_deref(), &weight, 1e-5);
        assert_eq!(x_buffer.to_vec(), sum, "the residual is the sum");
        assert_close(&widen(&out.to_vec()), &want, T::EPSILON * 1.01);
    }
    let out = Buffer::<T>::output("out", y.len());
    let name = format!("rms_norm_{}", T::NAME);
    Kernel::new(&name, [rows, 1, 1], 256)
        .buffer(&out)
        .buffer(&y_buffer)
        .buffer(&weights)
        .int(width)
        .float(1e-5)
        .run();
    let want = reference(&mut widen(&y), None, &weight, 1e-5);
    assert_close(&widen(&out.to_vec()), &want, T::EPSILON * 1.01);
}

#[test]
fn shim_rms_norm_is_the_formula_at_any_width() {
    for (rows, width) in [(1, 8), (3, 576), (2, 2048), (5, 2056), (1, 8192)] {
        check::<f16>(rows, width);
        check::<bf16>(rows, width);
    }
}
