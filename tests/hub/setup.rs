//! A model, its card, and the fake hub and package index that serve it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use flambeau::hub::{Card, Fetched, Hub, HubConfig, HubError, Progress, ServedBy};
use sha2::{Digest, Sha256};

use crate::server::{Reply, Request, Server};

pub const NOWHERE: &str = "http://127.0.0.1:9";

pub fn payload() -> Vec<u8> {
    let next = |x: &mut u32| {
        *x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((*x >> 24) as u8)
    };
    std::iter::repeat_n((), 300_000)
        .scan(7, |x, ()| next(x))
        .collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

pub fn wheel_of(member: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated);
    zip.start_file("pkg/tiny.gguf", options).unwrap();
    zip.write_all(member).unwrap();
    zip.finish().unwrap().into_inner()
}

pub fn card(payload: &[u8], wheel: &[u8]) -> Card {
    let text = format!(
        r#"
        id = "tiny"
        title = "A tiny model"
        licence = "Apache-2.0"
        upstream = "org/tiny"
        task = "generate"
        context_length = 8
        chat_template = "none"
        memory = {{}}
        [[file]]
        name = "tiny.gguf"
        size = {}
        sha256 = "{}"
        [[source]]
        kind = "hf"
        repo = "org/tiny"
        [[source]]
        kind = "pypi"
        package = "pkg"
        version = "1.0"
        wheel_size = {}
        wheel_sha256 = "{}"
        path = "pkg"
        "#,
        payload.len(),
        sha256(payload),
        wheel.len(),
        sha256(wheel),
    );
    Card::parse(&text).unwrap()
}

pub fn index(wheel: &[u8]) -> Reply {
    let files = serde_json::json!([
        {"filename": "pkg-0.9-py3-none-any.whl", "url": "../../old.whl", "hashes": {}},
        {"filename": "pkg-1.0-py3-none-any.whl", "url": "../../f/pkg.whl", "hashes": {"sha256": sha256(wheel)}},
    ]);
    let body = serde_json::json!({"meta": {"api-version": "1.0"}, "name": "pkg", "files": files});
    Reply::body(body.to_string()).with("content-type", "application/vnd.pypi.simple.v1+json")
}

/// A package index whose wheel is answered by `wheel_reply`.
pub fn pypi(
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
pub fn hf(bytes: Vec<u8>, files: &'static [&'static str]) -> Server {
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
pub struct Notes(Arc<Mutex<Vec<String>>>, pub Option<mpsc::Sender<()>>);

impl Notes {
    pub fn contains(&self, text: &str) -> bool {
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

pub struct Setup {
    pub dir: tempfile::TempDir,
    pub config: HubConfig,
    pub payload: Vec<u8>,
    pub wheel: Vec<u8>,
    pub card: Card,
    pub notes: Notes,
}

impl Setup {
    pub fn new() -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let config = HubConfig {
            cache_dir: dir.path().join("cache"),
            hf_cache_dir: dir.path().join("hf/hub"),
            hf_endpoint: NOWHERE.to_owned(),
            hf_token: None,
            hf_token_path: dir.path().join("hf/token"),
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

    pub fn with_pypi(mut self, server: &Server) -> Setup {
        self.config.pypi_index = format!("{}/simple", server.url);
        self
    }

    pub fn with_hf(mut self, server: &Server) -> Setup {
        self.config.hf_endpoint = server.url.clone();
        self
    }

    pub fn hub(&self) -> Hub {
        Hub::new(self.config.clone())
    }

    pub fn fetch(&self) -> Result<Fetched, HubError> {
        self.hub().fetch(&self.card, &mut self.notes.clone())
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("cache/models/tiny/tiny.gguf")
    }

    pub fn assert_served(&self, fetched: &Fetched, by: ServedBy) {
        assert_eq!(fetched.served_by, by, "{:?}", self.notes.0.lock().unwrap());
        assert!(std::fs::read(&fetched.path).unwrap() == self.payload);
    }
}

pub fn suffixes(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
