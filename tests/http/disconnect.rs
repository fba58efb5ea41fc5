//! A client that leaves, at any stage, frees what it held within one step.

use flambeau::engine::fake::FakeExecutor;
use serde_json::json;

use super::client::within;
use super::gate::{Act, Gate, Step};
use super::server::{CHAT, COMPLETIONS, Server, Setup};

const WASTED: &str = r#"flambeau_cancelled_tokens_wasted_total{model="test"}"#;

fn request(num_prompt_tokens: usize, stream: bool) -> String {
    json!({"prompt": vec![65; num_prompt_tokens], "max_tokens": 100, "stream": stream}).to_string()
}

fn step(num_sequences: usize, num_tokens: usize) -> Step {
    Step {
        num_sequences,
        num_tokens,
    }
}

/// Waits until nothing is open and no gauge shows anything. With the gate closed this cannot take another step.
async fn all_is_free(server: &Server) {
    within(server.engine.drained()).await;
    assert_eq!(server.engine.num_open(), 0);
    for gauge in [
        "flambeau_num_requests_running",
        "flambeau_num_requests_waiting",
        "flambeau_kv_cache_usage_ratio",
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
    ] {
        server
            .until(&format!(r#"{gauge}{{model="test"}}"#), 0.0)
            .await;
    }
}

/// The server still answers.
async fn serves_on(server: &Server, gate: Gate) {
    drop(gate);
    let reply = server.post(COMPLETIONS, json!({"prompt": "a"})).await;
    assert_eq!(reply.status(), 200);
}

#[tokio::test]
async fn in_the_middle_of_the_prompt() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let client = server.send("POST", COMPLETIONS, &request(400, true)).await;
    // 256 tokens a step: the prompt is not done with the first.
    assert_eq!(gate.begun().await, step(1, 256));
    drop(client);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    gate.decide(Act::Go);
    all_is_free(&server).await;
    assert_eq!(server.metric(WASTED).await, 256.0);
    serves_on(&server, gate).await;
}

#[tokio::test]
async fn before_the_headers_were_sent() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let client = server.send("POST", COMPLETIONS, &request(10, true)).await;
    assert_eq!(gate.begun().await, step(1, 10));
    drop(client);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    gate.decide(Act::Go);
    all_is_free(&server).await;
    assert_eq!(server.metric(WASTED).await, 10.0);
    serves_on(&server, gate).await;
}

#[tokio::test]
async fn in_the_middle_of_a_stream() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &request(10, true)).await;
    gate.pass().await;
    assert_eq!(client.head().await.unwrap().status, 200);
    client.event().await.unwrap().unwrap();
    assert_eq!(gate.begun().await, step(1, 1));
    drop(client);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    gate.decide(Act::Go);
    all_is_free(&server).await;
    assert_eq!(server.metric(WASTED).await, 1.0);
    serves_on(&server, gate).await;
}

#[tokio::test]
async fn while_an_answer_in_one_piece_is_made() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let client = server.send("POST", COMPLETIONS, &request(10, false)).await;
    gate.pass().await;
    gate.pass().await;
    assert_eq!(gate.begun().await, step(1, 1));
    drop(client);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    gate.decide(Act::Go);
    all_is_free(&server).await;
    assert_eq!(server.metric(WASTED).await, 1.0);
    serves_on(&server, gate).await;
}

#[tokio::test]
async fn while_queued() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    let server = setup.start().await;
    let mut first = server.send("POST", COMPLETIONS, &request(10, true)).await;
    gate.begun().await;
    let queued = server.send("POST", COMPLETIONS, &request(10, true)).await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    gate.decide(Act::Go);
    gate.begun().await;
    server
        .until(r#"flambeau_num_requests_waiting{model="test"}"#, 1.0)
        .await;
    drop(queued);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    gate.decide(Act::Go);
    gate.begun().await;
    assert_eq!(server.engine.num_open(), 1);
    assert_eq!(
        server
            .metric(r#"flambeau_num_requests_waiting{model="test"}"#)
            .await,
        0.0
    );
    assert_eq!(server.metric(WASTED).await, 0.0);
    drop(gate);
    assert_eq!(first.head().await.unwrap().status, 200);
    assert_eq!(
        first.events().await.unwrap().last().unwrap(),
        "data: [DONE]"
    );
    all_is_free(&server).await;
}

#[tokio::test]
async fn in_the_middle_of_the_request() {
    let (setup, gate) = Setup::gated();
    let server = setup.start().await;
    for part in [
        "POST /v1/completions HTT",
        "POST /v1/completions HTTP/1.1\r\nhost: test\r\n",
        "POST /v1/completions HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n{\"prompt\"",
    ] {
        let client = server.connect().await;
        client.write(part.as_bytes()).await.unwrap();
        drop(client);
    }
    assert_eq!(server.engine.num_open(), 0);
    serves_on(&server, gate).await;
}

#[tokio::test]
async fn after_a_stop_string() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let first = FakeExecutor::next_token([65].into_iter(), 0, 128);
    let second = FakeExecutor::next_token([65, first].into_iter(), 0, 128);
    let stop = char::from(second as u8).to_string();
    let body = json!({"prompt": [65], "temperature": 0, "max_tokens": 100, "stop": stop});
    let mut client = server.send("POST", COMPLETIONS, &body.to_string()).await;
    gate.pass().await;
    gate.pass().await;
    let reply = client.reply().await.unwrap().json();
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    // The engine may have begun a third step before it heard.
    gate.decide(Act::Go);
    all_is_free(&server).await;
    serves_on(&server, gate).await;
}

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing_behind() {
    let server = Setup::fake(128).start().await;
    for i in 0..50 {
        let (path, body) = match i % 2 {
            0 => (COMPLETIONS, request(1 + i, i % 3 == 0)),
            _ => (
                CHAT,
                json!({"messages": [{"role": "user", "content": "a"}], "stream": true}).to_string(),
            ),
        };
        drop(server.send("POST", path, &body).await);
    }
    all_is_free(&server).await;
}
