//! The client of remote models against a real server: this one.

use std::time::Duration;

use flambeau::remote::{RemoteConfig, RemoteError, RemoteFinish, RemoteModel, RemoteStream};
use flambeau::server::ApiKey;
use serde_json::{Map, Value, json};

use super::client::{PATIENCE, within};
use super::gate::Act;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

fn remote(server: &Server) -> RemoteModel {
    RemoteModel::new(RemoteConfig {
        url: format!("http://{}/v1", server.addr),
        model: None,
        api_key: Some("sesame".into()),
        connect_timeout: PATIENCE,
        first_token_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        max_retries: 2,
    })
    .unwrap()
}

fn fields(body: &Value) -> Map<String, Value> {
    body.as_object().unwrap().clone()
}

/// The texts of an answer's choices with their ends, and the tokens of prompt and answer.
async fn read(mut stream: RemoteStream, n: usize) -> (Vec<(String, RemoteFinish)>, (u64, u64)) {
    let mut choices = vec![(String::new(), None); n];
    let mut usage = None;
    while let Some(delta) = within(stream.next()).await {
        let delta = delta.unwrap();
        let (text, finish) = &mut choices[delta.choice];
        text.push_str(&delta.text);
        assert!(finish.is_none() || delta.finish.is_none());
        *finish = finish.or(delta.finish);
        usage = delta.usage.or(usage);
    }
    let choices = choices
        .into_iter()
        .map(|(text, finish)| (text, finish.unwrap()));
    let usage = usage.unwrap();
    (choices.collect(), (usage.prompt, usage.completion))
}

#[tokio::test]
async fn an_answer_is_the_same_as_when_the_server_is_asked_itself() {
    let server = Setup::fake(128).start().await;
    let model = remote(&server);
    let chat = json!({"messages": [{"role": "user", "content": "é"}], "max_tokens": 20, "n": 3,
        "temperature": 1, "seed": 7, "ignore_eos": true});
    let completion =
        json!({"prompt": ["ab", "c"], "max_tokens": 20, "temperature": 0, "ignore_eos": true});
    for (path, body, n) in [(CHAT, chat, 3), (COMPLETIONS, completion, 2)] {
        let whole = server.post(path, &body).await.json();
        let stream = match path {
            CHAT => within(model.chat(fields(&body))).await,
            _ => within(model.complete(fields(&body))).await,
        };
        let (choices, usage) = read(stream.unwrap(), n).await;
        for (i, (text, finish)) in choices.iter().enumerate() {
            let choice = &whole["choices"][i];
            let expected = choice["text"]
                .as_str()
                .or(choice["message"]["content"].as_str());
            assert_eq!((Some(&**text), *finish), (expected, RemoteFinish::Length));
        }
        let expected = &whole["usage"];
        assert_eq!(
            (json!(usage.0), json!(usage.1)),
            (
                expected["prompt_tokens"].clone(),
                expected["completion_tokens"].clone()
            )
        );
    }
    within(model.probe()).await.unwrap();
}

#[tokio::test]
async fn whoever_leaves_cancels_the_request_over_there() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let model = remote(&server);
    let body = fields(&json!({"prompt": "ab", "max_tokens": 100, "ignore_eos": true}));
    let asking = tokio::spawn(async move { model.complete(body).await });
    gate.pass().await;
    let mut stream = within(asking).await.unwrap().unwrap();
    assert_eq!(within(stream.next()).await.unwrap().unwrap().text.len(), 1);
    gate.begun().await;
    drop(stream);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    gate.decide(Act::Go);
    within(server.engine.drained()).await;
}

#[tokio::test]
async fn a_wait_that_the_server_comments_on_is_a_wait_for_the_first_token() {
    let (mut setup, mut gate) = Setup::gated();
    setup.options.keep_alive = Duration::from_millis(1);
    let server = setup.start().await;
    let model = remote(&server);
    let body = fields(&json!({"prompt": "ab", "max_tokens": 1}));
    let asking = tokio::spawn(async move { model.complete(body).await });
    gate.begun().await;
    // Headers and comments are sent meanwhile.
    server
        .until(r#"flambeau_num_requests_running{model="test"}"#, 1.0)
        .await;
    assert!(!asking.is_finished());
    gate.decide(Act::Fail);
    let error = within(asking).await.unwrap().unwrap_err();
    assert!(matches!(error, RemoteError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_is_told_in_its_words() {
    let mut setup = Setup::echo();
    setup.options.api_keys = vec![ApiKey::new("one", "sesame")];
    let server = setup.start().await;
    let body = fields(&json!({"messages": [{"role": "user", "content": "a"}], "top_p": 7}));
    match within(remote(&server).chat(body)).await.unwrap_err() {
        RemoteError::Refused {
            status,
            message,
            param,
        } => {
            assert_eq!((status, param.as_deref()), (400, Some("top_p")));
            assert!(message.contains("top_p"), "{message}");
        }
        other => panic!("{other}"),
    }
}
