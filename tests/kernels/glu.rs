#![allow(unsafe_code)]

use half::{bf16, f16};

use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, assert_close, widen};

type Reference = unsafe extern "C" fn(*mut f32, *const f32, i32, i32, i32, f32);

fn check<T: Half>(rows: usize, width: usize, glu: usize) {
    let mut random = Random::new(width as u64);
    let mut gate_up = random.halves::<T>(rows * 2 * width, 6.0);
    // What is far out must neither overflow nor vanish.
    gate_up[..4].copy_from_slice(&[-1e4, 1e4, 0.0, -90.0].map(T::round));
    let limit = 2.5;
    let mut want = vec![0.0; rows * width];
    // SAFETY: the type of the function, and arrays of the shape.
    unsafe {
        let reference: Reference = function("glu_reference");
        let gate_up = widen(&gate_up);
        reference(
            want.as_mut_ptr(),
            gate_up.as_ptr(),
            rows as i32,
            width as i32,
            glu as i32,
            limit,
        );
    }
    let (gate_up, out) = (
        Buffer::new("gate_up", &gate_up),
        Buffer::<T>::output("out", rows * width),
    );
    let name = format!("gated_activation_{}", T::NAME);
    Kernel::new(&name, [rows, width.div_ceil(2048), 1], 256)
        .buffer(&out)
        .buffer(&gate_up)
        .int(width)
        .int(glu)
        .float(limit)
        .run();
    assert_close(&widen(&out.to_vec()), &want, T::EPSILON * 1.02);
}

#[test]
fn shim_glu_is_each_formula_at_any_width() {
    for glu in 0..3 {
        for (rows, width) in [(1, 8), (3, 1536), (2, 2056), (1, 4096)] {
            check::<f16>(rows, width, glu);
            check::<bf16>(rows, width, glu);
        }
    }
}

#[test]
fn shim_glu_passes_a_nan_on() {
    for glu in 0..3 {
        let mut gate_up = vec![bf16::ONE; 16];
        (gate_up[1], gate_up[8 + 2]) = (bf16::NAN, bf16::NAN);
        let (gate_up, out) = (
            Buffer::new("gate_up", &gate_up),
            Buffer::<bf16>::output("out", 8),
        );
        let kernel = Kernel::new("gated_activation_bf16", [1, 1, 1], 256)
            .buffer(&out)
            .buffer(&gate_up);
        kernel.int(8).int(glu).float(1.0).run();
        let nans: Vec<bool> = out.to_vec().iter().map(|x| x.is_nan()).collect();
        assert_eq!(nans, [false, true, true, false, false, false, false, false]);
    }
}
