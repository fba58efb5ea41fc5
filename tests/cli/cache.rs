//! `flambeau cache`, of a server of the default model that gives answers again.

use super::{Server, flambeau};

const PERU: &str = "What is the capital of Peru?";

fn chat(question: &str) -> String {
    format!(
        r#"{{"messages": [{{"role": "user", "content": "{question}"}}], "temperature": 0, "max_tokens": 60}}"#
    )
}

#[test]
fn what_a_server_keeps_is_told_explained_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("flambeau.toml");
    let settings = "[server]\nkv_cache_memory = \"64MiB\"\n[cache.exact]\n[cache.semantic]\nmode = \"serve\"\n";
    std::fs::write(&config, settings).unwrap();
    let mut command = flambeau();
    command
        .args(["serve", "--port", "0", "--config"])
        .arg(&config);
    let server = Server::start_by(command);
    let ask = |question: &str| {
        let answer = server.answer("POST", "/v1/chat/completions", &chat(question));
        assert!(answer.contains("Lima"), "{answer}");
        answer
    };
    assert!(ask(PERU).contains(r#""tier":"primary""#));
    assert!(ask("what's the capital of peru, please").contains(r#""cache":"semantic""#));
    let url = format!("http://{}", server.address);
    let cache = |arguments: &[&str]| {
        let mut command = flambeau();
        command.args(["cache", "--url", &url]).args(arguments);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let stats = cache(&["stats"]);
    assert!(stats.contains("served_same: 1"), "{stats}");
    let told = cache(&["explain", &chat("What is the capital of Chile?")]);
    assert!(
        told.contains(r#""reason": "name""#) && told.contains(PERU),
        "{told}"
    );
    let told = cache(&["purge", "--model", "smollm2-135m-instruct"]);
    assert!(told.contains(r#""num_answers": 2"#), "{told}");
    let told = cache(&["explain", &chat(PERU)]);
    assert!(told.contains(r#""reason": "far""#), "{told}");
}
