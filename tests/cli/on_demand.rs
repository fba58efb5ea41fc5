//! A model that is loaded when it is needed and given back when it is not, on the real program.

use super::{Server, memory};

const ASK: &str = r#"{"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}"#;

/// What a server answers, without what differs from answer to answer.
fn text(server: &Server) -> String {
    let answer = server.answer("POST", "/v1/completions", ASK);
    let json = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(json).unwrap();
    json["choices"][0]["text"].as_str().unwrap().to_owned()
}

#[test]
fn an_idle_model_gives_its_memory_back_and_answers_as_before_when_it_is_asked_again() {
    /// Bytes that the weights take at least.
    const WEIGHTS: u64 = 80_000_000;
    let arguments = ["--load-on-demand", "--unload-after", "1"];
    let server = Server::start_with_cache("16MiB", &arguments);
    let process = server.child.id();
    let anonymous = || memory(process, "RssAnon:");
    let before = anonymous();
    let first = text(&server);
    let (loaded, peak) = (anonymous(), memory(process, "VmHWM:"));
    assert!(loaded > before + WEIGHTS, "{before}, then {loaded}");
    for _ in 0..2 {
        server.wait_for("is unloaded");
        let unloaded = anonymous();
        assert!(unloaded + WEIGHTS < loaded, "{loaded}, then {unloaded}");
        assert_eq!(text(&server), first);
    }
    // Never twice at once; the cache may be touched as a whole the second time.
    let most = memory(process, "VmHWM:");
    assert!(
        most < peak + (16 << 20) + WEIGHTS / 2,
        "{peak}, then {most}"
    );
    server.terminate();
    assert_eq!(server.exit_code(), Some(0));
}

#[cfg(feature = "kernel-shim")]
#[test]
fn a_card_is_let_go_with_the_model_and_opened_again_for_it() {
    let folder = super::tiny_folder();
    super::card::fit_for_a_card(folder.path());
    let mut command = super::flambeau();
    command.env("LD_LIBRARY_PATH", super::card::driver_folder());
    command.args([
        "serve",
        "--port",
        "0",
        "--device",
        "cuda:0",
        "--unload-after",
        "1",
    ]);
    command.args(["--max-num-batched-tokens", "8", "--max-num-seqs", "1"]);
    command.args(["--kv-cache-memory", "16MiB", "--model"]);
    let server = Server::start_by({
        command.arg(folder.path());
        command
    });
    let first = text(&server);
    for _ in 0..2 {
        server.wait_for("is unloaded");
        assert_eq!(text(&server), first);
    }
}
