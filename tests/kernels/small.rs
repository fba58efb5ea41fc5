//! Ops that are a formula or a copy: soft caps, low-rank additions, blocks of the cache.
#![allow(unsafe_code)]

use half::{bf16, f16};

use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, assert_close, widen};

#[test]
fn shim_softcap_is_the_formula() {
    let mut x = Random::new(4).floats(4100, 80.0);
    x[..4].copy_from_slice(&[0.0, -1e9, f32::INFINITY, 1e-3]);
    let buffer = Buffer::new("x", &x);
    Kernel::new("softcap", [5, 1, 1], 256)
        .buffer(&buffer)
        .long(4100)
        .float(30.0)
        .run();
    // SAFETY: the type of the function, and an array of the length.
    unsafe {
        function::<unsafe extern "C" fn(*mut f32, i32, f32)>("softcap_reference")(
            x.as_mut_ptr(),
            4100,
            30.0,
        )
    };
    for (got, want) in buffer.to_vec().iter().zip(&x) {
        assert!((got - want).abs() <= 30.0 * 4e-7, "{got} {want}");
    }
}

type LowRank = unsafe extern "C" fn(*mut f32, *const f32, *const f32, *const f32, i32, i32, i32);

fn check_low_rank<T: Half>() {
    let (num_rows, k, out_len) = (7, 264, 300);
    let mut random = Random::new(6);
    let (x, out) = (
        random.halves::<T>(num_rows * k, 1.0),
        random.halves::<T>(num_rows * out_len, 1.0),
    );
    // First row, rows, column, rank, outputs.
    let groups = [
        (0, 2, 0, 8, 300),
        (3, 3, 11, 16, 40),
        (3, 3, 200, 1, 100),
        (6, 1, 0, 256, 5),
    ];
    let (mut matrices, mut fields) = (Vec::new(), Vec::new());
    for (first, rows, column, rank, n) in groups {
        let a = matrices.len();
        matrices.extend(random.halves::<T>(rank * k, 0.3));
        // Matrices begin at multiples of eight values.
        matrices.resize(matrices.len().next_multiple_of(8), T::POISON);
        let b = matrices.len();
        matrices.extend(random.halves::<T>(rank * n, 0.3));
        matrices.resize(matrices.len().next_multiple_of(8), T::POISON);
        fields.extend([first, rows, column, rank, n, a / 8, b / 8].map(|x| x as u32));
    }
    let buffers = (Buffer::new("x", &x), Buffer::new("matrices", &matrices));
    // There is room for 5.
    let mut all: Vec<usize> = fields.iter().map(|x| *x as usize).collect();
    all.resize(5 * 7, 0);
    let got = Buffer::new("out", &out);
    let name = format!("add_low_rank_{}", T::NAME);
    // Parts of the same rows share no outputs.
    let kernel = Kernel::new(&name, [3, groups.len(), 1], 256)
        .buffer(&got)
        .buffer(&buffers.0);
    kernel
        .buffer(&buffers.1)
        .fields(&all, &[])
        .int(k)
        .int(out_len)
        .run();
    let (x, mut want, matrices) = (widen(&x), widen(&out), widen(&matrices));
    for fields in fields.chunks_exact(7) {
        let [first, rows, column, rank, n, a, b] =
            [0, 1, 2, 3, 4, 5, 6].map(|i| fields[i] as usize);
        let (a, b) = (a * 8, b * 8);
        for row in first..first + rows {
            // SAFETY: the type of the function, and arrays that hold the parts.
            unsafe {
                let reference: LowRank = function("low_rank_reference");
                let to = want[row * out_len + column..].as_mut_ptr();
                let (a, b) = (matrices[a..].as_ptr(), matrices[b..].as_ptr());
                reference(
                    to,
                    x[row * k..].as_ptr(),
                    a,
                    b,
                    rank as i32,
                    n as i32,
                    k as i32,
                );
            }
        }
    }
    assert_close(&widen(&got.to_vec()), &want, T::EPSILON * 1.05);
}

#[test]
fn shim_low_rank_adds_to_each_group_its_own() {
    check_low_rank::<f16>();
    check_low_rank::<bf16>();
}
