//! The house rules that a compiler does not keep: layering, where unsafe may stand, file sizes, nothing left open.
#![allow(clippy::unwrap_used)] // A test may panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Which layers each layer may name (DESIGN: dependencies run one way). `cli` is the composition root.
const LAYERS: &[(&str, &[&str])] = &[
    ("constraint", &[]),
    ("request", &["constraint"]),
    ("telemetry", &[]),
    ("http", &[]),
    ("text", &["constraint"]),
    ("remote", &["http", "text"]),
    ("hub", &[]),
    ("store", &[]),
    ("config", &[]),
    ("kv", &[]),
    ("scheduler", &["kv", "request", "constraint"]),
    (
        "engine",
        &["scheduler", "kv", "request", "constraint", "telemetry"],
    ),
    ("backend", &[]),
    ("ops", &["backend"]),
    ("sample", &["ops", "backend", "request", "constraint"]),
    (
        "model",
        &[
            "sample",
            "ops",
            "backend",
            "engine",
            "scheduler",
            "request",
            "constraint",
        ],
    ),
    ("gateway", &["request", "store"]),
    (
        "server",
        &[
            "engine",
            "gateway",
            "remote",
            "store",
            "text",
            "request",
            "constraint",
            "telemetry",
        ],
    ),
    (
        "cli",
        &[
            "backend",
            "config",
            "constraint",
            "engine",
            "gateway",
            "http",
            "hub",
            "kv",
            "model",
            "ops",
            "remote",
            "request",
            "sample",
            "scheduler",
            "server",
            "store",
            "telemetry",
            "text",
        ],
    ),
];

/// Crates that only some layers may name.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["server"]),
    ("candle_core", &["ops", "sample", "model"]),
    ("cudarc", &["backend"]),
    ("nvml_wrapper", &["backend"]),
    ("tokio", &["engine", "http", "remote", "server", "cli"]),
    ("hyper", &["http", "server"]),
    ("tokio_rustls", &["http"]),
    ("rayon", &["model"]),
    ("clap", &["cli", "config"]),
    ("hf_hub", &["hub"]),
    ("tokenizers", &["text"]),
    ("whatlang", &["gateway"]),
    ("rusqlite", &["store"]),
    ("ring", &["http", "store"]),
];

/// The files where `unsafe` stands: the device, the kernels over it, and the memory map.
const UNSAFE: &[&str] = &[
    "src/backend/cpu/avx2.rs",
    "src/backend/cpu/avx2_dot.rs",
    "src/backend/cpu/avx512_dot.rs",
    "src/backend/cpu/disjoint.rs",
    "src/backend/cpu/memory.rs",
    "src/backend/cpu/mod.rs",
    "src/backend/cpu/pool.rs",
    "src/backend/cpu/self_test.rs",
    "src/backend/cuda/beside.rs",
    "src/backend/cuda/blas.rs",
    "src/backend/cuda/context.rs",
    "src/backend/cuda/graph.rs",
    "src/backend/cuda/kernels.rs",
    "src/backend/cuda/memory.rs",
    "src/backend/cuda/pinned.rs",
    "src/model/file_map.rs",
    "src/ops/attention/mod.rs",
    "src/ops/attention/task.rs",
    "src/ops/linear/matrix.rs",
    "src/ops/linear/mod.rs",
    "src/ops/rope_store/mod.rs",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

/// Every source file under src/: its path from the root, and its text without comments.
fn sources() -> BTreeMap<String, String> {
    let mut found = Vec::new();
    files_below(&root().join("src"), "rs", &mut found);
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code: Vec<&str> = text
                .lines()
                .map(|line| line.split("//").next().unwrap())
                .collect();
            (
                path.strip_prefix(root())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
                code.join("\n"),
            )
        })
        .collect()
}

/// `src/server/answer/sse.rs` is of the layer `server`; `src/lib.rs` and `src/main.rs` of none.
fn layer(path: &str) -> Option<&str> {
    let name = path.strip_prefix("src/")?.split(['/', '.']).next()?;
    (name != "lib" && name != "main").then_some(name)
}

/// The names that follow `prefix` in `code`, where it starts a path.
fn names_after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let name = code[at + prefix.len()..]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()?;
        (!before.is_alphanumeric() && before != '_' && before != ':').then_some(name)
    })
}

#[test]
fn layers_only_name_the_layers_below_them() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let Some(layer) = layer(&path) else { continue };
        let rule = LAYERS.iter().find(|(name, _)| *name == layer);
        let (_, allowed) = rule
            .unwrap_or_else(|| panic!("{path}: the layer {layer} has no rule in tests/tidy.rs"));
        for name in names_after(&code, "crate::") {
            let is_layer = LAYERS.iter().any(|(known, _)| *known == name);
            if is_layer && name != layer && !allowed.contains(&name) {
                wrong.push(format!("{path} names crate::{name}"));
            }
            assert!(
                !name.is_empty(),
                "{path}: braces after crate:: hide what is named; write one use a layer"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_stay_in_their_layers() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let Some(layer) = layer(&path) else { continue };
        for (name, allowed) in CRATES {
            if !allowed.contains(&layer)
                && names_after(&code, &format!("{name}::")).next().is_some()
            {
                wrong.push(format!("{path} names {name}"));
            }
        }
        if (layer == "scheduler" || layer == "kv")
            && (code.contains("Instant::now") || code.contains("SystemTime"))
        {
            wrong.push(format!("{path} reads a clock"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_stands_just_where_listed_and_says_why() {
    let mut wrong = Vec::new();
    for (path, code) in sources() {
        let is_unsafe = code
            .lines()
            .any(|line| line.contains("unsafe ") || line.trim_end().ends_with("unsafe"));
        if is_unsafe != UNSAFE.contains(&path.as_str()) {
            wrong.push(format!(
                "{path}: UNSAFE must name the files that have it, and only those"
            ));
        }
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let blocks = code.matches("unsafe {").count() + code.matches("unsafe impl").count();
        if blocks > 0 && text.matches("SAFETY:").count() == 0 {
            wrong.push(format!("{path}: no SAFETY comment"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn files_are_short() {
    let mut lengths: Vec<(usize, String)> = sources()
        .into_keys()
        .map(|path| {
            (
                fs::read_to_string(root().join(&path))
                    .unwrap()
                    .lines()
                    .count(),
                path,
            )
        })
        .collect();
    lengths.sort();
    let median = lengths[lengths.len() / 2].0;
    let ninetieth = &lengths[lengths.len() * 9 / 10];
    assert!(median <= 150, "the median file has {median} lines");
    assert!(ninetieth.0 <= 400, "the 90th percentile is {ninetieth:?}");
    for (length, path) in lengths.iter().filter(|(length, _)| *length > 400) {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let doc: String = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        assert!(
            doc.to_lowercase().contains("long"),
            "{path} has {length} lines and its module doc does not say why it is long"
        );
    }
}

#[test]
fn nothing_is_left_open() {
    let mut found = Vec::new();
    for folder in ["src", "tests", "benches"] {
        files_below(&root().join(folder), "rs", &mut found);
    }
    let marks = ["todo", "unimplemented", "dbg"].map(|name| format!("{name}!("));
    let words =
        ["FIX", "XX"].map(|half| format!("{half}{}", if half == "FIX" { "ME" } else { "X" }));
    let ignore = format!("#[{}", "ignore");
    for path in found {
        let text = fs::read_to_string(&path).unwrap();
        for mark in marks.iter().chain(&words).chain([&ignore]) {
            assert!(!text.contains(mark.as_str()), "{}: {mark}", path.display());
        }
    }
}

#[test]
fn cuda_is_switched_on_by_its_backend_alone() {
    for (path, code) in sources() {
        assert!(
            !code.contains("feature = \"cuda") || path.starts_with("src/backend/cuda/"),
            "{path}"
        );
    }
}
