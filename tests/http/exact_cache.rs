//! Answers that are given again to exactly the same request: at the wire.

use std::time::Duration;

use flambeau::gateway::StaticTexts;
use flambeau::server::ApiKey;
use serde_json::{Value, json};

use super::client::{Reply, within};
use super::gate::{Act, Gate};
use super::redact::data;
use super::routing::logged;
use super::server::{CHAT, COMPLETIONS, IM_END, Server, Setup};

/// A server that answers with the prompt.
fn echo() -> Setup {
    let mut setup = Setup::echo();
    setup.keeps_answers = true;
    setup
}

/// What is answered with "abc", and ends.
fn request(more: Value) -> Value {
    let body = json!({"prompt": [97, 98, 99, IM_END], "max_tokens": 8, "temperature": 0});
    with(body, &more)
}

fn with(mut body: Value, more: &Value) -> Value {
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body
}

fn tier(reply: &Reply) -> &str {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.head.header("x-flambeau-tier").unwrap()
}

fn count(what: &str) -> String {
    format!(r#"flambeau_answer_cache_{what}_total{{model="test",level="exact"}}"#)
}

/// What is said, without what tells answers apart.
fn said(body: &Value) -> Value {
    let usage = &body["usage"];
    json!({
        "choices": body["choices"],
        "model": body["model"],
        "tokens": [usage["prompt_tokens"], usage["completion_tokens"]],
    })
}

#[tokio::test]
async fn the_same_request_is_given_the_same_answer_without_the_model() {
    let server = echo().start().await;
    for body in [
        request(json!({})),
        // What ends it is a text, not a token.
        request(json!({"prompt": "abcXYdef", "stop": ["XY"]})),
        request(json!({"temperature": 1, "seed": 7, "n": 2})),
    ] {
        let first = server.post(COMPLETIONS, &body).await;
        assert_eq!(tier(&first), "primary");
        let hits = server.metric(&count("hits")).await;
        let generated = server
            .metric("flambeau_generation_tokens_total{model=\"test\"}")
            .await;
        // Who asks, and how it is sent, makes no difference, nor does the order of fields.
        let mut other: Value = json!({"user": "u", "priority": "batch"});
        for (key, value) in body.as_object().unwrap().iter().rev() {
            other[key] = value.clone();
        }
        let again = server.post(COMPLETIONS, &other).await;
        assert_eq!(tier(&again), "cache");
        assert_eq!(again.head.header("x-flambeau-cache"), Some("exact"));
        assert_eq!(said(&again.json()), said(&first.json()));
        let own = &again.json()["flambeau"];
        assert_eq!(
            (&own["tier"], &own["cache"]),
            (&json!("cache"), &json!("exact"))
        );
        assert_eq!(server.metric(&count("hits")).await, hits + 1.0);
        let after = server
            .metric("flambeau_generation_tokens_total{model=\"test\"}")
            .await;
        assert_eq!(after, generated);
    }
    assert_eq!(
        server
            .metric(r#"flambeau_answer_cache_entries{level="exact"}"#)
            .await,
        3.0
    );
}

#[tokio::test]
async fn streams_are_written_and_read_as_whole_answers_are() {
    let server = echo().start().await;
    let stream = json!({"stream": true, "stream_options": {"include_usage": true}});
    let body = request(json!({}));
    let texts = |events: &[String]| -> Vec<Value> {
        let chunks = events.iter().filter_map(|event| data(event));
        chunks.map(|chunk| chunk["choices"].clone()).collect()
    };
    let first = server
        .events(COMPLETIONS, &with(body.clone(), &stream))
        .await;
    let again = server
        .events(COMPLETIONS, &with(body.clone(), &stream))
        .await;
    assert_eq!(texts(&again), texts(&first));
    let who = |events: &[String]| data(&events[0]).unwrap()["flambeau"]["tier"].clone();
    assert_eq!(
        (who(&first), who(&again)),
        (json!("primary"), json!("cache"))
    );
    let whole = server.post(COMPLETIONS, &body).await;
    assert_eq!(tier(&whole), "cache");
    assert_eq!(whole.json()["choices"][0]["text"], "abc");
    // A chat of another endpoint that says the same.
    let messages = json!([{"role": "user", "content": "x"}]);
    let chat = json!({"messages": messages, "temperature": 0, "max_completion_tokens": 30, "stop": ["user"]});
    assert_eq!(tier(&server.post(CHAT, &chat).await), "primary");
    let translated = json!({"messages": messages, "temperature": 0, "max_tokens": 30, "stop_sequences": ["user"]});
    let reply = server.post("/v1/messages", &translated).await;
    assert_eq!(tier(&reply), "cache");
    assert_eq!(reply.json()["stop_sequence"], "user");
}

#[tokio::test]
async fn what_might_be_answered_otherwise_is_asked_again() {
    let server = echo().start().await;
    for more in [
        // Another answer is wanted, or would be drawn.
        json!({"cache": false}),
        json!({"temperature": 1}),
        // It was cut off.
        json!({"max_tokens": 2}),
        // It says more than what is kept.
        json!({"logprobs": 1}),
        json!({"n": 1, "best_of": 2, "seed": 1, "temperature": 1}),
    ] {
        for _ in 0..2 {
            assert_eq!(
                tier(&server.post(COMPLETIONS, request(more.clone())).await),
                "primary",
                "{more}"
            );
        }
    }
    // Each of these is another request.
    for more in [
        json!({}),
        json!({"max_tokens": 9}),
        json!({"prompt": [97, 98, IM_END]}),
        json!({"seed": 1}),
        json!({"stop": ["c"]}),
        json!({"frequency_penalty": 0.5}),
        json!({"model": "test", "min_tokens": 1}),
    ] {
        assert_eq!(
            tier(&server.post(COMPLETIONS, request(more.clone())).await),
            "primary",
            "{more}"
        );
        assert_eq!(
            tier(&server.post(COMPLETIONS, request(more.clone())).await),
            "cache",
            "{more}"
        );
    }
    let drawn = request(json!({"temperature": 1, "cache": true}));
    assert_eq!(tier(&server.post(COMPLETIONS, &drawn).await), "primary");
    assert_eq!(tier(&server.post(COMPLETIONS, &drawn).await), "cache");
    let reset = server.post("/admin/cache/reset", json!({})).await;
    assert_eq!(reset.json()["num_answers"], 8);
    assert_eq!(
        tier(&server.post(COMPLETIONS, request(json!({}))).await),
        "primary"
    );
    // Without the table nothing is kept, and the field says nothing.
    let server = Setup::echo().start().await;
    for _ in 0..2 {
        let reply = server
            .post(COMPLETIONS, request(json!({"cache": true})))
            .await;
        assert_eq!(tier(&reply), "primary");
    }
}

#[tokio::test]
async fn no_tenant_is_given_what_another_was() {
    let mut setup = echo();
    setup.options.api_keys = vec![ApiKey::new("a", "key-a"), ApiKey::new("b", "key-b")];
    let server = setup.start().await;
    let ask = async |key: &str| {
        let mut client = server.connect().await;
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", &*authorization)];
        let body = request(json!({})).to_string();
        client
            .send("POST", COMPLETIONS, &headers, body.as_bytes())
            .await
            .unwrap();
        tier(&client.reply().await.unwrap()).to_owned()
    };
    for (key, expected) in [
        ("key-a", "primary"),
        ("key-b", "primary"),
        ("key-a", "cache"),
        ("key-b", "cache"),
    ] {
        assert_eq!(ask(key).await, expected);
    }
}

#[tokio::test]
async fn what_is_kept_is_given_when_there_is_no_room_and_what_failed_is_not_kept() {
    let (mut setup, mut gate) = Setup::gated();
    setup.keeps_answers = true;
    (
        setup.engine.scheduler.max_num_seqs,
        setup.engine.max_waiting,
    ) = (1, 0);
    let server = setup.start().await;
    let body =
        json!({"prompt": "abc", "max_tokens": 2, "temperature": 0, "stop": ["~"]}).to_string();
    // A failure keeps nothing, and an answer that a stop string ended is kept.
    let mut client = server.send("POST", COMPLETIONS, &body).await;
    gate.begun().await;
    gate.decide(Act::Fail);
    assert_eq!(client.reply().await.unwrap().status(), 500);
    within(server.engine.drained()).await;
    let text = first_text(&server, &mut gate).await;
    within(server.engine.drained()).await;
    let stopped = json!({"prompt": "abc", "max_tokens": 8, "temperature": 0, "stop": [text]});
    let mut client = server.send("POST", COMPLETIONS, &stopped.to_string()).await;
    gate.pass().await;
    assert_eq!(tier(&client.reply().await.unwrap()), "primary");
    drained(&server, &mut gate).await;
    let long = json!({"prompt": "b", "max_tokens": 200}).to_string();
    let _held = server.send("POST", COMPLETIONS, &long).await;
    gate.begun().await;
    assert_eq!(
        server
            .post(COMPLETIONS, json!({"prompt": "x"}))
            .await
            .status(),
        429
    );
    assert_eq!(tier(&server.post(COMPLETIONS, &stopped).await), "cache");
}

#[tokio::test]
async fn what_another_tier_has_kept_it_gives_again_and_its_books_say_so() {
    let (mut setup, mut gate) = Setup::gated();
    (setup.keeps_answers, setup.echo_too) = (true, Some("other"));
    setup.tiers = Some((Duration::from_secs(20), StaticTexts::default()));
    setup.policy.fallback = true;
    (
        setup.engine.scheduler.max_num_seqs,
        setup.engine.max_waiting,
    ) = (1, 0);
    let server = setup.start().await;
    let long = json!({"prompt": "b", "max_tokens": 200, "fallback": false}).to_string();
    let _held = server.send("POST", COMPLETIONS, &long).await;
    gate.begun().await;
    let body = json!({"prompt": "abcXY", "temperature": 0, "stop": ["XY"]});
    assert_eq!(tier(&server.post(COMPLETIONS, &body).await), "fallback");
    let queries = r#"flambeau_prefix_cache_queries_total{model="other"}"#;
    let before = server.metric(queries).await;
    let again = server.post(COMPLETIONS, &body).await;
    assert_eq!(tier(&again), "cache");
    let said = again.json();
    assert_eq!(
        (&said["model"], &said["choices"][0]["text"]),
        (&json!("other"), &json!("abc"))
    );
    assert_eq!(again.head.header("x-flambeau-cache"), Some("exact"));
    assert_eq!(server.metric(queries).await, before);
}

#[tokio::test]
async fn what_a_model_said_before_is_said_again_while_it_is_left_alone() {
    let whole = Setup::fake(128).start().await;
    let asked = json!({"prompt": "abc", "max_tokens": 1, "temperature": 0});
    let text = whole.post(COMPLETIONS, &asked).await.json()["choices"][0]["text"].clone();
    let asked = json!({"prompt": "abc", "max_tokens": 8, "temperature": 0, "stop": [text]});
    let (mut setup, mut gate) = Setup::gated();
    setup.keeps_answers = true;
    setup.tiers = Some((Duration::from_secs(20), StaticTexts::default()));
    let mut log = logged(&mut setup);
    let server = setup.start().await;
    let mut client = server.send("POST", COMPLETIONS, &asked.to_string()).await;
    gate.pass().await;
    assert_eq!(tier(&client.reply().await.unwrap()), "primary");
    drained(&server, &mut gate).await;
    // A crash, after which nobody is asked for a while.
    let mut crashed = server
        .send("POST", COMPLETIONS, &json!({"prompt": "x"}).to_string())
        .await;
    gate.begun().await;
    gate.decide(Act::Panic);
    assert_eq!(crashed.reply().await.unwrap().status(), 500);
    let again = server.post(COMPLETIONS, &asked).await;
    assert_eq!(tier(&again), "cache");
    let line = async {
        loop {
            let line = log.recv().await.unwrap();
            if line["tier"] == "cache" {
                return line["fallback_cause"].clone();
            }
        }
    };
    assert_eq!(within(line).await, "unhealthy");
}

/// Waits until nothing is open. A step may have begun before it was known that nobody waits for it.
async fn drained(server: &Server, gate: &mut Gate) {
    loop {
        tokio::select! {
            () = server.engine.drained() => break,
            _ = gate.begun() => gate.decide(Act::Go),
        }
    }
}

/// What the model says first of "abc".
async fn first_text(server: &Server, gate: &mut Gate) -> String {
    let body = json!({"prompt": "abc", "max_tokens": 1, "temperature": 0}).to_string();
    let mut client = server.send("POST", COMPLETIONS, &body).await;
    gate.pass().await;
    let reply = client.reply().await.unwrap();
    reply.json()["choices"][0]["text"]
        .as_str()
        .unwrap()
        .to_owned()
}
