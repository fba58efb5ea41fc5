//! Repositories of config.json and safetensors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flambeau::hub::{HubError, ModelSource, ServedBy};
use flambeau::model::Checkpoint;

use crate::server::{Reply, Request, Server};
use crate::setup::{NOWHERE, Setup, sha256};

/// A model in two shards.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hf/llama3")
}

/// What the repository has beside that.
const OTHERS: [&str; 4] = [
    "README.md",
    "consolidated.safetensors",
    "onnx/model.onnx",
    "tokenizer.json",
];

/// A hub that has `org/tiny` at `main` and `v1`, by the commits `commit` gives; `before` may answer first.
pub fn hub(
    commit: impl Fn(&str) -> &'static str + Send + Sync + 'static,
    before: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| {
        if let Some(reply) = before(request) {
            return reply;
        }
        if let Some(revision) = request.path.strip_prefix("/api/models/org/tiny/revision/") {
            let fixture = std::fs::read_dir(fixture()).unwrap();
            let files = fixture.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let files = files.chain(OTHERS.map(str::to_owned));
            let siblings: Vec<_> = files
                .map(|file| serde_json::json!({ "rfilename": file }))
                .collect();
            let sha = commit(revision);
            return Reply::body(serde_json::json!({"siblings": siblings, "sha": sha}).to_string());
        }
        let asked = request.path.strip_prefix("/org/tiny/resolve/");
        let Some((revision, file)) = asked.and_then(|asked| asked.split_once('/')) else {
            return Reply::status(404);
        };
        let bytes = match OTHERS.contains(&file) {
            true => file.as_bytes().to_vec(),
            false => match std::fs::read(fixture().join(file)) {
                Ok(bytes) => bytes,
                Err(_) => return Reply::status(404),
            },
        };
        Reply::file(&bytes, request)
            .with("x-repo-commit", commit(revision))
            .with("etag", &format!("\"{}\"", sha256(&bytes)))
    })
}

pub fn resolve(setup: &Setup, spec: &str) -> Result<ModelSource, HubError> {
    setup.hub().resolve(spec, &mut setup.notes.clone())
}

#[test]
fn a_folder_is_fetched_with_what_it_needs_and_stays_usable_without_network() {
    let server = hub(|_| "c0ffee", |_| None);
    let mut setup = Setup::new().with_hf(&server);
    let model = resolve(&setup, "org/tiny").unwrap();
    assert_eq!(
        (model.name.as_str(), model.served_by),
        ("org/tiny", ServedBy::Hub)
    );
    assert!(model.path.ends_with("models--org--tiny/snapshots/c0ffee"));
    Checkpoint::open(&model.path).unwrap();
    assert!(model.path.join("tokenizer.json").is_file());
    for unwanted in ["README.md", "consolidated.safetensors", "onnx/model.onnx"] {
        assert!(server.requests(unwanted).is_empty(), "{unwanted}");
    }
    // Once more: only the list is asked for.
    let num_requests = server.requests("").len();
    assert_eq!(
        resolve(&setup, "org/tiny").unwrap().served_by,
        ServedBy::HubCache
    );
    assert_eq!(server.requests("").len(), num_requests + 1);
    setup.config.hf_endpoint = NOWHERE.to_owned();
    assert_eq!(resolve(&setup, "org/tiny").unwrap().path, model.path);
    setup.config.offline = true;
    assert_eq!(resolve(&setup, "org/tiny").unwrap().path, model.path);
}

#[test]
fn a_revision_is_asked_for_and_kept_apart() {
    let commit = |revision: &str| if revision == "v1" { "01d" } else { "c0ffee" };
    let server = hub(commit, |_| None);
    let setup = Setup::new().with_hf(&server);
    let model = resolve(&setup, "org/tiny@v1").unwrap();
    assert!(model.path.ends_with("snapshots/01d"));
    assert!(server.requests("/resolve/main/config.json").is_empty());
    let main = resolve(&setup, "org/tiny").unwrap();
    assert_eq!(main.served_by, ServedBy::Hub);
    assert!(main.path.ends_with("snapshots/c0ffee"));
}

#[test]
fn what_was_fetched_before_a_failure_is_not_fetched_again_and_half_a_model_is_no_model() {
    let is_broken = Arc::new(AtomicBool::new(true));
    let broken = Arc::clone(&is_broken);
    let server = hub(
        |_| "c0ffee",
        move |request| {
            let is_last = request.path.ends_with("model-00002-of-00002.safetensors");
            (is_last && broken.load(Ordering::SeqCst)).then(|| Reply::status(500))
        },
    );
    let mut setup = Setup::new().with_hf(&server);
    let error = resolve(&setup, "org/tiny").unwrap_err().to_string();
    assert!(
        error.contains("org/tiny")
            && error.contains("model-00002-of-00002.safetensors answered 500"),
        "{error}"
    );
    setup.config.offline = true;
    let error = resolve(&setup, "org/tiny").unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    setup.config.offline = false;
    is_broken.store(false, Ordering::SeqCst);
    let before = server.requests("model-00001-of-00002.safetensors").len();
    let model = resolve(&setup, "org/tiny").unwrap();
    Checkpoint::open(&model.path).unwrap();
    let after = server.requests("model-00001-of-00002.safetensors").len();
    assert_eq!(before, after);
}

#[test]
fn files_of_two_commits_are_no_model() {
    let has_changed = Arc::new(AtomicBool::new(false));
    let changed = Arc::clone(&has_changed);
    let server = hub(
        move |_| match changed.load(Ordering::SeqCst) {
            true => "0ddba11",
            false => "c0ffee",
        },
        move |request| {
            if request.path.ends_with("model-00002-of-00002.safetensors") {
                has_changed.store(true, Ordering::SeqCst);
            }
            None
        },
    );
    let setup = Setup::new().with_hf(&server);
    let error = resolve(&setup, "org/tiny").unwrap_err().to_string();
    assert!(error.contains("changed while it was fetched"), "{error}");
    // The next try finds the new one.
    let model = resolve(&setup, "org/tiny").unwrap();
    assert!(model.path.ends_with("snapshots/0ddba11"));
    Checkpoint::open(&model.path).unwrap();
}

#[test]
fn an_index_that_names_files_elsewhere_is_refused() {
    let server = hub(
        |_| "c0ffee",
        |request| {
            let index = br#"{"weight_map": {"x": "../../../escape.safetensors"}}"#;
            let is_index = request.path.ends_with("model.safetensors.index.json");
            is_index.then(|| {
                Reply::file(index, request)
                    .with("x-repo-commit", "c0ffee")
                    .with("etag", &format!("\"{}\"", sha256(index)))
            })
        },
    );
    let setup = Setup::new().with_hf(&server);
    let error = resolve(&setup, "org/tiny").unwrap_err().to_string();
    assert!(error.contains("../escape.safetensors"), "{error}");
    assert!(server.requests("escape.safetensors").is_empty());
}

#[test]
fn a_gated_repository_says_what_to_do() {
    let server = hub(|_| "c0ffee", |_| Some(Reply::status(403)));
    let setup = Setup::new().with_hf(&server);
    let error = resolve(&setup, "org/tiny").unwrap_err().to_string();
    assert!(error.contains("HF_TOKEN"), "{error}");
}
