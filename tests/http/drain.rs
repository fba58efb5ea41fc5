//! Stopping: what is open is finished or told, new work is refused, and the server ends in any case.

use std::time::Duration;

use flambeau::server::Ended;
use insta::assert_snapshot;
use serde_json::json;

use super::client::{Client, within};
use super::gate::Gate;
use super::redact::{data, pretty};
use super::server::{COMPLETIONS, Server, Setup};

fn request() -> String {
    json!({"prompt": "a", "max_tokens": 50, "stream": true}).to_string()
}

/// A stream that has had its first token and waits in its second step.
async fn open_stream(server: &Server, gate: &mut Gate) -> Client {
    let mut client = server.send("POST", COMPLETIONS, &request()).await;
    gate.pass().await;
    assert_eq!(client.head().await.unwrap().status, 200);
    client.event().await.unwrap().unwrap();
    gate.begun().await;
    client
}

#[tokio::test]
async fn what_is_open_is_finished_while_new_work_is_refused() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let mut open = open_stream(&server, &mut gate).await;
    let mut other = server.connect().await;
    let (addr, engine) = (server.addr, server.engine.clone());
    let serving = server.shut_down();
    within(async {
        while !engine.is_draining() {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let mut bodies = String::new();
    for (method, path, body) in [
        ("POST", COMPLETIONS, request()),
        ("POST", COMPLETIONS, r#"{"prompt": "a"}"#.into()),
        ("GET", "/ready", String::new()),
    ] {
        other
            .send(method, path, &[], body.as_bytes())
            .await
            .unwrap();
        let reply = other.reply().await.unwrap();
        assert_eq!(reply.status(), 503, "{path}");
        assert!(reply.head.header("retry-after").is_some());
        bodies.push_str(&pretty(reply.json()));
        bodies.push('\n');
    }
    assert_snapshot!("draining", bodies);
    // New connections are taken too, so that a load balancer hears why.
    let mut health = Client::connect(addr).await.unwrap();
    health.send("GET", "/health", &[], b"").await.unwrap();
    assert_eq!(health.reply().await.unwrap().status(), 200);

    drop(gate);
    let events = open.events().await.unwrap();
    assert_eq!(events.len(), 50);
    assert_eq!(events[49], "data: [DONE]");
    assert_eq!(within(serving).await.unwrap().unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn what_is_open_after_the_timeout_is_told() {
    let (mut setup, mut gate) = Setup::gated();
    setup.options.shutdown_timeout = Duration::from_millis(1);
    let server = setup.start().await;
    let mut open = open_stream(&server, &mut gate).await;
    let addr = server.addr;
    let serving = server.shut_down();
    // The port is closed once the timeout has passed and the engine was told to stop.
    within(async { while Client::connect(addr).await.is_ok() {} }).await;
    drop(gate);
    let events = open.events().await.unwrap();
    // What was drawn before the step was let go, then the error.
    let error = data(&events[events.len() - 2]).unwrap();
    assert_snapshot!("shut_down", pretty(error));
    assert!(events.len() <= 3, "{events:?}");
    assert_eq!(within(serving).await.unwrap().unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn an_idle_server_stops_at_once() {
    let server = Setup::fake(128).start().await;
    let mut idle = server.connect().await;
    idle.send("GET", "/health", &[], b"").await.unwrap();
    assert_eq!(idle.reply().await.unwrap().status(), 200);
    assert_eq!(
        within(server.shut_down()).await.unwrap().unwrap(),
        Ended::Stopped
    );
    idle.closed().await;
}

#[tokio::test]
async fn a_step_that_hangs_does_not_keep_the_server_from_ending() {
    let (mut setup, mut gate) = Setup::gated();
    setup.options.shutdown_timeout = Duration::from_millis(1);
    let server = setup.start().await;
    let _open = open_stream(&server, &mut gate).await;
    assert_eq!(
        within(server.shut_down()).await.unwrap().unwrap(),
        Ended::Stopped
    );
}
