//! `deadline_ms`: refused at once where it is not going to be kept, and dropped from the queue where it was not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::within;
use super::gate::{Act, Gate};
use super::redact::data;
use super::server::{COMPLETIONS, Server, Setup};

/// What a step takes that is held.
const SLOW: Duration = Duration::from_millis(40);

fn body(max_tokens: usize, more: Value) -> String {
    let mut body = json!({"prompt": "abc", "max_tokens": max_tokens, "ignore_eos": true});
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body.to_string()
}

/// One place, taken by somebody who is to be given so many tokens, of which two have been computed, slowly.
async fn occupied(mut setup: Setup, gate: &mut Gate, max_tokens: usize) -> Server {
    setup.engine.scheduler.max_num_seqs = 1;
    let server = setup.start().await;
    // Nobody reads the answer before the end.
    let fields = json!({"deadline_ms": 60_000});
    let client = server
        .send("POST", COMPLETIONS, &body(max_tokens, fields))
        .await;
    for _ in 0..2 {
        gate.begun().await;
        // So the machine is known to be slow.
        wait(&server, SLOW).await;
        gate.decide(Act::Go);
    }
    gate.begun().await;
    tokio::spawn(async move {
        let mut client = client;
        let _ = client.reply().await;
    });
    server
}

/// Waits until so many requests are open.
async fn until_open(server: &Server, num_open: usize) {
    let looking = async {
        while server.engine.num_open() != num_open {
            server.get("/health").await;
        }
    };
    within(looking).await;
}

async fn wait(server: &Server, time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        server.get("/health").await;
    }
}

#[tokio::test]
async fn who_would_be_served_too_late_is_refused_at_once_and_told_when_to_come() {
    let (setup, mut gate) = Setup::gated();
    let server = occupied(setup, &mut gate, 500).await;
    for stream in [false, true] {
        let fields = json!({"deadline_ms": 1000, "stream": stream});
        let mut client = server.send("POST", COMPLETIONS, &body(2, fields)).await;
        until_open(&server, 2).await;
        wait(&server, SLOW).await;
        gate.decide(Act::Go);
        let refused = client.reply().await.unwrap();
        assert_eq!(refused.status(), 429);
        let after: u64 = refused.head.header("retry-after").unwrap().parse().unwrap();
        assert!(after >= 1);
        let error = &refused.json()["error"];
        assert_eq!(
            (error["code"].as_str(), error["param"].as_str()),
            (Some("overloaded"), None)
        );
        let message = error["message"].as_str().unwrap();
        assert!(
            message.ends_with(&format!("retry after {after} s")),
            "{message}"
        );
        gate.begun().await;
    }
    assert_eq!(server.metric(&Server::outcome("rejected")).await, 2.0);
    assert_eq!(
        server.engine.num_open(),
        1,
        "a refused request holds no place"
    );
}

#[tokio::test]
async fn a_deadline_that_passes_in_the_queue_is_a_504_or_ends_the_stream() {
    for keep_alive in [Duration::from_secs(60), Duration::from_millis(1)] {
        let (mut setup, mut gate) = Setup::gated();
        setup.options.keep_alive = keep_alive;
        let server = occupied(setup, &mut gate, 4).await;
        let fields =
            json!({"deadline_ms": 500, "stream": true, "stream_options": {"include_usage": true}});
        let mut client = server.send("POST", COMPLETIONS, &body(2, fields)).await;
        until_open(&server, 2).await;
        // It is taken, for the one before it has but two tokens to go; and then the machine stops.
        gate.decide(Act::Go);
        gate.begun().await;
        wait(&server, Duration::from_millis(500)).await;
        gate.decide(Act::Go);
        if keep_alive > Duration::from_secs(1) {
            let reply = client.reply().await.unwrap();
            assert_eq!(reply.status(), 504);
            assert_eq!(reply.json()["error"]["code"], "deadline");
        } else {
            assert_eq!(client.head().await.unwrap().status, 200);
            let mut events = client.events().await.unwrap();
            events.retain(|event| event != ": waiting");
            let choice = &data(&events[0]).unwrap()["choices"][0];
            assert_eq!(
                (&choice["finish_reason"], &choice["text"]),
                (&json!("deadline"), &json!(""))
            );
            assert_eq!(data(&events[1]).unwrap()["usage"]["completion_tokens"], 0);
            assert_eq!(events[2], "data: [DONE]");
        }
        assert_eq!(server.metric(&Server::outcome("deadline")).await, 1.0);
    }
}

#[tokio::test]
async fn the_servers_deadline_is_for_those_who_name_none_and_wait_for_an_answer() {
    let (mut setup, mut gate) = Setup::gated();
    setup.default_deadline = Some(Duration::from_secs(1));
    let server = occupied(setup, &mut gate, 500).await;
    for (fields, status) in [
        (json!({}), 429),
        (json!({"deadline_ms": 60_000}), 200),
        (json!({"priority": "batch"}), 200),
    ] {
        let num_open = server.engine.num_open();
        let mut client = server.send("POST", COMPLETIONS, &body(1, fields)).await;
        until_open(&server, num_open + 1).await;
        if status == 429 {
            wait(&server, SLOW).await;
            gate.decide(Act::Go);
            assert_eq!(client.reply().await.unwrap().status(), status);
            gate.begun().await;
        } else {
            tokio::spawn(async move { assert_eq!(client.reply().await.unwrap().status(), status) });
        }
    }
    drop(gate);
    until_open(&server, 0).await;
    assert_eq!(server.metric(&Server::outcome("rejected")).await, 1.0);
}
