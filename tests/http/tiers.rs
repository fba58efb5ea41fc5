//! Who answers when the model that was asked would be too late, or has failed: at the wire.

use std::time::{Duration, Instant};

use flambeau::gateway::{Policy, StaticText, StaticTexts};
use serde_json::{Value, json};

use super::client::{Reply, within};
use super::gate::{Act, Gate};
use super::redact::data;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

const OTHER: &str = "other";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const SLO: Duration = Duration::from_secs(20);

/// `test`, held at a gate, one request at a time and none waiting; then `other`.
fn tiers() -> (Setup, Gate) {
    let (mut setup, gate) = Setup::gated();
    setup.echo_too = Some(OTHER);
    setup.tiers = Some((SLO, StaticTexts::default()));
    setup.policy.fallback = true;
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 0;
    (setup, gate)
}

fn texts() -> StaticTexts {
    let text = |route: &str, text: &str| StaticText {
        route: route.into(),
        text: text.into(),
        languages: [("de".into(), "belegt".into())].into(),
    };
    StaticTexts::new(vec![text("*", "busy"), text(CHAT, "busy chatting")])
}

fn completion(more: Value) -> Value {
    let mut body = json!({"prompt": "abcd", "max_tokens": 4, "temperature": 0});
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body
}

fn chat(more: Value) -> Value {
    let mut body = completion(more);
    let fields = body.as_object_mut().unwrap();
    fields.remove("prompt");
    fields.insert("messages".into(), json!([{"role": "user", "content": "x"}]));
    body
}

/// A server whose first model has a request that it goes on with for as long as the gate is held.
async fn busy(setup: Setup, gate: &mut Gate) -> Server {
    let server = setup.start().await;
    let body = json!({"prompt": "ab", "max_tokens": 500, "ignore_eos": true, "fallback": false});
    let mut held = server.send("POST", COMPLETIONS, &body.to_string()).await;
    gate.begun().await;
    tokio::spawn(async move {
        let _ = held.reply().await;
    });
    server
}

fn fallbacks(to: &str, cause: &str) -> String {
    format!(r#"flambeau_fallbacks_total{{model="test",to="{to}",cause="{cause}"}}"#)
}

fn answered_by(model: &str, tier: &str) -> String {
    format!(r#"flambeau_requests_total{{model="{model}",tier="{tier}",outcome="length"}}"#)
}

fn assert_tier(reply: &Reply, tier: &str, model: &str) {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.head.header("x-flambeau-tier"), Some(tier));
    assert_eq!(reply.json()["model"], model);
    if let Some(own) = reply.json().get("flambeau") {
        assert_eq!(own["tier"], tier);
    }
}

#[tokio::test]
async fn a_request_that_finds_the_queue_full_is_answered_by_the_next_model_which_the_answer_and_metrics_say()
 {
    let (setup, mut gate) = tiers();
    let server = busy(setup, &mut gate).await;
    let reply = server.post(COMPLETIONS, completion(json!({}))).await;
    assert_tier(&reply, "fallback", OTHER);
    assert_eq!(reply.json()["choices"][0]["text"], "abcd");
    let events = server
        .events(COMPLETIONS, &completion(json!({"stream": true})))
        .await;
    let chunks: Vec<Value> = events.iter().filter_map(|event| data(event)).collect();
    assert_eq!(chunks[0]["flambeau"]["tier"], "fallback");
    assert!(chunks.iter().all(|chunk| chunk["model"] == OTHER));
    assert_eq!(server.metric(&fallbacks(OTHER, "queue_full")).await, 2.0);
    assert_eq!(server.metric(&answered_by(OTHER, "fallback")).await, 2.0);
    for (path, body) in [
        (CHAT, chat(json!({}))),
        (RESPONSES, json!({"input": "x", "max_output_tokens": 4})),
        (
            MESSAGES,
            json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 4}),
        ),
    ] {
        assert_tier(&server.post(path, body).await, "fallback", OTHER);
    }
}

#[tokio::test]
async fn nobody_else_answers_where_the_tenant_the_request_or_its_form_forbids_it() {
    let schema =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}});
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let (mut setup, mut gate) = tiers();
    setup.tiers = Some((SLO, texts()));
    setup.policy.may_be_static = true;
    let server = busy(setup, &mut gate).await;
    for body in [
        chat(json!({"fallback": false})),
        chat(json!({"response_format": schema})),
        chat(json!({"tools": [tool]})),
    ] {
        let reply = server.post(CHAT, body).await;
        assert_eq!(reply.status(), 429, "{}", reply.text());
        assert!(reply.head.header("retry-after").is_some());
    }
    for path in [RESPONSES, MESSAGES] {
        let mut body = json!({"fallback": false});
        match path {
            RESPONSES => body["input"] = "x".into(),
            _ => {
                body["messages"] = json!([{"role": "user", "content": "x"}]);
                body["max_tokens"] = 4.into();
            }
        }
        assert_eq!(server.post(path, body).await.status(), 429, "{path}");
    }
    for ids in [
        json!({"prompt": [65, 66]}),
        json!({"prompt": [[65], [66]]}),
        json!({"logit_bias": {"65": 1}}),
    ] {
        // They mean something else to another model.
        assert_eq!(
            server.post(COMPLETIONS, completion(ids)).await.status(),
            429
        );
    }
    // A model that is asked for by its own name is what answers.
    let own = server.post(COMPLETIONS, completion(json!({"model": OTHER})));
    assert_tier(&own.await, "primary", OTHER);

    let (mut setup, mut gate) = tiers();
    setup.policy = Policy::default();
    let server = busy(setup, &mut gate).await;
    let reply = server.post(COMPLETIONS, completion(json!({}))).await;
    assert_eq!(reply.status(), 429);
}

#[tokio::test]
async fn where_no_model_answers_a_text_does_in_the_language_asked_for_and_never_for_more_than_text()
{
    let (mut setup, mut gate) = tiers();
    setup.tiers = Some((SLO, texts()));
    setup.policy = Policy {
        may_be_static: true,
        ..Policy::default()
    };
    let server = busy(setup, &mut gate).await;
    let reply = server.post(COMPLETIONS, completion(json!({}))).await;
    assert_tier(&reply, "static", "static");
    assert_eq!(reply.json()["choices"][0]["text"], "busy");
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply.json()["usage"]["total_tokens"], 0);
    let reply = server.post(CHAT, chat(json!({"n": 1}))).await;
    assert_eq!(
        reply.json()["choices"][0]["message"]["content"],
        "busy chatting"
    );
    let german = [("accept-language", "fr;q=0.9, de-CH")];
    let client = server.connect().await;
    let body = chat(json!({})).to_string();
    client
        .send("POST", CHAT, &german, body.as_bytes())
        .await
        .unwrap();
    let mut client = client;
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.json()["choices"][0]["message"]["content"], "belegt");
    let events = server.events(CHAT, &chat(json!({"stream": true}))).await;
    let said: String = (events.iter().filter_map(|event| data(event)))
        .filter_map(|chunk| {
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(said, "busy chatting");
    for (path, body) in [
        (RESPONSES, json!({"input": "x"})),
        (
            MESSAGES,
            json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 4}),
        ),
    ] {
        assert_tier(&server.post(path, body).await, "static", "static");
    }
    let scored = completion(json!({"logprobs": 1}));
    assert_eq!(server.post(COMPLETIONS, scored).await.status(), 429);
    assert_eq!(server.metric(&fallbacks("static", "queue_full")).await, 6.0);
}

#[tokio::test]
async fn a_request_that_is_expected_too_late_is_answered_by_the_next_model() {
    let (mut setup, mut gate) = tiers();
    setup.engine.max_waiting = 8;
    setup.tiers = Some((Duration::from_millis(1000), StaticTexts::default()));
    let server = busy(setup, &mut gate).await;
    let slowly = async || {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(40) {
            server.get("/health").await;
        }
    };
    // Hundreds of steps are to go, and known to be slow once a few have been computed.
    for _ in 0..3 {
        slowly().await;
        gate.decide(Act::Go);
        gate.begun().await;
    }
    let body = completion(json!({})).to_string();
    let mut client = server.send("POST", COMPLETIONS, &body).await;
    while server.engine.num_open() < 2 {
        server.get("/health").await;
    }
    slowly().await;
    gate.decide(Act::Go);
    let reply = client.reply().await.unwrap();
    assert_tier(&reply, "fallback", OTHER);
    assert_eq!(
        server.metric(&fallbacks(OTHER, "predicted_ttft")).await,
        1.0
    );
}

#[tokio::test]
async fn a_model_that_fails_before_the_first_token_is_left_alone_until_a_probe_succeeds() {
    for stream in [false, true] {
        let (mut setup, mut gate) = tiers();
        setup.engine.max_waiting = 8;
        let server = setup.start().await;
        let body = completion(json!({"stream": stream})).to_string();
        let mut client = server.send("POST", COMPLETIONS, &body).await;
        gate.begun().await;
        gate.decide(Act::Panic);
        match stream {
            false => assert_tier(&client.reply().await.unwrap(), "fallback", OTHER),
            true => {
                assert_eq!(client.head().await.unwrap().status, 200);
                let events = client.events().await.unwrap();
                let text: String = (events.iter().filter_map(|event| data(event)))
                    .filter_map(|chunk| chunk["choices"][0]["text"].as_str().map(str::to_owned))
                    .collect();
                assert_eq!(text, "abcd");
            }
        }
        assert_eq!(server.metric(&fallbacks(OTHER, "failed")).await, 1.0);
        let circuit = r#"flambeau_circuit_open{model="test"}"#;
        assert_eq!(server.metric(circuit).await, 1.0);
        // Not even asked: the gate sees nothing of it.
        let reply = server.post(COMPLETIONS, completion(json!({}))).await;
        assert_tier(&reply, "fallback", OTHER);
        assert_eq!(server.metric(&fallbacks(OTHER, "unhealthy")).await, 1.0);
        // Who wants nobody else is put to it all the same.
        let mut forced = server
            .send(
                "POST",
                COMPLETIONS,
                &completion(json!({"fallback": false, "max_tokens": 1})).to_string(),
            )
            .await;
        gate.begun().await;
        gate.decide(Act::Fail);
        assert_eq!(forced.reply().await.unwrap().status(), 500);
        drop(gate);
        // The probe comes with a request, a second later at the earliest.
        let recovered = async {
            loop {
                let reply = server.post(COMPLETIONS, completion(json!({}))).await;
                if reply.json()["model"] == "test" {
                    break;
                }
            }
        };
        within(recovered).await;
        assert_eq!(server.metric(circuit).await, 0.0);
    }
}

#[tokio::test]
async fn after_the_first_token_a_failure_ends_the_answer_and_nobody_else_goes_on_with_it() {
    let (setup, mut gate) = tiers();
    let server = setup.start().await;
    let body = completion(json!({"stream": true})).to_string();
    let mut client = server.send("POST", COMPLETIONS, &body).await;
    gate.pass().await;
    gate.begun().await;
    gate.decide(Act::Panic);
    assert_eq!(client.head().await.unwrap().status, 200);
    let events = client.events().await.unwrap();
    let chunks: Vec<Value> = events.iter().filter_map(|event| data(event)).collect();
    let (failure, tokens) = chunks.split_last().unwrap();
    assert!(failure["error"]["message"].is_string(), "{failure}");
    assert!(!tokens.is_empty() && tokens.iter().all(|chunk| chunk["model"] == "test"));
    assert_eq!(events.last().unwrap(), "data: [DONE]");
    assert_eq!(server.metric(&fallbacks(OTHER, "failed")).await, 0.0);
    drop(gate);
}

#[tokio::test]
async fn a_model_whose_steps_hang_is_given_up_and_the_next_one_answers() {
    let (mut setup, mut gate) = tiers();
    setup.tiers = Some((Duration::from_millis(300), StaticTexts::default()));
    setup.options.keep_alive = Duration::from_millis(100);
    setup.options.ready_within = Duration::from_millis(300);
    let server = setup.start().await;
    // The headers of the stream have gone before it is given up: what follows is one answer all the same.
    let body = completion(json!({"stream": true})).to_string();
    let mut client = server.send("POST", COMPLETIONS, &body).await;
    gate.begun().await;
    let head = client.head().await.unwrap();
    // It is not known yet who is going to answer.
    assert_eq!((head.status, head.header("x-flambeau-tier")), (200, None));
    let events = client.events().await.unwrap();
    let chunks: Vec<Value> = events.iter().filter_map(|event| data(event)).collect();
    assert!(events[0].starts_with(": waiting"), "{events:?}");
    assert!(chunks.iter().all(|chunk| chunk["model"] == OTHER));
    assert_eq!(chunks[0]["flambeau"]["tier"], "fallback");
    assert_eq!(server.metric(&fallbacks(OTHER, "failed")).await, 1.0);
    // What it was asked for is cancelled there.
    drop(gate);
    within(server.engine.drained()).await;
}

#[tokio::test]
async fn nobody_is_sent_on_while_the_server_stops() {
    let (setup, mut gate) = tiers();
    let server = setup.start().await;
    let mut client = server
        .send("POST", COMPLETIONS, &completion(json!({})).to_string())
        .await;
    gate.begun().await;
    let engine = server.engine.clone();
    let serving = server.shut_down();
    while !engine.is_draining() {
        tokio::task::yield_now().await;
    }
    gate.decide(Act::Go);
    drop(gate);
    assert_eq!(client.reply().await.unwrap().json()["model"], "test");
    within(serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_crowd_whose_model_crashes_again_and_again_has_one_end_each_and_no_answer_of_two_models()
{
    const NUM_REQUESTS: usize = 120;
    let (mut setup, gate) = tiers();
    setup.engine.scheduler.max_num_seqs = 8;
    setup.engine.max_waiting = 200;
    let server = setup.start().await;
    // One step in eight crashes, of the first model alone, in no step with the requests; more than there are, were each to come alone.
    for i in 0..10_000_u64 {
        let is_crash = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 61 == 0;
        gate.decide(if is_crash && i > 2 {
            Act::Panic
        } else {
            Act::Go
        });
    }
    let mut clients = Vec::new();
    for i in 0..NUM_REQUESTS {
        let body = completion(json!({"prompt": format!("{i:04}"), "stream": true}));
        clients.push(server.send("POST", COMPLETIONS, &body.to_string()).await);
    }
    let (mut num_failed, mut num_fallbacks) = (0, 0);
    for (i, client) in clients.iter_mut().enumerate() {
        let head = within(client.head()).await.unwrap();
        assert_eq!(head.status, 200, "somebody else answers what has not begun");
        let events = within(client.events()).await.unwrap();
        let chunks: Vec<Value> = events.iter().filter_map(|event| data(event)).collect();
        let models: Vec<&Value> = chunks
            .iter()
            .filter_map(|chunk| chunk.get("model"))
            .collect();
        assert!(
            models.windows(2).all(|pair| pair[0] == pair[1]),
            "{events:?}"
        );
        let ends = |chunk: &&Value| {
            chunk.get("error").is_some() || chunk["choices"][0]["finish_reason"].is_string()
        };
        assert_eq!(chunks.iter().filter(ends).count(), 1, "{events:?}");
        assert_eq!(
            events
                .iter()
                .filter(|event| *event == "data: [DONE]")
                .count(),
            1
        );
        if models[0] == OTHER {
            let texts = chunks
                .iter()
                .filter_map(|chunk| chunk["choices"][0]["text"].as_str());
            assert_eq!(texts.collect::<String>(), format!("{i:04}"));
            num_fallbacks += 1;
        }
        num_failed += usize::from(chunks.iter().any(|chunk| chunk.get("error").is_some()));
    }
    // Only what had begun when a step crashed has failed: eight at once at the most.
    assert!(
        num_fallbacks > 0 && num_failed <= 8 * server.num_builds(),
        "{num_failed} failed"
    );
    drop(gate);
    let recovered = async {
        while server.post(COMPLETIONS, completion(json!({}))).await.json()["model"] != "test" {}
    };
    within(recovered).await;
}
