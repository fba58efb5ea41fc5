//! Several models in one process: requests choose by name, and each has an engine, a queue and metrics of its own.

use serde_json::json;

use super::client::within;
use super::gate::Act;
use super::server::{CHAT, COMPLETIONS, Setup};

const OTHER: &str = "other";

#[tokio::test]
async fn a_request_is_answered_by_the_model_that_it_names_and_by_the_first_if_it_names_none() {
    let mut setup = Setup::fake(64);
    setup.echo_too = Some(OTHER);
    let server = setup.start().await;
    let ask = |model: Option<&str>| {
        let mut body = json!({"prompt": "abcd", "max_tokens": 4, "temperature": 0});
        body["model"] = model.into();
        server.post(COMPLETIONS, body)
    };
    let (first, none, other) = (
        ask(Some("test-alias")).await.json(),
        ask(None).await.json(),
        ask(Some(OTHER)).await.json(),
    );
    assert_eq!(first["choices"], none["choices"]);
    assert_eq!(
        (&first["model"], &none["model"]),
        (&json!("test"), &json!("test"))
    );
    assert_eq!(other["choices"][0]["text"], "abcd");
    assert_eq!(other["model"], OTHER);
    let chat =
        json!({"model": OTHER, "messages": [{"role": "user", "content": "x"}], "max_tokens": 2});
    assert_eq!(server.post(CHAT, chat).await.json()["model"], OTHER);
    for (model, num_requests) in [("test", 2.0), (OTHER, 2.0)] {
        let series = format!(
            r#"flambeau_requests_total{{model="{model}",tier="primary",outcome="length"}}"#
        );
        assert_eq!(server.metric(&series).await, num_requests, "{model}");
    }
}

#[tokio::test]
async fn all_models_are_listed_and_named_to_who_asks_for_another() {
    let mut setup = Setup::fake(64);
    setup.echo_too = Some(OTHER);
    let server = setup.start().await;
    let listed = server.get("/v1/models").await.json();
    let ids: Vec<&str> = (listed["data"].as_array().unwrap().iter())
        .map(|model| model["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["test", OTHER]);
    let unknown = server
        .post(COMPLETIONS, json!({"model": "third", "prompt": "a"}))
        .await;
    assert_eq!(unknown.status(), 404);
    assert!(
        unknown.text().contains("\\\"test\\\", \\\"other\\\" are"),
        "{}",
        unknown.text()
    );
}

#[tokio::test]
async fn a_model_whose_queue_is_full_refuses_nobody_from_another_and_makes_the_server_not_ready() {
    let (mut setup, mut gate) = Setup::gated();
    setup.echo_too = Some(OTHER);
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 0;
    let server = setup.start().await;
    let request = |model: &str| json!({"model": model, "prompt": "ab", "max_tokens": 2});
    let mut held = server
        .send("POST", COMPLETIONS, &request("test").to_string())
        .await;
    gate.begun().await;
    assert_eq!(
        server.post(COMPLETIONS, request("test")).await.status(),
        429
    );
    assert_eq!(server.post(COMPLETIONS, request(OTHER)).await.status(), 200);
    assert_eq!(server.get("/ready").await.status(), 503);
    gate.decide(Act::Go);
    drop(gate);
    assert_eq!(held.reply().await.unwrap().status(), 200);
    assert_eq!(server.get("/ready").await.status(), 200);
}

#[tokio::test]
async fn while_no_model_has_room_nobody_s_body_is_read() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 0;
    let server = setup.start().await;
    let body = json!({"prompt": "ab", "max_tokens": 2}).to_string();
    let mut held = server.send("POST", COMPLETIONS, &body).await;
    gate.begun().await;
    for path in [CHAT, COMPLETIONS, "/v1/messages", "/v1/responses"] {
        assert_eq!(server.post(path, "{").await.status(), 429, "{path}");
    }
    drop(gate);
    assert_eq!(held.reply().await.unwrap().status(), 200);
    within(server.engine.drained()).await;
    assert_eq!(server.post(COMPLETIONS, "{").await.status(), 400);
}
