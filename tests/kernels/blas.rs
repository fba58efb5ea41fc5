//! The program's side of cuBLAS, over what the shim has of it.
//!
//! As with the driver, tests that make the card fail, or need the library to be away, run in a process of their own.

use std::process::Command;

use flambeau::backend::cuda::{Blas, Cuda, CudaError, FloatType, Gemm, Slice};
use half::{bf16, f16};

use super::shim_card::{shim_blas, shim_card};
use super::values::{Half, Random, assert_close, widen};

const ROWS: usize = 5;
const N: usize = 20;
const K: usize = 72;
/// Columns of out, and the first that is written.
const OUT: (usize, usize) = (26, 4);

fn upload<T: Half>(cuda: &Cuda, values: &[T]) -> Slice {
    let bytes = values.iter().flat_map(|x| match T::NAME {
        "f16" => f16::from_f32(x.to_f32()).to_le_bytes(),
        _ => bf16::from_f32(x.to_f32()).to_le_bytes(),
    });
    cuda.upload(&bytes.collect::<Vec<u8>>()).expect("room")
}

fn read(slice: &Slice, of: FloatType) -> Vec<f32> {
    let bytes = slice.read().expect("the card works");
    let halves = bytes.as_chunks().0;
    match of {
        FloatType::F32 => (bytes.as_chunks().0.iter())
            .map(|x| f32::from_le_bytes(*x))
            .collect(),
        FloatType::F16 => (halves.iter())
            .map(|x| f16::from_le_bytes(*x).to_f32())
            .collect(),
        FloatType::Bf16 => (halves.iter())
            .map(|x| bf16::from_le_bytes(*x).to_f32())
            .collect(),
    }
}

fn reference(x: &[f32], w: &[f32], out: &mut [f32], is_added: bool) {
    for (x, out) in x.chunks(K).zip(out.chunks_mut(OUT.0)) {
        for (w, out) in w.chunks(K).zip(&mut out[OUT.1..]) {
            let products = x.iter().zip(w).map(|(a, b)| f64::from(*a) * f64::from(*b));
            let before = if is_added { f64::from(*out) } else { 0.0 };
            *out = (before + products.sum::<f64>()) as f32;
        }
    }
}

fn check<T: Half>(half: FloatType) {
    let cuda = shim_card();
    let blas = shim_blas(&cuda);
    let mut random = Random::new(9);
    let x = random.halves::<T>(ROWS * K, 1.0);
    let w = random.halves::<T>(N * K, 0.3);
    let before = random.halves::<T>(ROWS * OUT.0, 1.0);
    let (x_slice, w_slice) = (upload(&cuda, &x), upload(&cuda, &w));
    for rows in [1, ROWS] {
        for is_added in [false, true] {
            let mut want = widen(&before[..rows * OUT.0]);
            let floats: Vec<u8> = want.iter().flat_map(|x| x.to_le_bytes()).collect();
            reference(&widen(&x[..rows * K]), &widen(&w), &mut want, is_added);
            let halves = upload(&cuda, &before[..rows * OUT.0]);
            let floats = cuda.upload(&floats).expect("room");
            let x = x_slice.narrow(0, rows * K * 2).expect("a part");
            for (out, out_type) in [(&halves, half), (&floats, FloatType::F32)] {
                let gemm = Gemm {
                    out,
                    out_type,
                    out_width: OUT.0,
                    column: OUT.1,
                    is_added,
                    x: &x,
                    w: &w_slice,
                    half,
                    shape: (rows, N, K),
                };
                blas.gemm(&gemm).expect("it fits");
            }
            assert_close(&read(&halves, half), &want, T::EPSILON);
            assert_close(&read(&floats, FloatType::F32), &want, 1e-5);
        }
    }
}

#[test]
fn shim_blas_multiplies_rows_with_rows_and_leaves_other_columns_as_they_are() {
    check::<f16>(FloatType::F16);
    check::<bf16>(FloatType::Bf16);
}

#[test]
fn shim_blas_is_recorded_and_replayed() {
    let cuda = shim_card();
    let blas = shim_blas(&cuda);
    let ones = |len: usize| upload(&cuda, &vec![bf16::ONE; len]);
    let (x, w) = (ones(2 * 8), ones(3 * 8));
    let out = cuda.alloc_zeroed(2 * 3 * 4).expect("room");
    let graph = cuda.record(|| {
        blas.gemm(&Gemm {
            out: &out,
            out_type: FloatType::F32,
            out_width: 3,
            column: 0,
            is_added: true,
            x: &x,
            w: &w,
            half: FloatType::Bf16,
            shape: (2, 3, 8),
        })
    });
    let graph = graph.expect("products can be recorded");
    for times in 0..3 {
        let want = 8.0 * times as f32;
        assert_eq!(read(&out, FloatType::F32), [want; 6]);
        graph.launch().expect("a replay");
    }
}

#[test]
fn shim_blas_is_not_asked_for_what_does_not_fit() {
    let cuda = shim_card();
    let blas = shim_blas(&cuda);
    let slice = |len: usize| cuda.alloc(2 * len).expect("room");
    let (out, x, w) = (slice(2 * 4), slice(2 * 8), slice(3 * 8));
    let error = |shape, column, out: &Slice| {
        let asked = blas.gemm(&Gemm {
            out,
            out_type: FloatType::Bf16,
            out_width: 4,
            column,
            is_added: false,
            x: &x,
            w: &w,
            half: FloatType::Bf16,
            shape,
        });
        asked.err()
    };
    assert_eq!(error((2, 3, 8), 1, &out), None);
    for (shape, column) in [
        ((2, 3, 8), 2),
        ((1, 3, 8), 1),
        ((2, 2, 8), 1),
        ((2, 3, 7), 1),
    ] {
        let error = error(shape, column, &out).expect("refused");
        assert!(error.to_string().starts_with("cublasGemmEx: ["), "{error}");
    }
    // Nor for another card, or the same one opened apart.
    let apart = shim_card().alloc(2 * 2 * 4).expect("room");
    let error = error((2, 3, 8), 1, &apart).expect("refused");
    assert!(error.to_string().contains("opened apart"), "{error}");
    cuda.synchronise().expect("nothing has happened");
}

/// Says that a process is one of its own.
const ALONE: &str = "FLAMBEAU_TEST_ALONE";

#[test]
fn shim_blas_that_is_not_there_is_an_error_that_names_the_library() {
    if std::env::var_os(ALONE).is_none() {
        let name = "blas::shim_blas_that_is_not_there_is_an_error_that_names_the_library";
        let program = std::env::current_exe().expect("a program");
        let mut process = Command::new(program);
        process.args(["--exact", name]).env(ALONE, "1");
        let done = process.output().expect("it starts");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let cuda = shim_card();
    match Blas::new(&cuda) {
        Err(error @ CudaError::NoBlas) => {
            let said = error.to_string();
            assert!(said.contains("libcublas.so") && said.contains("--batch-invariant on"));
        }
        // That of this machine knows no card of the shim.
        Err(error) => assert!(error.to_string().contains("cublas"), "{error}"),
        Ok(_) => panic!("the shim's was not loaded"),
    }
}
