#![allow(unsafe_code)]

use half::{bf16, f16};

use super::shim::{Buffer, Element, Kernel, function};
use super::values::{Half, Random, widen};

type Reference = unsafe extern "C" fn(*mut f32, *const u32, *const f32, i32, i32, f32);

fn reference(ids: &[u32], table: &[f32], width: usize, scale: f32) -> Vec<f32> {
    let mut out = vec![0.0; ids.len() * width];
    // SAFETY: the type of the function, and arrays of the shape.
    unsafe {
        let reference: Reference = function("embedding_reference");
        reference(
            out.as_mut_ptr(),
            ids.as_ptr(),
            table.as_ptr(),
            ids.len() as i32,
            width as i32,
            scale,
        );
    }
    out
}

fn embedded<T: Element>(name: &str, ids: &[u32], table: &[T], width: usize) -> Vec<f32> {
    let out = Buffer::<f32>::output("out", ids.len() * width);
    let (ids_buffer, table) = (Buffer::new("ids", ids), Buffer::new("table", table));
    let kernel = Kernel::new(name, [ids.len(), 1, 1], 256)
        .buffer(&out)
        .buffer(&ids_buffer)
        .buffer(&table);
    kernel.int(width).float(1.5).run();
    out.to_vec()
}

#[test]
fn shim_embedding_rows_are_those_of_the_table() {
    for width in [8, 576, 2056, 4096] {
        let mut random = Random::new(3);
        let ids: Vec<u32> = (0..9).map(|_| random.below(13) as u32).collect();
        let floats = random.floats(13 * width, 2.0);
        assert_eq!(
            embedded("embedding_f32", &ids, &floats, width),
            reference(&ids, &floats, width, 1.5)
        );
        let halves: Vec<f16> = floats.iter().map(|x| f16::round(*x)).collect();
        assert_eq!(
            embedded("embedding_f16", &ids, &halves, width),
            reference(&ids, &widen(&halves), width, 1.5)
        );
        let halves: Vec<bf16> = floats.iter().map(|x| bf16::round(*x)).collect();
        assert_eq!(
            embedded("embedding_bf16", &ids, &halves, width),
            reference(&ids, &widen(&halves), width, 1.5)
        );
    }
}

#[test]
fn shim_gather_rows_picks_the_rows_in_their_order() {
    let (x, rows) = (Random::new(5).floats(7 * 40, 1.0), [6, 0, 3, 3]);
    let out = Buffer::<f32>::output("out", 4 * 40);
    let (rows_buffer, x_buffer) = (Buffer::new("rows", &rows), Buffer::new("x", &x));
    let kernel = Kernel::new("gather_rows", [4, 1, 1], 256)
        .buffer(&out)
        .buffer(&rows_buffer)
        .buffer(&x_buffer);
    kernel.int(40).run();
    assert_eq!(out.to_vec(), reference(&rows, &x, 40, 1.0));
}

#[test]
fn shim_embedding_outside_of_the_table_is_found() {
    let (ids, table, out) = (
        Buffer::new("ids", &[4u32]),
        Buffer::new("table", &[0.0f32; 32]),
        Buffer::<f32>::output("out", 8),
    );
    let kernel = Kernel::new("embedding_f32", [1, 1, 1], 256)
        .buffer(&out)
        .buffer(&ids)
        .buffer(&table);
    let message = kernel.int(8).float(1.0).try_run(1).unwrap_err();
    assert!(
        message.contains("read outside of table: bytes 128..144 of 128"),
        "{message}"
    );
}
