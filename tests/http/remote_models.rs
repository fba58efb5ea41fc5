//! A model of another server behind the endpoints: here, of another one of ours.

use std::time::Duration;

use flambeau::gateway::StaticTexts;
use flambeau::remote::RemoteConfig;
use serde_json::{Value, json};

use super::client::within;
use super::gate::Act;
use super::redact::data;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

pub fn at(server: &Server) -> RemoteConfig {
    RemoteConfig {
        url: format!("http://{}/v1", server.addr),
        model: None,
        api_key: None,
        connect_timeout: Duration::from_secs(5),
        first_token_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        max_retries: 0,
    }
}

/// A server that has the model of `upstream` as `remote`, beside one of its own.
async fn beside(upstream: &Server) -> Server {
    let mut setup = Setup::fake(64);
    setup.remote = Some(at(upstream));
    setup.start().await
}

fn completion(more: Value) -> Value {
    let mut body = json!({"model": "remote", "prompt": "abcd", "max_tokens": 4, "temperature": 0});
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body
}

#[tokio::test]
async fn answers_are_the_other_servers_under_the_name_that_it_has_here() {
    let upstream = Setup::echo().start().await;
    let server = beside(&upstream).await;
    let own = upstream
        .post(COMPLETIONS, completion(json!({"model": "test"})))
        .await
        .json();
    let through = server.post(COMPLETIONS, completion(json!({}))).await.json();
    assert_eq!(through["choices"], own["choices"]);
    assert_eq!(through["usage"], own["usage"]);
    assert_eq!(
        (&through["model"], &through["flambeau"]["tier"]),
        (&json!("remote"), &json!("primary"))
    );
    let several = completion(json!({"prompt": ["ab", "cde"], "n": 2}));
    let texts = |answer: &Value| -> Vec<Value> {
        let choices = answer["choices"].as_array().unwrap().iter();
        choices.map(|choice| choice["text"].clone()).collect()
    };
    let mut own = several.clone();
    own["model"] = "test".into();
    assert_eq!(
        texts(&server.post(COMPLETIONS, several).await.json()),
        texts(&upstream.post(COMPLETIONS, own).await.json())
    );
    let events = server
        .events(
            COMPLETIONS,
            &completion(json!({"stream": true, "stream_options": {"include_usage": true}})),
        )
        .await;
    let chunks: Vec<Value> = events.iter().filter_map(|event| data(event)).collect();
    let text: String = (chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["text"].as_str()))
    .collect();
    assert_eq!(text, "abcd");
    let usage = &chunks.last().unwrap()["usage"];
    assert_eq!(
        (&usage["prompt_tokens"], &usage["completion_tokens"]),
        (&json!(4), &json!(4))
    );
    for (path, body) in [
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": "x"}]}),
        ),
        (RESPONSES, json!({"input": "x"})),
        (
            MESSAGES,
            json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 4}),
        ),
    ] {
        let mut body = body;
        body["model"] = "remote".into();
        let reply = server.post(path, body).await;
        assert_eq!(
            (reply.status(), &reply.json()["model"]),
            (200, &json!("remote")),
            "{path}"
        );
    }
    let tokens = r#"flambeau_generation_tokens_total{model="remote"}"#;
    assert!(server.metric(tokens).await >= 8.0);
    let listed = server.get("/v1/models").await.json();
    assert!(
        listed["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["id"] == "remote")
    );
}

#[tokio::test]
async fn what_only_a_model_of_this_process_does_is_refused_by_name() {
    let upstream = Setup::echo().start().await;
    let server = beside(&upstream).await;
    for (path, body, param) in [
        (COMPLETIONS, completion(json!({"logprobs": 2})), "logprobs"),
        (COMPLETIONS, completion(json!({"echo": true})), "echo"),
        (
            "/tokenize",
            json!({"model": "remote", "prompt": "a"}),
            "model",
        ),
        // What the other server refuses says so.
        (
            COMPLETIONS,
            completion(json!({"top_p": 0.5, "n": 200})),
            "n",
        ),
    ] {
        let reply = server.post(path, body).await;
        assert_eq!(
            (reply.status(), &reply.json()["error"]["param"]),
            (400, &json!(param)),
            "{}",
            reply.text()
        );
    }
}

#[tokio::test]
async fn a_client_that_leaves_is_gone_from_the_other_server_too() {
    let (setup, mut gate) = Setup::gated();
    let upstream = setup.start().await;
    let server = beside(&upstream).await;
    let body = completion(json!({"stream": true, "max_tokens": 100})).to_string();
    let client = server.send("POST", COMPLETIONS, &body).await;
    gate.begun().await;
    drop(client);
    gate.decide(Act::Go);
    drop(gate);
    within(upstream.engine.drained()).await;
}

#[tokio::test]
async fn a_failure_there_is_an_error_here_and_in_a_chain_the_next_tiers_request() {
    let (setup, mut gate) = Setup::gated();
    let upstream = setup.start().await;
    let server = beside(&upstream).await;
    let mut client = server
        .send("POST", COMPLETIONS, &completion(json!({})).to_string())
        .await;
    gate.begun().await;
    gate.decide(Act::Fail);
    assert_eq!(client.reply().await.unwrap().status(), 502);
    drop(gate);

    // Whose queue is full here, the other server answers.
    let upstream = Setup::echo().start().await;
    let (mut setup, mut gate) = Setup::gated();
    setup.remote = Some(at(&upstream));
    setup.tiers = Some((Duration::from_secs(20), StaticTexts::default()));
    setup.policy.fallback = true;
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 0;
    let server = setup.start().await;
    let held = json!({"prompt": "ab", "max_tokens": 100, "ignore_eos": true});
    let mut held = server.send("POST", COMPLETIONS, &held.to_string()).await;
    gate.begun().await;
    for stream in [false, true] {
        let body = completion(json!({"model": "test", "stream": stream}));
        let mut client = server.send("POST", COMPLETIONS, &body.to_string()).await;
        let text: String = match stream {
            false => {
                let reply = client.reply().await.unwrap().json();
                assert_eq!(
                    (&reply["model"], &reply["flambeau"]["tier"]),
                    (&json!("remote"), &json!("fallback"))
                );
                reply["choices"][0]["text"].as_str().unwrap().into()
            }
            true => {
                assert_eq!(client.head().await.unwrap().status, 200);
                let events = client.events().await.unwrap();
                (events.iter().filter_map(|event| data(event)))
                    .filter_map(|chunk| chunk["choices"][0]["text"].as_str().map(str::to_owned))
                    .collect()
            }
        };
        assert_eq!(text, "abcd");
    }
    // Nobody is there any more: what is left is the first one's refusal.
    upstream.shut_down().await.unwrap().unwrap();
    let reply = server
        .post(COMPLETIONS, completion(json!({"model": "test"})))
        .await;
    assert_eq!(reply.status(), 429, "{}", reply.text());
    drop(gate);
    held.reply().await.unwrap();
}

#[tokio::test]
async fn a_stream_of_another_server_is_waited_for_when_this_one_stops_and_told_when_the_time_is_over()
 {
    let (setup, mut gate) = Setup::gated();
    let upstream = setup.start().await;
    for is_in_time in [true, false] {
        let mut setup = Setup::fake(64);
        setup.remote = Some(at(&upstream));
        setup.options.shutdown_timeout = match is_in_time {
            true => Duration::from_secs(20),
            false => Duration::from_millis(20),
        };
        let server = setup.start().await;
        let body = completion(json!({"stream": true, "max_tokens": 3})).to_string();
        let mut client = server.send("POST", COMPLETIONS, &body).await;
        gate.pass().await;
        assert_eq!(client.head().await.unwrap().status, 200);
        client.event().await.unwrap().unwrap();
        gate.begun().await;
        let engine = server.engine.clone();
        let serving = server.shut_down();
        while !engine.is_draining() {
            tokio::task::yield_now().await;
        }
        if is_in_time {
            gate.decide(Act::Go);
            gate.pass().await;
        }
        let events = client.events().await.unwrap();
        let is_told = events.iter().any(|event| event.contains("shut down"));
        assert_eq!(is_told, !is_in_time, "{events:?}");
        assert_eq!(events.last().unwrap(), "data: [DONE]");
        within(serving).await.unwrap().unwrap();
    }
    // What was not finished is cancelled there.
    drop(gate);
    within(upstream.engine.drained()).await;
}
