//! The program's side of a card, over the shim's driver: memory, launches, copies that the host does not wait for, graphs, failures.
//!
//! The card of a process is one, and a failure of it is every later call's: tests that make it fail run in a process of their own.

use std::process::Command;

use flambeau::backend::cuda::{Beside, Cuda, CudaError, Readback, Shelf, Slice, Staging};

use super::shim_card::{be_hasty, shim_card};

fn floats(slice: &Slice) -> Vec<f32> {
    let bytes = slice.read().expect("the card works");
    bytes
        .as_chunks()
        .0
        .iter()
        .map(|x| f32::from_le_bytes(*x))
        .collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// `x = cap · tanh(x / cap)`.
fn softcap(cuda: &Cuda, x: &Slice, cap: f32) -> Result<(), CudaError> {
    let len = x.num_bytes() / 4;
    cuda.kernel("softcap", "softcap", [len.div_ceil(1024), 1, 1], 256)
        .slice(x)
        .long(len)
        .float(cap)
        .run()
}

fn capped(x: f32, times: usize) -> f32 {
    (0..times).fold(x, |x, _| (f64::from(x) / 5.0).tanh() as f32 * 5.0)
}

#[test]
fn shim_driver_copies_beside_a_step_after_the_one_before_it_and_before_the_next()
-> Result<(), CudaError> {
    let cuda = shim_card();
    let slice = |value: f32| cuda.upload(&bytes(&[value; 8]));
    for is_hasty in [true, false] {
        be_hasty(is_hasty);
        let (first, second) = (slice(1.0)?, slice(2.0)?);
        let (saved, running) = (slice(0.0)?, slice(0.0)?);
        let (shelf, mut beside) = (Shelf::new(&cuda, 64)?, Beside::new(&cuda)?);
        beside.mark()?;
        // One step writes what is saved beside the next, which writes something else.
        saved.copy_from(&first)?;
        beside.mark()?;
        running.copy_from(&second)?;
        beside.mark()?;
        beside.begin()?;
        shelf.put(&saved, 0, Some(&beside))?;
        shelf.put(&running, 32, Some(&beside))?;
        // It comes back before the step after that reads it.
        let (loaded, read, early) = (slice(0.0)?, slice(0.0)?, slice(0.0)?);
        shelf.get(0, &loaded, Some(&beside))?;
        beside.join()?;
        read.copy_from(&loaded)?;
        shelf.get(32, &early, None)?;
        assert_eq!(floats(&read), [1.0; 8]);
        // What runs beside is not waited for; it may be done or not.
        assert_eq!(floats(&early), [if is_hasty { 0.0 } else { 2.0 }; 8]);
    }
    be_hasty(false);
    Ok(())
}

#[test]
fn shim_driver_launches_copies_and_reads_in_the_order_that_was_asked_for() {
    let cuda = shim_card();
    let (x, y) = (cuda.alloc(64).expect("room"), cuda.alloc(64).expect("room"));
    let mut staging = Staging::new(&cuda, 64).expect("room");
    let mut readback = Readback::new(&cuda, 64).expect("room");
    staging.send(&bytes(&[3.0; 16]), &x).expect("it fits");
    softcap(&cuda, &x, 5.0).expect("a launch");
    y.copy_from(&x).expect("a copy");
    readback.fetch(&y).expect("it fits");
    // What is sent next does not change what was under way.
    staging.send(&bytes(&[4.0; 16]), &x).expect("it fits");
    x.narrow(0, 8).expect("a part").fill_zero().expect("zeros");
    let got = readback.wait().expect("the card works");
    for got in got.as_chunks().0 {
        assert!((f32::from_le_bytes(*got) - capped(3.0, 1)).abs() < 1e-5);
    }
    assert_eq!(floats(&x)[..3], [0.0, 0.0, 4.0]);
}

#[test]
fn shim_driver_replays_what_was_recorded_and_does_nothing_while_it_is_recorded() {
    let cuda = shim_card();
    let x = cuda.upload(&bytes(&[2.0; 8])).expect("room");
    let graph = cuda.record(|| {
        softcap(&cuda, &x, 5.0)?;
        softcap(&cuda, &x, 5.0)
    });
    let graph = graph.expect("launches can be recorded");
    assert_eq!(floats(&x), [2.0; 8]);
    for times in 1..3 {
        graph.launch().expect("a replay");
        let want = capped(2.0, 2 * times);
        assert!(floats(&x).iter().all(|x| (x - want).abs() < 1e-5));
    }
    let mut uploads = Vec::new();
    // Memory of the host has no place in it.
    let mut staging = Staging::new(&cuda, 32).expect("room");
    let recorded = cuda.record(|| staging.send(&bytes(&[1.0; 8]), &x));
    let error = recorded.err().expect("refused").to_string();
    assert!(error.contains("launches alone"), "{error}");
    // What another thread uploads and frees meanwhile has none either, and is there at once.
    let recorded = cuda.record(|| {
        let other = cuda.clone();
        let uploaded = std::thread::spawn(move || {
            drop(other.upload(&[1; 64]).expect("room"));
            other.upload(&bytes(&[3.0; 8])).expect("room")
        });
        let uploaded = uploaded.join().expect("no panic");
        softcap(&cuda, &uploaded, 5.0).map(|()| uploads.push(uploaded))
    });
    let recorded = recorded.expect("launches can be recorded");
    let uploaded = uploads.pop().expect("it was uploaded");
    assert_eq!(floats(&uploaded), [3.0; 8]);
    for times in 1..3 {
        recorded.launch().expect("a replay");
        let want = capped(3.0, times);
        assert!(floats(&uploaded).iter().all(|x| (x - want).abs() < 1e-5));
    }
    // Nor has another card, or the same one opened apart.
    let apart = shim_card();
    assert!(
        staging
            .send(&[0; 4], &apart.alloc(8).expect("room"))
            .is_err()
    );
    // What waits, or makes room, cannot be part of it; afterwards the card works as before.
    for does_read in [true, false] {
        let recorded = cuda.record(|| match does_read {
            true => x.read().map(|_| ()),
            false => cuda.alloc(8).map(|_| ()),
        });
        let error = recorded.err().expect("refused").to_string();
        assert!(error.contains("CAPTURE_UNSUPPORTED"), "{error}");
        graph.launch().expect("a replay");
        cuda.synchronise().expect("the card works");
    }
}

#[test]
fn shim_driver_has_room_for_so_much_and_says_what_is_left() {
    let cuda = shim_card();
    let (_, total) = cuda.memory().expect("the card works");
    let error = cuda.alloc(total + 1).expect_err("too much");
    assert!(
        matches!(error, CudaError::OutOfMemory { num_bytes, .. } if num_bytes == total + 1),
        "{error}"
    );
    let slice = cuda.alloc(16).expect("room");
    assert!(slice.narrow(8, 9).is_err());
    assert!(slice.narrow(usize::MAX, 2).is_err());
    assert!(slice.write(&[0; 17]).is_err());
    let mut staging = Staging::new(&cuda, 8).expect("room");
    assert!(staging.send(&[0; 9], &slice).is_err());
    cuda.synchronise().expect("nothing has happened");
}

#[test]
fn shim_driver_refuses_launches_that_no_card_does_before_they_reach_it() {
    let cuda = shim_card();
    let error = |stem, name: &str, grid| {
        let launch = cuda.kernel(stem, name, grid, 256);
        launch.run().expect_err("refused").to_string()
    };
    assert!(error("softcap", "softcap", [1, 70_000, 1]).contains("too large"));
    assert!(error("softcap", "nothing", [1, 1, 1]).contains("nothing"));
    assert!(error("nothing", "softcap", [1, 1, 1]).contains("no kernels/nothing.cu"));
    // A kernel of another file.
    assert!(error("softcap", "sample", [1, 1, 1]).contains("NOT_FOUND"));
    assert!(Cuda::open(1).is_err_and(|error| error.to_string().contains("knows 1 cards")));
    let nothing = cuda.kernel("softcap", "softcap", [0, 1, 1], 256);
    nothing.run().expect("no blocks are no work");
    cuda.synchronise().expect("nothing has happened");
}

/// Says which fault a process is to plant.
const FAULT: &str = "FLAMBEAU_TEST_FAULT";

#[test]
fn shim_driver_finds_arguments_and_addresses_that_are_not_the_kernels() {
    match std::env::var(FAULT).as_deref() {
        Ok("arguments") => return wrong_arguments(),
        Ok(_) => return wrong_addresses(),
        Err(_) => {}
    }
    let name = "driver::shim_driver_finds_arguments_and_addresses_that_are_not_the_kernels";
    for fault in ["arguments", "addresses"] {
        let program = std::env::current_exe().expect("a program");
        let mut process = Command::new(program);
        process.args(["--exact", name]).env(FAULT, fault);
        let done = process.output().expect("it starts");
        let said = String::from_utf8_lossy(&done.stdout);
        assert!(done.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// The card's first failure is told by whatever comes next, until it is given up and opened again.
fn expect_failure(cuda: Cuda, part: &str) {
    for _ in 0..2 {
        let error = cuda.synchronise().expect_err("the card has failed");
        assert!(error.to_string().contains(part), "{error}");
    }
    drop(cuda);
    let cuda = shim_card();
    softcap(&cuda, &cuda.upload(&[0; 32]).expect("room"), 1.0).expect("a launch");
    cuda.synchronise().expect("a new context works");
}

fn wrong_arguments() {
    let cuda = shim_card();
    let x = cuda.alloc(64).expect("room");
    let launch = cuda.kernel("softcap", "softcap", [1, 1, 1], 256);
    // An int in the place of an int64_t.
    let error = launch.slice(&x).float(1.0).run().expect_err("refused");
    assert!(error.to_string().contains("bytes of arguments"), "{error}");
    drop(x);
    expect_failure(cuda, "bytes of arguments");
}

fn wrong_addresses() {
    let cuda = shim_card();
    let x = cuda.alloc(64).expect("room");
    let launch = cuda.kernel("softcap", "softcap", [1, 1, 1], 256);
    let launch = launch.slice(&x).long(20).float(1.0);
    launch.run().expect("the launch itself is as it should be");
    drop(x);
    expect_failure(cuda, "outside of memory of the card");
}
