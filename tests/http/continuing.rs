//! Answers that have begun when their model fails, and that another one goes on with: at the wire.

use std::time::Duration;

use flambeau::gateway::StaticTexts;
use flambeau::text::Tokenizer;
use serde_json::{Value, json};

use super::byte_vocabulary;
use super::client::within;
use super::gate::{Act, Gate};
use super::redact::data;
use super::routing::logged;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

const OTHER: &str = "other";
const NUM_TOKENS: usize = 12;

/// `test`, held at a gate, and then `other`, which computes the same.
fn setup() -> (Setup, Gate) {
    let (mut setup, gate) = Setup::gated();
    setup.echo_too = Some(OTHER);
    setup.twin = Some(byte_vocabulary::tokenizer);
    setup.tiers = Some((Duration::from_secs(20), StaticTexts::default()));
    setup.policy.fallback = true;
    (setup, gate)
}

/// The same bytes, but for one that another id stands for.
fn other_tokens() -> Tokenizer {
    let mut vocab = byte_vocabulary::vocab();
    vocab.tokens.swap(1, 2);
    Tokenizer::from_gguf(vocab).unwrap()
}

fn completion(more: Value) -> Value {
    let mut body = json!({"prompt": "what it depends on", "max_tokens": NUM_TOKENS, "temperature": 0,
        "ignore_eos": true, "stream": true, "stream_options": {"include_usage": true}});
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body
}

/// What a server says that does not fail: of each choice.
async fn undisturbed(body: &Value, num_choices: usize) -> Vec<String> {
    let server = Setup::fake(128).start().await;
    let mut body = body.clone();
    body.as_object_mut().unwrap().remove("fallback");
    texts(
        &chunks(&server.events(COMPLETIONS, &body).await),
        num_choices,
    )
}

fn chunks(events: &[String]) -> Vec<Value> {
    events.iter().filter_map(|event| data(event)).collect()
}

fn texts(chunks: &[Value], num_choices: usize) -> Vec<String> {
    let mut texts = vec![String::new(); num_choices];
    for choice in chunks
        .iter()
        .flat_map(|chunk| chunk["choices"].as_array().into_iter().flatten())
    {
        texts[choice["index"].as_u64().unwrap() as usize] += choice["text"].as_str().unwrap();
    }
    texts
}

fn ends(chunks: &[Value]) -> Vec<&Value> {
    let choices = chunks
        .iter()
        .flat_map(|chunk| chunk["choices"].as_array().into_iter().flatten());
    choices
        .map(|choice| &choice["finish_reason"])
        .filter(|reason| !reason.is_null())
        .collect()
}

fn fallbacks() -> String {
    format!(r#"flambeau_fallbacks_total{{model="test",to="{OTHER}",cause="failed"}}"#)
}

/// Has the first model fail after `num_steps` steps; the events of the stream.
async fn failing_after(
    server: &Server,
    gate: &mut Gate,
    body: &Value,
    num_steps: usize,
    how: Act,
) -> Vec<String> {
    let mut client = server.send("POST", COMPLETIONS, &body.to_string()).await;
    for _ in 0..num_steps {
        gate.pass().await;
    }
    gate.begun().await;
    gate.decide(how);
    assert_eq!(client.head().await.unwrap().status, 200);
    client.events().await.unwrap()
}

#[tokio::test]
async fn an_answer_that_fails_goes_on_as_it_would_have_where_the_client_asked_for_that() {
    for (how, num_steps) in [(Act::Fail, 1), (Act::Panic, 5), (Act::Fail, NUM_TOKENS - 1)] {
        let (mut setup, mut gate) = setup();
        let mut log = logged(&mut setup);
        let server = setup.start().await;
        let body = completion(json!({"fallback": "continue"}));
        let events = failing_after(&server, &mut gate, &body, num_steps, how).await;
        let chunks = chunks(&events);
        assert_eq!(
            texts(&chunks, 1),
            undisturbed(&body, 1).await,
            "{num_steps}"
        );
        assert_eq!(ends(&chunks), ["length"]);
        assert_eq!(
            events
                .iter()
                .filter(|event| *event == "data: [DONE]")
                .count(),
            1
        );
        // The last says all, and so does the first that the other one gave.
        let said: Vec<&Value> = chunks
            .iter()
            .filter_map(|chunk| chunk.get("flambeau"))
            .collect();
        assert_eq!(said[0]["tier"], "primary");
        assert!(said[0].get("continued_by").is_none());
        for own in &said[1..] {
            assert_eq!(
                (&own["tier"], &own["continued_by"]),
                (&json!("fallback"), &json!(OTHER))
            );
        }
        assert_eq!(said.len(), 3);
        assert_eq!(
            chunks.last().unwrap()["usage"]["completion_tokens"],
            NUM_TOKENS
        );
        let line = within(log.recv()).await.unwrap();
        let said = ["model", "tier", "fallback_cause"].map(|key| line[key].as_str().unwrap());
        assert_eq!(said, [OTHER, "fallback", "failed"]);
        assert_eq!(line["completion_tokens"], NUM_TOKENS);
        assert_eq!(server.metric(&fallbacks()).await, 1.0);
        drop(gate);
        within(server.engine.drained()).await;
    }
}

#[tokio::test]
async fn choices_go_on_one_by_one_and_whole_answers_do_as_well() {
    let (setup, mut gate) = setup();
    let server = setup.start().await;
    let body = completion(json!({"fallback": "continue", "n": 3, "temperature": 1, "seed": 7}));
    let events = failing_after(&server, &mut gate, &body, 4, Act::Fail).await;
    assert_eq!(texts(&chunks(&events), 3), undisturbed(&body, 3).await);
    assert_eq!(ends(&chunks(&events)).len(), 3);
    // One request, whatever it asks for.
    assert_eq!(server.metric(&fallbacks()).await, 1.0);
    let chat = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 6, "ignore_eos": true,
        "temperature": 0, "fallback": "continue"});
    let mut client = server.send("POST", CHAT, &chat.to_string()).await;
    gate.pass().await;
    gate.begun().await;
    gate.decide(Act::Fail);
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["usage"]["completion_tokens"], 6);
    assert_eq!(body["flambeau"]["continued_by"], OTHER);
    drop(gate);
    let own = server.post(CHAT, &chat).await.json();
    assert_eq!(own["choices"][0]["message"], body["choices"][0]["message"]);
}

#[tokio::test]
async fn a_stop_string_that_two_models_write_ends_the_answer() {
    let body = completion(json!({"fallback": "continue"}));
    let whole = undisturbed(&body, 1).await.remove(0);
    let (setup, mut gate) = setup();
    let server = setup.start().await;
    let mut body = body;
    body["stop"] = whole[4..6].into();
    let events = failing_after(&server, &mut gate, &body, 5, Act::Fail).await;
    assert_eq!(texts(&chunks(&events), 1), [&whole[..4]]);
    assert_eq!(ends(&chunks(&events)), ["stop"]);
}

#[tokio::test]
async fn nobody_goes_on_who_was_not_asked_to_may_not_or_has_other_tokens() {
    for (fallback, may, tokens) in [
        (
            json!(true),
            true,
            byte_vocabulary::tokenizer as fn() -> Tokenizer,
        ),
        (json!("continue"), false, byte_vocabulary::tokenizer),
        (json!("continue"), true, other_tokens),
    ] {
        let (mut setup, mut gate) = setup();
        (setup.policy.fallback, setup.twin) = (may, Some(tokens));
        let server = setup.start().await;
        let body = completion(json!({"fallback": fallback}));
        let events = failing_after(&server, &mut gate, &body, 3, Act::Fail).await;
        let chunks = chunks(&events);
        let last = chunks.last().unwrap();
        assert!(last["error"]["message"].is_string(), "{last}");
        assert_eq!(server.metric(&fallbacks()).await, 0.0);
    }
}
