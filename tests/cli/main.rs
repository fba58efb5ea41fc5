//! The real binary with the real default model: what it prints, serves, and does on a signal.
#![allow(clippy::unwrap_used)] // A test may panic.

mod cache;
#[cfg(feature = "kernel-shim")]
mod card;
#[path = "../common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
mod on_demand;
#[cfg(feature = "kernel-shim")]
#[path = "../rng/mod.rs"]
mod rng;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use flambeau::config::ByteSize;

fn flambeau() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flambeau"));
    // The settings of whoever runs the tests are not the tests' settings.
    for (name, _) in std::env::vars()
        .filter(|(name, _)| name.starts_with("FLAMBEAU_") && name != "FLAMBEAU_CACHE")
    {
        command.env_remove(name);
    }
    command
}

fn help(arguments: &[&str]) -> String {
    let output = flambeau()
        .args(arguments)
        .arg("--help")
        .env("COLUMNS", "100")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_a_manual() {
    insta::assert_snapshot!("help", help(&[]));
    insta::assert_snapshot!("help_serve", help(&["serve"]));
    insta::assert_snapshot!("help_bench_serve", help(&["bench", "serve"]));
}

/// A server of the default model on a free port.
struct Server {
    child: Child,
    address: String,
    stderr: mpsc::Receiver<String>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with_cache("128MiB", arguments)
    }

    fn start_with_cache(kv_cache_memory: &str, arguments: &[&str]) -> Self {
        let mut command = flambeau();
        command.args(["serve", "--port", "0", "--kv-cache-memory", kv_cache_memory]);
        command.args(arguments);
        Self::start_by(command)
    }

    fn start_by(mut command: Command) -> Self {
        common::default_model();
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, stderr) = mpsc::channel();
        let reader = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            reader
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        let mut server = Self {
            child,
            address: String::new(),
            stderr,
        };
        let line = server.wait_for("serving ");
        let url = line.split("http://").nth(1).unwrap();
        server.address = url.split(';').next().unwrap().to_owned();
        server
    }

    /// The next line of stderr that has `text` in it.
    fn wait_for(&self, text: &str) -> String {
        self.stderr
            .iter()
            .find(|line| line.contains(text))
            .unwrap_or_else(|| panic!("stderr ended without {text:?}"))
    }

    /// Sends a request; the reader has all that comes until the connection closes.
    fn send(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
        );
        stream
            .write_all(format!("{head}{body}").as_bytes())
            .unwrap();
        BufReader::new(stream)
    }

    fn answer(&self, method: &str, path: &str, body: &str) -> String {
        let mut answer = String::new();
        self.send(method, path, body)
            .read_to_string(&mut answer)
            .unwrap();
        answer
    }

    fn terminate(&self) {
        let killed = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
    }

    fn exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that a failed test leaves behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chat(max_tokens: usize) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"What is the capital of France?"}}],"stream":true,"temperature":0,"ignore_eos":true,"max_tokens":{max_tokens}}}"#
    )
}

/// Reads until a line contains `text`.
fn read_until(reader: &mut impl BufRead, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(
            reader.read_line(&mut line).unwrap() > 0,
            "the stream ended before {text:?}"
        );
    }
}

#[test]
fn on_sigterm_open_streams_finish_new_work_is_refused_and_the_exit_is_clean() {
    let server = Server::start(&[]);
    let mut streams: Vec<_> = (0..4)
        .map(|_| server.send("POST", "/v1/chat/completions", &chat(150)))
        .collect();
    for stream in &mut streams {
        read_until(stream, "\"content\"");
    }
    server.terminate();
    server.wait_for("draining");
    let refused = server.answer("POST", "/v1/chat/completions", &chat(1));
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(
        server
            .answer("GET", "/ready", "")
            .starts_with("HTTP/1.1 503")
    );
    assert!(
        server
            .answer("GET", "/health", "")
            .starts_with("HTTP/1.1 200")
    );
    for stream in &mut streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
        assert!(
            rest.contains("\"finish_reason\":\"length\"") && rest.contains("[DONE]"),
            "{rest}"
        );
    }
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn every_request_has_one_log_line_without_its_content() {
    let mut server = Server::start(&[]);
    let mut stdout = server.child.stdout.take().unwrap();
    let answered = server.answer("POST", "/v1/chat/completions", &chat(3));
    assert!(answered.contains("[DONE]"), "{answered}");
    let bad = r#"{"messages":[],"user":"somebody"}"#;
    let refused = server.answer("POST", "/v1/chat/completions", bad);
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
    server.answer("GET", "/metrics", "");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));

    let mut log = String::new();
    stdout.read_to_string(&mut log).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{log}");
    let (served, refused) = (&lines[0], &lines[1]);
    assert_eq!(served["status"], 200);
    assert_eq!(
        (&served["completion_tokens"], &served["finish_reason"]),
        (&3.into(), &"length".into())
    );
    assert!(served["ttft_ms"].as_f64() <= served["latency_ms"].as_f64());
    assert!(served["queue_ms"].is_number() && served["tenant"] == "default");
    assert_eq!(
        (&refused["status"], &refused["completion_tokens"]),
        (&400.into(), &0.into())
    );
    assert_ne!(served["request_id"], refused["request_id"]);
    assert!(!log.contains("capital") && !log.contains("France"));
}

#[test]
fn when_the_shutdown_timeout_is_over_open_streams_are_told_and_the_exit_is_clean() {
    let server = Server::start(&["--shutdown-timeout", "0"]);
    let mut stream = server.send("POST", "/v1/chat/completions", &chat(4000));
    read_until(&mut stream, "\"content\"");
    server.terminate();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(
        rest.contains("the server shut down") && rest.contains("[DONE]"),
        "{rest}"
    );
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn bench_serve_measures_the_server_and_finds_no_errors() {
    let server = Server::start(&[]);
    let output = flambeau()
        .args([
            "bench",
            "serve",
            "--url",
            &format!("http://{}", server.address),
            "--concurrency",
            "4",
            "--num-prompts",
            "8",
        ])
        .args([
            "--input-len",
            "32",
            "--output-len",
            "16",
            "--ignore-eos",
            "--json",
            "-",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["output_tokens"], 8 * 16, "{report:#}");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn settings_that_contradict_each_other_are_refused_by_name() {
    let error = |arguments: &[&str]| {
        let output = flambeau().arg("serve").args(arguments).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(error(&["--host", "0.0.0.0"]).contains("host: "));
    assert!(error(&["--model", "smolm2-135m-instruct"]).contains("smollm2-135m-instruct"));
    assert!(error(&["--dry-run", "--max-model-len", "9000"]).contains("max_model_len: "));
    assert!(
        error(&[
            "--dry-run",
            "--kv-cache-memory",
            "1MiB",
            "--max-model-len",
            "4000"
        ])
        .contains("kv_cache_memory")
    );
    assert!(error(&["--config", "no-such-file.toml"]).contains("no-such-file.toml"));
    let off = ["--dry-run", "--batch-invariant", "off"];
    assert!(error(&[&off[..], &["--device", "cpu"]].concat()).contains("batch_invariant: "));
    // So it is where no card is found.
    assert!(error(&off).contains("batch_invariant: "));
    let on_cpu = ["--dry-run", "--device", "cpu", "--draft-model", "fallback"];
    let two = ["--fallback-model", "smollm2-135m-instruct"];
    assert!(error(&on_cpu).contains("draft_model: "));
    assert!(error(&[&on_cpu[..], &two].concat()).contains("draft_model: is for a model on a card"));
}

#[test]
fn a_dry_run_prints_the_memory_plan_and_serves_nothing() {
    common::default_model();
    // 30 layers, 3 key-value heads of 64: 2 bytes a value, or one and a scale of 4 bytes a head.
    for (dtype, each) in [
        ("f16", "22.5KiB a token in f16"),
        ("bf16", "22.5KiB a token in bf16"),
        ("int8", "12.0KiB a token in int8"),
    ] {
        let output = flambeau()
            .args(["serve", "--dry-run", "--kv-cache-memory", "512MiB"])
            .args(["--kv-cache-dtype", dtype])
            .output()
            .unwrap();
        let plan = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success()
                && plan.contains("KV cache")
                && plan.contains(each)
                && plan.contains("max_model_len  8192 tokens"),
            "{plan}"
        );
    }
}

/// The bytes in `field` of /proc/PID/status.
#[cfg(target_os = "linux")]
fn memory(process: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_within_weights_cache_and_a_little() {
    const CACHE: u64 = 16 << 20;
    const LITTLE: u64 = 150_000_000;
    common::default_model();
    let plan = flambeau().args(["serve", "--dry-run"]).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    let weights = plan.lines().find_map(|line| line.strip_prefix("weights"));
    let ByteSize(weights) = weights.unwrap().parse().unwrap();

    let server = Server::start_with_cache("16MiB", &[]);
    let process = server.child.id();
    let (peak, bound) = (memory(process, "VmHWM:"), weights + CACHE + LITTLE);
    assert!(peak <= bound, "{peak} bytes while loading, at most {bound}");
    for _ in 0..25 {
        // Four at a time.
        let streams = [(); 4].map(|()| server.send("POST", "/v1/chat/completions", &chat(4)));
        for mut stream in streams {
            read_until(&mut stream, "[DONE]");
        }
    }
    let resident = memory(process, "VmRSS:");
    assert!(
        resident <= bound,
        "{resident} bytes after 100 requests, at most {bound}"
    );
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn two_models_stay_within_the_plan_of_both() {
    const LITTLE: u64 = 2 * 150_000_000;
    let both = [
        "--fallback-model",
        "smollm2-135m-instruct",
        "--embedding-model",
        "none",
    ];
    common::default_model();
    let mut plan = flambeau();
    plan.args(["serve", "--dry-run", "--kv-cache-memory", "64MiB"]);
    let plan = plan.args(both).output().unwrap();
    let plan = String::from_utf8(plan.stdout).unwrap();
    let together = plan.lines().find_map(|line| line.strip_prefix("together"));
    let together = together.unwrap().split(" of ").next().unwrap();
    let ByteSize(together) = together.trim().parse().unwrap();

    let server = Server::start_with_cache("64MiB", &both);
    let process = server.child.id();
    for _ in 0..20 {
        let streams = ["smollm2-135m-instruct", "fallback"].map(|model| {
            let body = chat(4).replacen('{', &format!(r#"{{"model": "{model}", "#), 1);
            server.send("POST", "/v1/chat/completions", &body)
        });
        for mut stream in streams {
            read_until(&mut stream, "[DONE]");
        }
    }
    let (peak, bound) = (memory(process, "VmHWM:"), together + LITTLE);
    assert!(peak <= bound, "{peak} bytes, at most {bound}");
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn only_the_pool_computes_and_it_has_the_threads_asked_for() {
    let server = Server::start(&["--threads", "3"]);
    let answer = server.answer("POST", "/v1/chat/completions", &chat(8));
    assert!(answer.contains("[DONE]"), "{answer}");
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
    let mut names: Vec<String> = tasks
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
        .map(|name| name.trim().to_owned())
        // The runtime that serves HTTP, and who computes masks once a request has a grammar.
        .filter(|name| !name.starts_with("tokio-") && name != "masks")
        .collect();
    names.sort();
    // The engine's thread is the third that computes. A pool of a library would show here, as its own name or as one
    // more thread of the process's.
    assert_eq!(
        names,
        [
            "compute-1",
            "compute-2",
            "engine",
            "flambeau",
            "request-log"
        ]
    );
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn doctor_says_what_is_picked_and_why() {
    common::default_model();
    let output = flambeau().arg("doctor").output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    for name in [
        "processor",
        "instructions",
        "threads",
        "memory",
        "huge pages",
        "cache",
        "default model",
        "GPU",
    ] {
        assert!(
            report.lines().any(|line| line.starts_with(name)),
            "no line {name}: {report}"
        );
    }
    assert_eq!(report.matches(": used\n").count(), 1, "{report}");
    assert!(report.contains("Scalar: "), "{report}");
    assert!(
        report.contains("SmolLM2-135M-Instruct.Q4_1.gguf"),
        "{report}"
    );
}

#[test]
fn doctor_fails_and_says_what_to_do_when_the_cache_cannot_be_written() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = flambeau()
        .arg("doctor")
        .env("FLAMBEAU_CACHE", file.path().join("cache"))
        .output()
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success(), "{report}");
    assert!(
        report.contains("BROKEN") && report.contains("FLAMBEAU_CACHE"),
        "{report}"
    );
}

/// A byte-level tokenizer of 62 characters and a chat template, beside a tiny model of 64 tokens.
fn tiny_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hf/llama");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    let letters = ('a'..='z').chain('A'..='Z').chain('0'..='9');
    let vocab = letters
        .enumerate()
        .map(|(id, c)| (c.to_string(), id.into()));
    let vocab: serde_json::Map<_, serde_json::Value> = vocab.collect();
    let tokenizer = serde_json::json!({
        "added_tokens": [{"id": 62, "content": "<end>", "special": true}],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    });
    let config = serde_json::json!({
        "eos_token": "<end>",
        "chat_template": "{% for m in messages %}{{ m.content }}{% endfor %}",
    });
    for (name, json) in [
        ("tokenizer.json", tokenizer),
        ("tokenizer_config.json", config),
    ] {
        std::fs::write(folder.path().join(name), json.to_string()).unwrap();
    }
    folder
}

#[test]
fn a_folder_of_safetensors_is_served_with_its_own_tokenizer_and_template() {
    let folder = tiny_folder();
    let server = Server::start(&["--model", folder.path().to_str().unwrap()]);
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let body = r#"{"messages": [{"role": "user", "content": "abc"}], "max_tokens": 5, "ignore_eos": true}"#;
    let answer = server.answer("POST", "/v1/chat/completions", body);
    assert!(answer.contains(&format!(r#""model":"{name}""#)), "{answer}");
    assert!(
        answer.contains(r#""prompt_tokens":3,"completion_tokens":5"#),
        "{answer}"
    );
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[test]
fn answers_of_a_folder_end_where_its_generation_config_says() {
    let folder = tiny_folder();
    let write = |json: &str| {
        std::fs::write(folder.path().join("generation_config.json"), json).unwrap();
    };
    let body = r#"{"prompt": "abc", "max_tokens": 8, "temperature": 0}"#;
    let ask = || {
        let server = Server::start(&["--model", folder.path().to_str().unwrap()]);
        let answer = server.answer("POST", "/v1/completions", body);
        server.terminate();
        assert_eq!(server.exit_code(), Some(0));
        answer
    };
    let before = ask();
    assert!(before.contains(r#""finish_reason":"length""#), "{before}");
    // Every letter ends an answer.
    let letters: Vec<u32> = (0..62).collect();
    write(&format!(r#"{{"eos_token_id": {letters:?}}}"#));
    let after = ask();
    assert!(
        after.contains(r#""finish_reason":"stop""#) && after.contains(r#""completion_tokens":1"#),
        "{after}"
    );
    write(r#"{"eos_token_id": 64}"#);
    let model = folder.path().to_str().unwrap();
    let output = flambeau()
        .args(["serve", "--port", "0", "--model", model])
        .output()
        .unwrap();
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success(),
        "an id outside of the vocabulary is accepted"
    );
    assert!(
        refused.contains("generation_config.json") && refused.contains("64 is not below"),
        "{refused}"
    );
}

#[test]
fn a_card_that_is_not_there_is_an_error_and_by_itself_the_cpu_is_taken_and_said_why() {
    let output = flambeau()
        .args(["serve", "--dry-run", "--device", "cuda:0"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    // Without support for GPUs, or without a driver.
    assert!(said.contains("flambeau: device: "), "{said}");
    assert!(
        said.contains("--features cuda") || said.contains("--device cpu"),
        "{said}"
    );
    let output = flambeau().args(["serve", "--dry-run"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("computing on the CPU: "), "{said}");
}

#[test]
fn the_cpu_has_no_metrics_of_a_card() {
    let server = Server::start(&["--device", "cpu"]);
    let metrics = server.answer("GET", "/metrics", "");
    assert!(
        metrics.contains("flambeau_kv_cache_usage_ratio") && !metrics.contains("flambeau_gpu_"),
        "{metrics}"
    );
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}
