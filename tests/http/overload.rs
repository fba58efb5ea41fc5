//! What waits, and what is refused: the bounded queue, headers that wait for the first token, streams kept open.

use std::time::Duration;

use flambeau::server::ApiKey;
use insta::assert_snapshot;
use serde_json::json;

use super::gate::Act;
use super::redact::{data, pretty};
use super::server::{CHAT, COMPLETIONS, Server, Setup};

fn request(stream: bool) -> String {
    json!({"prompt": "a", "max_tokens": 2, "stream": stream}).to_string()
}

#[tokio::test]
async fn a_full_queue_refuses_with_429_and_says_when_to_come_back() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 1;
    let server = setup.start().await;
    let mut running = server.send("POST", COMPLETIONS, &request(true)).await;
    gate.begun().await;
    let mut waiting = server.send("POST", COMPLETIONS, &request(false)).await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    for stream in [true, false] {
        let refused = server.post(COMPLETIONS, request(stream)).await;
        assert_eq!(refused.status(), 429);
        let after: u64 = refused.head.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&after));
        assert_snapshot!("queue_full", pretty(refused.json()));
    }
    assert_eq!(server.metric(&Server::outcome("rejected")).await, 2.0);
    drop(gate);
    assert_eq!(running.head().await.unwrap().status, 200);
    assert_eq!(
        running.events().await.unwrap().last().unwrap(),
        "data: [DONE]"
    );
    assert_eq!(waiting.reply().await.unwrap().status(), 200);
    assert_eq!(server.post(COMPLETIONS, request(false)).await.status(), 200);
}

#[tokio::test]
async fn the_more_urgent_request_of_a_tenant_is_next() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    let server = setup.start().await;
    let mut clients = vec![server.send("POST", COMPLETIONS, &request(false)).await];
    gate.begun().await;
    // Prompts of different lengths tell in the steps whose turn it is.
    for (prompt, priority) in [
        ("aa", json!("batch")),
        ("aaa", json!("standard")),
        ("aaaa", json!(0)),
        ("aaaaa", json!("interactive")),
    ] {
        let body = json!({"prompt": prompt, "max_tokens": 1, "priority": priority});
        let num_open = server.engine.num_open();
        clients.push(server.send("POST", COMPLETIONS, &body.to_string()).await);
        while server.engine.num_open() == num_open {
            server.get("/health").await;
        }
    }
    gate.decide(Act::Go);
    gate.pass().await;
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(gate.pass().await.num_tokens);
    }
    assert_eq!(order, [5, 3, 4, 2]);
    for mut client in clients {
        assert_eq!(client.reply().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn one_tenant_cannot_fill_the_queue() {
    let (mut setup, gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 3;
    setup.engine.has_tenants = true;
    setup.options.api_keys = vec![ApiKey::new("one", "key-1"), ApiKey::new("two", "key-2")];
    let server = setup.start().await;
    let mut clients = Vec::new();
    for (key, is_accepted) in [
        ("key-1", true),
        ("key-1", true),
        ("key-1", false),
        ("key-2", true),
    ] {
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str())];
        let num_open = server.engine.num_open();
        let mut client = server.connect().await;
        let body = request(false);
        client
            .send("POST", COMPLETIONS, &headers, body.as_bytes())
            .await
            .unwrap();
        if is_accepted {
            while server.engine.num_open() == num_open {
                server.get("/health").await;
            }
            clients.push(client);
        } else {
            assert_eq!(client.reply().await.unwrap().status(), 429);
        }
    }
    drop(gate);
    for mut client in clients {
        assert_eq!(client.reply().await.unwrap().status(), 200);
    }
}

#[tokio::test]
async fn headers_wait_for_the_first_token_so_that_a_failure_has_its_status() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    for (path, body) in [
        (COMPLETIONS, request(true)),
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": "a"}], "stream": true}).to_string(),
        ),
    ] {
        let mut client = server.send("POST", path, &body).await;
        gate.begun().await;
        gate.decide(Act::Fail);
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.status(), 500);
        assert_eq!(reply.head.header("content-type"), Some("application/json"));
        assert_eq!(reply.json()["error"]["type"], "server_error");
    }
}

#[tokio::test]
async fn a_long_wait_is_bridged_by_comments_and_then_goes_on_as_usual() {
    let (mut setup, mut gate) = Setup::gated();
    setup.options.keep_alive = Duration::from_millis(1);
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &request(true)).await;
    gate.begun().await;
    assert_eq!(client.head().await.unwrap().status, 200);
    for _ in 0..3 {
        assert_eq!(client.event().await.unwrap().unwrap(), ": waiting");
    }
    drop(gate);
    let mut events = client.events().await.unwrap();
    events.retain(|event| event != ": waiting");
    assert_eq!(events.len(), 3);
    assert_eq!(data(&events[0]).unwrap()["flambeau"]["tier"], "primary");
    assert_eq!(
        data(&events[1]).unwrap()["choices"][0]["finish_reason"],
        "length"
    );
    assert_eq!(events[2], "data: [DONE]");
}

#[tokio::test]
async fn a_failure_after_a_long_wait_is_an_error_event() {
    let (mut setup, mut gate) = Setup::gated();
    setup.options.keep_alive = Duration::from_millis(1);
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &request(true)).await;
    gate.begun().await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert_eq!(client.event().await.unwrap().unwrap(), ": waiting");
    gate.decide(Act::Fail);
    let mut events = client.events().await.unwrap();
    events.retain(|event| event != ": waiting");
    assert_eq!(events.len(), 2);
    assert_snapshot!("failure_after_a_wait", pretty(data(&events[0]).unwrap()));
    assert_eq!(events[1], "data: [DONE]");
    assert_eq!(server.metric(&Server::outcome("error")).await, 1.0);
}
