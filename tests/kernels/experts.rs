#![allow(unsafe_code)]

use half::{bf16, f16};

use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, assert_close, widen};

type Reference = unsafe extern "C" fn(*mut u32, *mut f32, *const f32, i32, i32, i32, i32);

struct Routed {
    experts: Vec<u32>,
    weights: Vec<f32>,
}

fn route(logits: &[f32], num_experts: usize, top_k: usize, is_normalised: bool) -> Routed {
    let num_rows = logits.len() / num_experts;
    // Behind them is a row without a slot, whatever its logits: it goes where the first goes.
    let all = [logits, &vec![f32::NAN; num_experts][..]].concat();
    let slots: Vec<u32> = (0..num_rows as u32).chain([u32::MAX]).collect();
    let experts = Buffer::<u32>::output("experts", (num_rows + 1) * top_k);
    let weights = Buffer::<f32>::output("weights", (num_rows + 1) * top_k);
    let (logits, slots) = (Buffer::new("logits", &all), Buffer::new("slots", &slots));
    let kernel = Kernel::new("route", [(num_rows + 1).div_ceil(4), 1, 1], 128)
        .buffer(&experts)
        .buffer(&weights)
        .buffer(&logits)
        .buffer(&slots);
    kernel
        .int(num_rows + 1)
        .int(num_experts)
        .int(top_k)
        .int(is_normalised.into())
        .int(1)
        .run();
    let (mut experts, mut weights) = (experts.to_vec(), weights.to_vec());
    let last = experts.split_off(num_rows * top_k);
    assert_eq!(last, experts[..top_k]);
    weights.truncate(num_rows * top_k);
    Routed { experts, weights }
}

#[test]
fn shim_experts_are_the_largest_with_their_part_of_the_softmax() {
    for (num_rows, num_experts, top_k) in
        [(9, 8, 2), (5, 128, 8), (3, 60, 4), (2, 512, 32), (1, 3, 3)]
    {
        for is_normalised in [false, true] {
            let mut logits = Random::new(num_experts as u64).floats(num_rows * num_experts, 4.0);
            // Some are equal.
            logits
                .iter_mut()
                .for_each(|x| *x = (*x * 4.0).round() / 4.0);
            let got = route(&logits, num_experts, top_k, is_normalised);
            let mut want = Routed {
                experts: vec![0; num_rows * top_k],
                weights: vec![0.0; num_rows * top_k],
            };
            // SAFETY: the type of the function, and arrays of the shape.
            unsafe {
                let reference: Reference = function("route_reference");
                let (rows, experts, k) = (num_rows as i32, num_experts as i32, top_k as i32);
                let (to, weights) = (want.experts.as_mut_ptr(), want.weights.as_mut_ptr());
                reference(
                    to,
                    weights,
                    logits.as_ptr(),
                    rows,
                    experts,
                    k,
                    is_normalised.into(),
                );
            }
            assert_eq!(got.experts, want.experts);
            assert_close(&got.weights, &want.weights, 1e-6);
        }
    }
}

#[test]
fn shim_experts_of_a_row_with_a_nan_weigh_nan_and_touch_no_other() {
    let got = route(&[1.0, f32::NAN, 0.0, 2.0, 1.0, 0.0], 3, 2, true);
    assert!(got.weights[..2].iter().all(|weight| weight.is_nan()));
    assert!(got.weights[2..].iter().all(|weight| weight.is_finite()));
}

#[test]
fn shim_experts_pairs_are_sorted_and_cut_into_tiles() {
    for (num_rows, num_experts, top_k, tile_rows) in [
        (300, 7, 2, 8),
        (1, 4, 4, 32),
        (700, 3, 1, 128),
        (5, 100, 3, 8),
    ] {
        let mut random = Random::new(num_rows as u64);
        let experts: Vec<u32> = (0..num_rows * top_k)
            .map(|_| (random.below(num_experts) * random.below(2)) as u32)
            .collect();
        let num_pairs = experts.len();
        // As few as they can be, whatever the experts.
        let max_tiles = num_pairs.min(num_pairs / tile_rows + num_experts);
        let (rows, places) = (
            Buffer::<u32>::output("rows", num_pairs),
            Buffer::<u32>::output("places", num_pairs),
        );
        let tiles = Buffer::<u32>::output("tiles", max_tiles * 3);
        let experts_buffer = Buffer::new("experts", &experts);
        Kernel::new("sort_pairs", [num_experts, 1, 1], 256)
            .buffer(&rows)
            .buffer(&places)
            .buffer(&tiles)
            .buffer(&experts_buffer)
            .int(num_pairs)
            .int(top_k)
            .int(num_experts)
            .int(tile_rows)
            .int(max_tiles)
            .run();
        let mut order: Vec<usize> = (0..num_pairs).collect();
        order.sort_by_key(|pair| experts[*pair]);
        let (rows, places) = (rows.to_vec(), places.to_vec());
        for (place, &pair) in order.iter().enumerate() {
            assert_eq!(
                (rows[place] as usize, places[pair] as usize),
                (pair / top_k, place)
            );
        }
        let mut covered = 0;
        for tile in tiles.to_vec().chunks_exact(3).filter(|tile| tile[1] > 0) {
            assert_eq!(tile[0] as usize, covered);
            assert!(tile[1] as usize <= tile_rows);
            covered += tile[1] as usize;
            let mut pairs = order[tile[0] as usize..covered].iter();
            assert!(pairs.all(|pair| experts[*pair] == tile[2]));
        }
        assert_eq!(covered, num_pairs);
    }
}

fn check_combine<T: Half>() {
    let (num_rows, top_k, width) = (6, 3, 2056);
    let mut random = Random::new(8);
    let x = random.halves::<T>(num_rows * top_k * width, 3.0);
    let weights = random.floats(num_rows * top_k, 1.0);
    // A permutation.
    let places: Vec<u32> = (0..18u32).map(|i| i * 5 % 18).collect();
    let out = Buffer::<T>::output("out", num_rows * width);
    let buffers = (
        Buffer::new("x", &x),
        Buffer::new("places", &places),
        Buffer::new("weights", &weights),
    );
    let name = format!("combine_experts_{}", T::NAME);
    let kernel = Kernel::new(&name, [num_rows, 1, 1], 256)
        .buffer(&out)
        .buffer(&buffers.0)
        .buffer(&buffers.1);
    kernel.buffer(&buffers.2).int(top_k).int(width).run();
    let x = widen(&x);
    let want = (0..num_rows * width).map(|i| {
        let pairs = (0..top_k).map(|j| i / width * top_k + j);
        pairs
            .map(|pair| weights[pair] * x[places[pair] as usize * width + i % width])
            .sum::<f32>()
    });
    assert_close(
        &widen(&out.to_vec()),
        &want.collect::<Vec<_>>(),
        T::EPSILON * 1.02,
    );

    let rows = [4u32, 0, 4];
    let (out, rows_buffer) = (
        Buffer::<T>::output("out", 3 * width),
        Buffer::new("rows", &rows),
    );
    let name = format!("gather_pairs_{}", T::NAME);
    let kernel = Kernel::new(&name, [3, 1, 1], 256)
        .buffer(&out)
        .buffer(&buffers.0)
        .buffer(&rows_buffer);
    kernel.int(width).run();
    let want: Vec<f32> = rows
        .iter()
        .flat_map(|row| x[*row as usize * width..][..width].to_vec())
        .collect();
    assert_eq!(widen(&out.to_vec()), want);
}

#[test]
fn shim_experts_are_gathered_and_combined_by_weight() {
    check_combine::<f16>();
    check_combine::<bf16>();
}
