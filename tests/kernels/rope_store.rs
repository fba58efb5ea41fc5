#![allow(unsafe_code)]

use half::{bf16, f16};

use super::cache::{Layout, Unit};
use super::shim::{Buffer, Kernel, function};
use super::values::{Half, Random, assert_close, widen};

type Reference = unsafe extern "C" fn(
    *mut f32,
    *const u32,
    *const f32,
    *const f32,
    *const f32,
    i32,
    i32,
    i32,
    i32,
    i32,
    i32,
    f32,
);

struct Case {
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
    rotary_dim: usize,
    is_interleaved: bool,
    has_norm: bool,
}

fn check<T: Half, U: Unit>(case: &Case) {
    let &Case {
        num_heads,
        num_kv_heads,
        head_dim,
        rotary_dim,
        is_interleaved,
        has_norm,
    } = case;
    let (rows, heads, positions_end) = (5, num_heads + 2 * num_kv_heads, 50);
    let layout = Layout {
        num_blocks: 4,
        num_kv_heads,
        block_size: 16,
        head_dim,
    };
    let mut random = Random::new(head_dim as u64);
    let qkv = random.halves::<T>(rows * heads * head_dim, 3.0);
    let positions: Vec<u32> = (0..rows)
        .map(|_| random.below(positions_end) as u32)
        .collect();
    let slots: Vec<u32> = vec![17, 63, 0, 16, 48];
    let turns: Vec<f32> = (0..positions_end * rotary_dim / 2)
        .flat_map(|i| {
            let angle = (i / (rotary_dim / 2)) as f32 * 0.7f32.powi((i % (rotary_dim / 2)) as i32);
            [angle.cos(), angle.sin()]
        })
        .collect();
    let (q_norm, k_norm) = (random.floats(head_dim, 2.0), random.floats(head_dim, 2.0));

    let mut want = widen(&qkv);
    let norm = |weight: &Vec<f32>| {
        if has_norm {
            weight.as_ptr()
        } else {
            std::ptr::null()
        }
    };
    // SAFETY: the type of the function, and arrays of the shape.
    unsafe {
        let reference: Reference = function("rope_store_reference");
        reference(
            want.as_mut_ptr(),
            positions.as_ptr(),
            turns.as_ptr(),
            norm(&q_norm),
            norm(&k_norm),
            rows as i32,
            num_heads as i32,
            num_kv_heads as i32,
            head_dim as i32,
            rotary_dim as i32,
            is_interleaved.into(),
            1e-6,
        );
    }

    let buffer = Buffer::new("qkv", &qkv);
    let cache = Buffer::new("cache", &vec![U::POISON; layout.len::<U>()]);
    let (q_norm, k_norm) = (
        Buffer::new("q_norm", &q_norm),
        Buffer::new("k_norm", &k_norm),
    );
    let (positions, slots_buffer) = (
        Buffer::new("positions", &positions),
        Buffer::new("slots", &slots),
    );
    let turns = Buffer::new("turns", &turns);
    let name = format!("rope_store_{}_{}", T::NAME, U::NAME);
    let kernel = Kernel::new(&name, [rows, heads.div_ceil(4), 1], 128);
    let kernel = kernel
        .buffer(&buffer)
        .buffer(&cache)
        .buffer(&positions)
        .buffer(&slots_buffer)
        .buffer(&turns);
    let kernel = if has_norm {
        kernel.buffer(&q_norm).buffer(&k_norm)
    } else {
        kernel.null().null()
    };
    let kernel = kernel
        .int(has_norm.into())
        .int(num_heads)
        .int(num_kv_heads)
        .int(layout.block_size);
    kernel
        .int(head_dim)
        .int(rotary_dim)
        .int(is_interleaved.into())
        .float(1e-6)
        .run();

    let (got, stored) = (widen(&buffer.to_vec()), cache.to_vec());
    let mut expected = vec![U::POISON; stored.len()];
    let mut rest = stored.clone();
    for (row, &slot) in slots.iter().enumerate() {
        for head in 0..heads {
            let at = (row * heads + head) * head_dim..(row * heads + head + 1) * head_dim;
            let want = &want[at.clone()];
            if head < num_heads {
                assert_close(&got[at], want, T::EPSILON * 1.02);
                continue;
            }
            assert_eq!(
                got[at.clone()],
                widen(&qkv[at]),
                "keys and values stay as they were"
            );
            let (which, kv_head) = (
                (head - num_heads) / num_kv_heads,
                (head - num_heads) % num_kv_heads,
            );
            layout.write(&mut expected, slot as usize, which, kv_head, want);
            let got = layout.read(&stored, slot as usize, which, kv_head);
            let exact = layout.read(&expected, slot as usize, which, kv_head);
            let largest = want.iter().fold(0.0f32, |a, x| a.max(x.abs()));
            // A last digit of the arithmetic may be a step of the rounding.
            let step = if U::NAME == "int8" {
                largest / 127.0
            } else {
                largest / 128.0
            };
            for (got, exact) in got.iter().zip(&exact) {
                assert!((got - exact).abs() <= step * 1.01, "{got} {exact}");
            }
            let same = got
                .iter()
                .zip(&exact)
                .filter(|(got, exact)| (*got - *exact).abs() <= 1e-5 * largest)
                .count();
            assert!(
                same * 100 >= 98 * head_dim,
                "{same} of {head_dim} are the same"
            );
            layout.erase(&mut rest, slot as usize, which, kv_head);
        }
    }
    assert!(
        rest.iter().all(|unit| unit.is_poison()),
        "other slots are nobody's"
    );
}

#[test]
fn shim_rope_store_turns_queries_and_stores_keys_and_values() {
    let case = |num_heads, num_kv_heads, head_dim, rotary_dim, is_interleaved, has_norm| Case {
        num_heads,
        num_kv_heads,
        head_dim,
        rotary_dim,
        is_interleaved,
        has_norm,
    };
    for case in [
        case(9, 3, 64, 64, true, false),
        case(4, 1, 128, 128, false, true),
        case(2, 2, 96, 24, false, false),
        case(3, 1, 256, 128, true, true),
        case(1, 1, 8, 8, false, true),
    ] {
        check::<f16, f16>(&case);
        check::<f16, bf16>(&case);
        check::<f16, i8>(&case);
        check::<bf16, f16>(&case);
        check::<bf16, bf16>(&case);
        check::<bf16, i8>(&case);
    }
}

/// Stores one row of bf16, with a query head for each key-value head, at position 0 in slot 0; nothing turns.
fn store_one<U: Unit>(layout: &Layout, qkv: &[bf16]) -> Vec<U> {
    let (qkv, cache) = (
        Buffer::new("qkv", qkv),
        Buffer::new("cache", &vec![U::POISON; layout.len::<U>()]),
    );
    let (zeros, turns) = (
        Buffer::new("positions", &[0u32]),
        Buffer::new("turns", &[1.0f32, 0.0]),
    );
    let heads = layout.num_kv_heads;
    let name = format!("rope_store_bf16_{}", U::NAME);
    Kernel::new(&name, [1, (3 * heads).div_ceil(4), 1], 128)
        .buffer(&qkv)
        .buffer(&cache)
        .buffer(&zeros)
        .buffer(&zeros)
        .buffer(&turns)
        .null()
        .null()
        .int(0)
        .int(heads)
        .int(heads)
        .int(layout.block_size)
        .int(layout.head_dim)
        .int(2)
        .int(1)
        .float(1e-6)
        .run();
    cache.to_vec()
}

#[test]
fn shim_rope_store_gives_an_int8_head_with_an_infinity_no_scale() {
    let layout = Layout {
        num_blocks: 1,
        num_kv_heads: 1,
        block_size: 16,
        head_dim: 8,
    };
    for bad in [f32::INFINITY, f32::NAN] {
        let mut qkv = vec![bf16::ONE; 24];
        qkv[18] = bf16::from_f32(bad);
        let stored = store_one::<i8>(&layout, &qkv);
        assert!(layout.read(&stored, 0, 1, 0)[0].is_nan());
        assert_eq!(layout.read(&stored, 0, 0, 0), [1.0; 8], "the key is finite");
    }
}

#[test]
fn shim_rope_store_leaves_a_token_with_infinite_values_keys_that_are_no_numbers() {
    let layout = Layout {
        num_blocks: 1,
        num_kv_heads: 2,
        block_size: 16,
        head_dim: 8,
    };
    // A number that overflows when it is stored, too.
    for bad in [f32::INFINITY, f32::NAN, 7e4] {
        let mut qkv = vec![bf16::ONE; 48];
        qkv[34] = bf16::from_f32(bad);
        let stored = store_one::<f16>(&layout, &qkv);
        assert!(layout.read(&stored, 0, 0, 0).iter().all(|k| k.is_nan()));
        assert_eq!(layout.read(&stored, 0, 1, 0), [0.0; 8]);
        for which in 0..2 {
            assert_eq!(layout.read(&stored, 0, which, 1), [1.0; 8], "another head");
        }
    }
}
