//! The kernels of `embedding.cu` but for tables in tiles, which are with the products.
#![allow(unsafe_code)]

use super::shim::{Buffer, Kernel, function};
use super::values::Random;

type Reference = unsafe extern "C" fn(*mut f32, *const u32, *const f32, i32, i32);

fn reference(rows: &[u32], x: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; rows.len() * width];
    // SAFETY: the type of the function, and arrays of the shape.
    unsafe {
        let reference: Reference = function("gather_rows_reference");
        reference(
            out.as_mut_ptr(),
            rows.as_ptr(),
            x.as_ptr(),
            rows.len() as i32,
            width as i32,
        );
    }
    out
}

#[test]
fn shim_gather_rows_picks_the_rows_in_their_order() {
    for width in [8, 40, 576, 2056, 4096] {
        let (x, rows) = (Random::new(5).floats(7 * width, 1.0), [6, 0, 3, 3]);
        let out = Buffer::<f32>::output("out", 4 * width);
        let (rows_buffer, x_buffer) = (Buffer::new("rows", &rows), Buffer::new("x", &x));
        let kernel = Kernel::new("gather_rows", [4, 1, 1], 256)
            .buffer(&out)
            .buffer(&rows_buffer)
            .buffer(&x_buffer);
        kernel.int(width).run();
        assert_eq!(out.to_vec(), reference(&rows, &x, width));
    }
}

#[test]
fn shim_gather_rows_outside_of_x_is_found() {
    let (rows, x, out) = (
        Buffer::new("rows", &[4u32]),
        Buffer::new("x", &[0.0f32; 32]),
        Buffer::<f32>::output("out", 8),
    );
    let kernel = Kernel::new("gather_rows", [1, 1, 1], 256)
        .buffer(&out)
        .buffer(&rows)
        .buffer(&x);
    let message = kernel.int(8).try_run(1).unwrap_err();
    assert!(
        message.contains("read outside of x: bytes 128..144 of 128"),
        "{message}"
    );
}

#[test]
fn shim_drawn_tokens_take_their_places_and_nothing_drawn_is_token_0() {
    // More than a block, and in no order.
    let num_pending = 300;
    let mut pending: Vec<u32> = Vec::new();
    let drawn: Vec<u32> = (0..400)
        .map(|i| if i % 7 == 0 { !0 } else { 1000 + i })
        .collect();
    let mut expected: Vec<u32> = (0..700).collect();
    for i in 0..num_pending {
        let (row, at) = (i * 37 % 700, i * 11 % 400);
        pending.extend([row, at]);
        expected[row as usize] = match drawn[at as usize] {
            u32::MAX => 0,
            id => id,
        };
    }
    let ids = Buffer::new("ids", &(0..700).collect::<Vec<u32>>());
    let (pending, drawn) = (
        Buffer::new("pending", &pending),
        Buffer::new("drawn", &drawn),
    );
    let kernel = Kernel::new("place_drawn", [2, 1, 1], 256)
        .buffer(&ids)
        .buffer(&pending)
        .buffer(&drawn);
    kernel.int(num_pending as usize).run();
    assert_eq!(ids.to_vec(), expected);
}
