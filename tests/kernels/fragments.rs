//! The shim itself: what its twins of instructions compute, and the faults it finds.

use half::{bf16, f16};

use super::shim::{Buffer, Kernel};
use super::values::{Half, Random};

/// Row and column of element `i` of a lane's part of A, by the PTX manual's section on `mma.m16n8k16` with 16-bit floats.
fn place_in_a(lane: usize, i: usize) -> (usize, usize) {
    let (group_id, thread_id_in_group) = (lane >> 2, lane % 4);
    let row = if (0..2).contains(&i) || (4..6).contains(&i) {
        group_id
    } else {
        group_id + 8
    };
    let column = if i < 4 {
        thread_id_in_group * 2 + (i & 1)
    } else {
        thread_id_in_group * 2 + (i & 1) + 8
    };
    (row, column)
}

/// Of B.
fn place_in_b(lane: usize, i: usize) -> (usize, usize) {
    let (group_id, thread_id_in_group) = (lane >> 2, lane % 4);
    let row = if i < 2 {
        thread_id_in_group * 2 + (i & 1)
    } else {
        thread_id_in_group * 2 + (i & 1) + 8
    };
    (row, group_id)
}

/// Of C and D.
fn place_in_c(lane: usize, i: usize) -> (usize, usize) {
    let (group_id, thread_id_in_group) = (lane >> 2, lane % 4);
    let row = if i < 2 { group_id } else { group_id + 8 };
    (row, thread_id_in_group * 2 + (i & 1))
}

fn check_mma<T: Half>(bits: fn(T) -> u16) {
    let mut random = Random::new(2);
    let (a, b) = (
        random.halves::<T>(16 * 16, 2.0),
        random.halves::<T>(16 * 8, 2.0),
    );
    let c = random.floats(16 * 8, 2.0);
    // Pairs of elements, the lower index in the lower half.
    let pairs = |count: usize, value: &dyn Fn(usize, usize) -> T| -> Vec<u32> {
        let pair = |lane, i| {
            u32::from(bits(value(lane, 2 * i))) | u32::from(bits(value(lane, 2 * i + 1))) << 16
        };
        (0..32)
            .flat_map(|lane| (0..count).map(move |i| pair(lane, i)))
            .collect()
    };
    let at = |(row, column): (usize, usize), width: usize| row * width + column;
    let a_registers = pairs(4, &|lane, i| a[at(place_in_a(lane, i), 16)]);
    let b_registers = pairs(2, &|lane, i| b[at(place_in_b(lane, i), 8)]);
    let each = (0..32).flat_map(|lane| (0..4).map(move |i| (lane, i)));
    let c_registers: Vec<f32> = each
        .clone()
        .map(|(lane, i)| c[at(place_in_c(lane, i), 8)])
        .collect();
    let c_buffer = Buffer::new("c", &c_registers);
    let name = format!("fragments_{}", T::NAME);
    let (a_buffer, b_buffer) = (
        Buffer::new("a", &a_registers),
        Buffer::new("b", &b_registers),
    );
    Kernel::new(&name, [1, 1, 1], 32)
        .buffer(&c_buffer)
        .buffer(&a_buffer)
        .buffer(&b_buffer)
        .run();
    for ((lane, i), got) in each.zip(c_buffer.to_vec()) {
        let (row, column) = place_in_c(lane, i);
        let products = (0..16)
            .map(|k| f64::from(a[row * 16 + k].to_f32()) * f64::from(b[k * 8 + column].to_f32()));
        let want = f64::from(c[row * 8 + column]) + products.sum::<f64>();
        assert!(
            (f64::from(got) - want).abs() < 1e-5,
            "{lane} {i}: {got} {want}"
        );
    }
}

#[test]
fn shim_mma_has_the_fragments_of_the_ptx_manual() {
    check_mma::<f16>(f16::to_bits);
    check_mma::<bf16>(bf16::to_bits);
}

#[test]
fn shim_matrices_are_spread_over_the_lanes_as_in_the_ptx_manual() {
    let values: Vec<f16> = (0..256u16).map(f16::from_bits).collect();
    for is_transposed in [false, true] {
        let (out, matrices) = (
            Buffer::<u32>::output("out", 128),
            Buffer::new("matrices", &values),
        );
        let kernel = Kernel::new("matrices", [1, 1, 1], 32)
            .buffer(&out)
            .buffer(&matrices);
        kernel.int(is_transposed.into()).run();
        for (i, got) in out.to_vec().into_iter().enumerate() {
            // Thread T holds of matrix m, in register m, elements 2 (T % 4) and the next of row T / 4; of columns if transposed.
            let (lane, matrix) = (i / 4, i % 4);
            let element = |j: usize| {
                let (row, column) = (lane / 4, lane % 4 * 2 + j);
                let (row, column) = if is_transposed {
                    (column, row)
                } else {
                    (row, column)
                };
                (matrix * 64 + row * 8 + column) as u32
            };
            assert_eq!(got, element(0) | element(1) << 16);
        }
    }
}

/// A thread reads what another writes, without a barrier in between.
fn is_unordered(message: &str) -> bool {
    message.contains("race: read of shared[")
        || message.contains("read of shared[") && message.contains("which nobody wrote")
}

#[test]
fn shim_finds_faults_and_says_where() {
    let x: Vec<f32> = (0..64u8).map(f32::from).collect();
    let message = |fault: usize| {
        let (out, x) = (Buffer::<f32>::output("out", 64), Buffer::new("x", &x));
        let kernel = Kernel::new("faults", [1, 1, 1], 64)
            .buffer(&out)
            .buffer(&x)
            .int(fault);
        kernel.try_run(3).err()
    };
    assert_eq!(message(0), None);
    for (fault, part) in [
        (1, "read of shared["),
        (
            2,
            "read outside of x: bytes 256..260 of 256, in block (0, 0, 0), thread (63, 0, 0)",
        ),
        (
            4,
            "in block (0, 0, 0) threads wait for each other for ever: 32 at a barrier of the block",
        ),
        (
            5,
            "lanes of a warp are at two places that need all of them: lines",
        ),
        (
            6,
            "in block (0, 0, 0) threads wait for each other for ever: 0 at a barrier of the block, 32 at one of their warp",
        ),
        (7, "out: byte 4 is no multiple of 16"),
        (8, "race: write of out[0], which thread"),
        (9, "x: byte 4 is no multiple of 8"),
    ] {
        let message = message(fault).unwrap_or_default();
        assert!(message.contains(part), "{fault}: {message}");
    }
    assert!(message(1).unwrap().contains("which nobody wrote"));
    // Whether the other thread comes before or after.
    assert!(is_unordered(&message(3).unwrap()));
}

#[test]
fn shim_finds_blocks_that_write_the_same() {
    let out = Buffer::<f32>::output("out", 1);
    let message = Kernel::new("blocks_that_meet", [2, 1, 1], 32)
        .buffer(&out)
        .try_run(1)
        .unwrap_err();
    assert!(
        message.contains("race: write of out[0], which another block wrote"),
        "{message}"
    );
}

#[test]
fn shim_finds_blocks_that_depend_on_each_other_in_whatever_order_they_run() {
    for seed in 0..20 {
        let message = |fault: usize| {
            let x = Buffer::new("x", &[0u32; 9]);
            let kernel = Kernel::new("blocks_in_company", [8, 1, 1], 32);
            let done = kernel.buffer(&x).int(fault).try_run(seed);
            done.err().unwrap_or_default()
        };
        assert_eq!(message(0), "");
        for fault in [1, 2] {
            let message = message(fault);
            assert!(
                message.contains("race: ") && message.contains("another block"),
                "{fault}: {message}"
            );
        }
    }
}

#[test]
fn shim_finds_copies_that_nobody_waited_for() {
    let x: Vec<f32> = (0..128u8).map(f32::from).collect();
    let run = |fault: usize| {
        let (out, x) = (Buffer::<f32>::output("out", 32), Buffer::new("x", &x));
        Kernel::new("copies", [1, 1, 1], 32)
            .buffer(&out)
            .buffer(&x)
            .int(fault)
            .try_run(1)
            .map(|()| out.to_vec())
    };
    let right: Vec<f32> = (0..32u8).map(|i| f32::from((31 - i) * 4)).collect();
    assert_eq!(run(0).as_ref(), Ok(&right));
    for fault in [1, 3] {
        assert!(
            run(fault).is_err_and(|message| message.contains("to which a copy is under way")
                || is_unordered(&message)),
            "{fault}"
        );
    }
    assert!(run(2).is_err_and(|message| is_unordered(&message)));
}

#[test]
fn shim_refuses_launches_that_no_gpu_takes() {
    let out = Buffer::<f32>::output("out", 1);
    let refused = |kernel: Kernel<'_>| kernel.try_run(1).unwrap_err();
    let message = refused(Kernel::new("nothing_like_it", [1, 1, 1], 32).buffer(&out));
    assert!(message.contains("no such kernel"), "{message}");
    let message = refused(Kernel::new("blocks_that_meet", [1, 1, 1], 33).buffer(&out));
    assert!(message.contains("whole warps"), "{message}");
    let message = refused(Kernel::new("blocks_that_meet", [1, 1, 1], 32).null());
    assert!(
        message.contains("write outside of a null pointer"),
        "{message}"
    );
    let message = refused(
        Kernel::new("blocks_that_meet", [1, 1, 1], 32)
            .buffer(&out)
            .int(1),
    );
    assert!(
        message.contains("arguments of other number or sizes"),
        "{message}"
    );
    let message = refused(Kernel::new("blocks_that_meet", [1, 1, 1], 64).buffer(&out));
    assert!(message.contains("up to 32 threads"), "{message}");
    for grid in [[1, 0, 1], [1, 65_536, 1]] {
        let message = refused(Kernel::new("blocks_that_meet", grid, 32).buffer(&out));
        assert!(message.contains("a grid"), "{message}");
    }
    let message = refused(
        Kernel::new("blocks_that_meet", [1, 1, 1], 32)
            .shared(1 << 20)
            .buffer(&out),
    );
    assert!(message.contains("more shared memory"), "{message}");
}
