//! An executor that fails, panics or cannot be rebuilt: everybody hears of it once, and whoever can goes on.

use flambeau::server::Ended;
use insta::assert_snapshot;
use serde_json::json;

use super::client::{Client, within};
use super::gate::{Act, Gate};
use super::redact::{data, pretty};
use super::server::{COMPLETIONS, Server, Setup};

fn request(stream: bool) -> String {
    json!({"prompt": "a", "max_tokens": 3, "stream": stream}).to_string()
}

/// A stream that has had its first token and waits in its second step.
async fn open_stream(server: &Server, gate: &mut Gate) -> Client {
    let mut client = server.send("POST", COMPLETIONS, &request(true)).await;
    gate.pass().await;
    assert_eq!(client.head().await.unwrap().status, 200);
    assert!(data(&client.event().await.unwrap().unwrap()).is_some());
    gate.begun().await;
    client
}

/// The rest of a stream that failed: the error.
async fn error_event(client: &mut Client) -> String {
    let events = client.events().await.unwrap();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[1], "data: [DONE]");
    pretty(data(&events[0]).unwrap())
}

async fn serves_on(server: &Server) {
    let reply = server.post(COMPLETIONS, request(false)).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    within(server.engine.drained()).await;
}

#[tokio::test]
async fn a_failed_step_fails_its_requests_only() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    let server = setup.start().await;
    let mut failed = open_stream(&server, &mut gate).await;
    let mut queued = server.send("POST", COMPLETIONS, &request(true)).await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    gate.decide(Act::Fail);
    assert_snapshot!("failed_step", error_event(&mut failed).await);
    drop(gate);
    assert_eq!(queued.head().await.unwrap().status, 200);
    assert_eq!(queued.events().await.unwrap().len(), 4);
    assert_eq!(server.num_builds(), 1);
    assert_eq!(server.metric(&Server::outcome("error")).await, 1.0);
    serves_on(&server).await;
}

#[tokio::test]
async fn a_step_ahead_that_fails_takes_no_token_back() {
    let (mut setup, mut gate) = Setup::gated();
    setup.looks_ahead = true;
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &request(true)).await;
    gate.pass().await;
    // The second step is launched before the first one's token is known.
    gate.begun().await;
    gate.decide(Act::Fail);
    assert_eq!(client.head().await.unwrap().status, 200);
    assert!(data(&client.event().await.unwrap().unwrap()).is_some());
    assert_snapshot!("failed_step", error_event(&mut client).await);
    drop(gate);
    assert_eq!(server.num_builds(), 1);
    serves_on(&server).await;
}

#[tokio::test]
async fn a_panic_a_step_ahead_ends_what_is_open_once_and_rebuilds_once() {
    let (mut setup, mut gate) = Setup::gated();
    setup.looks_ahead = true;
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &request(false)).await;
    gate.pass().await;
    gate.begun().await;
    gate.decide(Act::Panic);
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.status(), 500);
    assert_snapshot!("panic", pretty(reply.json()));
    drop(gate);
    serves_on(&server).await;
    assert_eq!(server.num_builds(), 2);
}

#[tokio::test]
async fn a_request_that_leaves_no_token_to_draw_fails_alone() {
    let (setup, mut gate) = Setup::fake(64).hold();
    let server = setup.start().await;
    let mut companion = open_stream(&server, &mut gate).await;
    let every_token: Vec<u32> = (0..64).collect();
    let hopeless =
        json!({"prompt": [1], "max_tokens": 3, "min_tokens": 1, "stop_token_ids": every_token});
    let mut hopeless = server
        .send("POST", COMPLETIONS, &hopeless.to_string())
        .await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    drop(gate);
    let reply = hopeless.reply().await.unwrap();
    assert_eq!(reply.status(), 500);
    assert!(reply.text().contains("gave no token"), "{}", reply.text());
    assert_eq!(
        companion.events().await.unwrap().last().unwrap(),
        "data: [DONE]"
    );
    assert_eq!(server.metric(&Server::outcome("error")).await, 1.0);
    serves_on(&server).await;
}

#[tokio::test]
async fn a_failed_step_is_a_500_for_an_answer_in_one_piece() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &request(false)).await;
    gate.pass().await;
    gate.begun().await;
    gate.decide(Act::Fail);
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.status(), 500);
    assert_snapshot!("failed_step", pretty(reply.json()));
    drop(gate);
    serves_on(&server).await;
}

#[tokio::test]
async fn a_panic_ends_what_was_in_flight_and_who_waits_is_answered_by_the_next_executor() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    let server = setup.start().await;
    let mut streaming = open_stream(&server, &mut gate).await;
    let mut queued = server.send("POST", COMPLETIONS, &request(false)).await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    // The queued one is in the engine's hands once another step has begun.
    gate.decide(Act::Go);
    gate.begun().await;
    assert!(data(&streaming.event().await.unwrap().unwrap()).is_some());
    gate.decide(Act::Panic);
    assert_snapshot!("panic", error_event(&mut streaming).await);
    drop(gate);
    assert_eq!(queued.reply().await.unwrap().status(), 200);
    serves_on(&server).await;
    assert_eq!(server.num_builds(), 2);
    assert_eq!(server.metric(&Server::outcome("error")).await, 1.0);
}

#[tokio::test]
async fn an_executor_that_cannot_be_rebuilt_ends_the_server_and_leaves_nobody_waiting() {
    let (mut setup, mut gate) = Setup::gated();
    setup.engine.scheduler.max_num_seqs = 1;
    setup.max_builds = 1;
    let server = setup.start().await;
    let mut streaming = open_stream(&server, &mut gate).await;
    let mut queued = server.send("POST", COMPLETIONS, &request(false)).await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    gate.decide(Act::Panic);
    assert_snapshot!("panic", error_event(&mut streaming).await);
    let status = queued.reply().await.unwrap().status();
    assert!(status == 500 || status == 503, "{status}");
    let failed = Ended::EngineFailed("the device is gone".into());
    assert_eq!(server.ended().await, failed);
}

#[tokio::test]
async fn executors_that_panic_one_after_the_other_end_the_server() {
    let (setup, gate) = Setup::gated();
    let server = setup.start().await;
    (0..4).for_each(|_| gate.decide(Act::Panic));
    for _ in 0..4 {
        assert_eq!(server.post(COMPLETIONS, request(false)).await.status(), 500);
    }
    assert_eq!(server.num_builds(), 4);
    let Ended::EngineFailed(why) = server.ended().await else {
        panic!("it goes on");
    };
    assert!(why.contains("panicked 4 times"), "{why}");
}
