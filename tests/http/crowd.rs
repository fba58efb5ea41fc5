//! Many at once: nobody changes another's answer, nobody holds another up.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::{Client, within};
use super::redact::{data, pieces};
use super::server::{CHAT, COMPLETIONS, Server, Setup};

/// The `i`-th of the crowd: every length of prompt and answer, greedy and seeded.
fn request(i: usize) -> Value {
    let prompt: Vec<usize> = (0..1 + i * 5).map(|j| (i * 31 + j * 7) % 256).collect();
    json!({"prompt": prompt, "max_tokens": 40 + i % 23, "temperature": i % 2, "seed": i,
        "return_token_ids": true, "stream": true})
}

async fn send(server: &Server, i: usize) -> Client {
    server
        .send("POST", COMPLETIONS, &request(i).to_string())
        .await
}

/// Text and ids of a whole stream.
async fn answer(mut client: Client) -> (String, Vec<Value>) {
    assert_eq!(client.head().await.unwrap().status, 200);
    let events = client.events().await.unwrap();
    assert_eq!(events.last().unwrap(), "data: [DONE]");
    let ids = events
        .iter()
        .filter_map(|event| Some(data(event)?["choices"][0]["token_ids"].take()))
        .filter_map(|ids| ids.as_array().cloned())
        .flatten();
    (pieces(&events).concat(), ids.collect())
}

#[tokio::test]
async fn sixty_four_streams_each_equal_their_lone_answer() {
    let server = Setup::fake(256).start().await;
    let mut alone = Vec::new();
    for i in 0..64 {
        alone.push(answer(send(&server, i).await).await);
    }
    // Too few blocks for all at once, so that some are preempted and computed again.
    let (mut setup, mut gate) = Setup::fake(256).hold();
    setup.engine.num_blocks = 400;
    let server = setup.start().await;
    let clients = join_all((0..64).map(|i| send(&server, i))).await;
    gate.begun().await;
    while server.engine.num_open() < 64 {
        server.get("/health").await;
    }
    drop(gate);
    let together = join_all(clients.into_iter().map(answer)).await;
    for (i, (alone, together)) in alone.iter().zip(&together).enumerate() {
        assert_eq!(alone.1.len(), 40 + i % 23);
        assert_eq!(alone, together, "the answer of request {i}");
    }
    let preemptions = server.metric(r#"flambeau_num_preemptions_total{model="test"}"#);
    assert!(preemptions.await > 0.0);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_nobody_up_and_loses_nothing() {
    let mut setup = Setup::fake(128);
    setup.engine.scheduler.max_model_len = 8192;
    let server = setup.start().await;
    // 20 alternatives a token make it 10 MB, more than the sockets hold.
    let body = json!({"messages": [{"role": "user", "content": "a"}], "max_tokens": 8000,
        "logprobs": true, "top_logprobs": 20, "stream": true});
    let mut lazy = server.send("POST", CHAT, &body.to_string()).await;
    assert_eq!(lazy.head().await.unwrap().status, 200);
    let answers = join_all((0..8).map(async |i| answer(send(&server, i).await).await)).await;
    assert!(answers.iter().all(|(_, ids)| ids.len() >= 40));
    // The engine is done with it although nobody has read it.
    within(server.engine.drained()).await;
    assert_eq!(server.metric(&Server::outcome("length")).await, 8.0);

    let events = lazy.events().await.unwrap();
    assert_eq!(events.len(), 1 + 8000 + 1);
    assert_eq!(server.metric(&Server::outcome("length")).await, 9.0);
}
