//! Answers that are recalled by questions like the one that was asked: what is found, by whom, and that nobody's answer changes.

use flambeau::engine::{Encoder, ExecutorError};
use flambeau::server::{ApiKey, EncoderLoader};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::client::within;
use super::embeddings::{PANICS, gate, loaded, loader};
use super::gate::{Act, Gate};
use super::server::{CHAT, COMPLETIONS, Server, Setup};

/// Texts are as near as the words that they have in common.
struct Words;

impl Encoder for Words {
    fn max_batch_tokens(&self) -> usize {
        512
    }

    fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ExecutorError> {
        let vector = |text: &&[u32]| {
            let mut counts = vec![0.0; 128];
            text.iter().for_each(|&id| counts[id as usize] += 1.0);
            counts
        };
        match texts.iter().any(|text| text.contains(&PANICS)) {
            true => Err(ExecutorError("as the test asks".into())),
            false => Ok(texts.iter().map(vector).collect()),
        }
    }
}

fn words() -> EncoderLoader {
    Box::new(|| Ok(loaded(Box::new(Words))))
}

/// A server that answers with the prompt.
fn echo() -> Setup {
    let mut setup = Setup::echo();
    setup.remembers = Some(words());
    setup
}

/// What is answered up to its "user".
fn chat(question: &str) -> Value {
    json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": question}], "stop": ["user"]})
}

fn with(mut body: Value, more: &Value) -> Value {
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body
}

fn count(what: &str) -> String {
    format!(r#"flambeau_answer_cache_{what}_total{{model="test",level="semantic"}}"#)
}

const ENTRIES: &str = r#"flambeau_answer_cache_entries{level="semantic"}"#;

/// A server whose every answer is a token that ends it, held at the gate.
async fn held(embedder: EncoderLoader) -> (Server, Gate) {
    let (mut setup, gate) = Setup::fake(24).hold();
    setup.remembers = Some(embedder);
    (setup.start().await, gate)
}

/// What is answered with a token that ends it.
fn brief(question: &str) -> Value {
    let all: Vec<u32> = (0..24).collect();
    let messages =
        json!([{"role": "system", "content": "s"}, {"role": "user", "content": question}]);
    json!({"messages": messages, "stop_token_ids": all})
}

/// Whether an answer was recalled, while the step waits that gives it.
async fn is_recalled((server, gate): &mut (Server, Gate), path: &str, body: &Value) -> bool {
    let (lookups, hits) = (count("lookups"), count("hits"));
    let (num_lookups, num_hits) = (server.metric(&lookups).await, server.metric(&hits).await);
    let mut client = server.send("POST", path, &body.to_string()).await;
    gate.begun().await;
    server.until(&lookups, num_lookups + 1.0).await;
    gate.decide(Act::Go);
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    within(server.engine.drained()).await;
    server.metric(&hits).await > num_hits
}

#[tokio::test]
async fn a_question_like_one_before_recalls_its_answer_where_all_else_is_the_same() {
    let mut held = held(words()).await;
    let asked = brief("the word of paris is a b c d e");
    assert!(!is_recalled(&mut held, CHAT, &asked).await);
    for near in [
        asked.clone(),
        with(asked.clone(), &json!({"user": "u", "priority": "batch"})),
        brief("The word of Rome is A, B, C, D, F!"),
    ] {
        assert!(is_recalled(&mut held, CHAT, &near).await, "{near}");
    }
    let messages = asked["messages"].as_array().unwrap();
    let (system, question) = (&messages[0], &messages[1]);
    let said = |role: &str| json!({"role": role, "content": "x"});
    for other in [
        brief("j j j j j j j j j j j j"),
        with(asked.clone(), &json!({"temperature": 1.0})),
        with(asked.clone(), &json!({"max_tokens": 200})),
        with(
            asked.clone(),
            &json!({"messages": [said("system"), question]}),
        ),
        with(
            asked.clone(),
            &json!({"messages": [system, said("user"), said("assistant"), question]}),
        ),
    ] {
        assert!(!is_recalled(&mut held, CHAT, &other).await, "{other}");
    }
    // One prompt of a completion is a question, too.
    let completion =
        |prompt: &str| json!({"prompt": prompt, "stop_token_ids": asked["stop_token_ids"]});
    assert!(!is_recalled(&mut held, COMPLETIONS, &completion("abcdefgh")).await);
    // No word in common, but the embedder finds it near.
    assert!(is_recalled(&mut held, COMPLETIONS, &completion("abcdefgi")).await);
    assert!(!is_recalled(&mut held, COMPLETIONS, &completion("qrstuvw")).await);
}

#[tokio::test]
async fn what_is_not_wanted_or_is_no_text_or_is_cut_off_is_not_remembered() {
    let server = echo().start().await;
    let part = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    for body in [
        with(chat("a"), &json!({"cache": false})),
        with(chat("a"), &json!({"max_tokens": 2})),
        with(
            chat("a"),
            &json!({"messages": [{"role": "user", "content": part}]}),
        ),
        chat(&"a ".repeat(1500)),
    ] {
        let reply = server.post(CHAT, &body).await;
        assert!(matches!(reply.status(), 200 | 400), "{}", reply.text());
    }
    server
        .post(COMPLETIONS, json!({"prompt": ["aX", "bX"], "stop": ["X"]}))
        .await;
    assert_eq!(server.metric(ENTRIES).await, 0.0);
    // It is forgotten with everything else.
    server.post(CHAT, chat("a")).await;
    assert_eq!(server.metric(ENTRIES).await, 1.0);
    let reset = server.post("/admin/cache/reset", "{}").await.json();
    assert_eq!(reset["num_answers"], 1);
    assert_eq!(server.metric(ENTRIES).await, 0.0);
}

#[tokio::test]
async fn tenants_recall_what_they_were_answered_themselves() {
    let mut setup = echo();
    setup.options.api_keys = vec![ApiKey::new("a", "key-a"), ApiKey::new("b", "key-b")];
    let server = setup.start().await;
    let ask = async |key: &str, question: &str| {
        let mut client = server.connect().await;
        let key = format!("Bearer {key}");
        let headers = [("authorization", key.as_str())];
        client
            .send(
                "POST",
                CHAT,
                &headers,
                chat(question).to_string().as_bytes(),
            )
            .await
            .unwrap();
        assert_eq!(client.reply().await.unwrap().status(), 200);
        client.send("GET", "/metrics", &headers, b"").await.unwrap();
        let metrics = client.reply().await.unwrap().text().to_owned();
        let hits = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&count("hits")));
        hits.map(|hits| hits.trim().parse::<f64>().unwrap())
    };
    for (key, hits) in [
        ("key-a", 0.0),
        ("key-b", 0.0),
        ("key-a", 1.0),
        ("key-b", 2.0),
    ] {
        assert_eq!(ask(key, "a b c").await, Some(hits), "{key}");
    }
}

#[tokio::test]
async fn nobody_waits_for_a_question_to_be_found() {
    let (mut keeper, encoder) = gate();
    let (server, mut gate) = held(loader(Some(encoder))).await;
    let mut ask = async |question: &str, begins: bool| {
        let body = brief(question).to_string();
        let mut client = server.send("POST", CHAT, &body).await;
        gate.begun().await;
        if begins {
            keeper.begun.recv().await.unwrap();
        }
        gate.decide(Act::Go);
        assert_eq!(client.reply().await.unwrap().status(), 200);
    };
    ask("abcdefgh", false).await;
    // The embedder is held while the answer comes.
    ask("abcdefgi", true).await;
    assert_eq!(server.metric(&count("lookups")).await, 1.0);
    drop(keeper);
    server.until(&count("lookups"), 2.0).await;
}

#[tokio::test]
async fn a_question_that_the_embedder_fails_at_stands_in_nobodys_way() {
    let mut held = held(words()).await;
    for (question, finds) in [
        ("rome", false),
        // It fails along with the one before, which nobody tries again.
        ("abcdefgh", false),
        ("abcdefgi", true),
    ] {
        let recalled = is_recalled(&mut held, CHAT, &brief(question)).await;
        assert_eq!(recalled, finds, "{question}");
    }
}

#[tokio::test]
async fn what_is_remembered_survives_a_restart_and_what_is_forgotten_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = async || {
        let (mut setup, gate) = Setup::fake(24).hold();
        setup.remembers = Some(words());
        setup.remembers_in = Some(folder.path().join("answers.db"));
        (setup.start().await, gate)
    };
    let asked = brief("the word of paris");
    let mut first = server().await;
    assert!(!is_recalled(&mut first, CHAT, &asked).await);
    drop(first.1);
    within(first.0.shut_down()).await.unwrap().unwrap();
    // The disk tells nobody what was asked.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(5).any(|bytes| bytes == b"paris"));
    }
    let mut second = server().await;
    assert_eq!(second.0.metric(ENTRIES).await, 1.0);
    let near = brief("the word of rome");
    assert!(is_recalled(&mut second, CHAT, &near).await);
    let reset = second.0.post("/admin/cache/reset", "{}").await.json();
    assert_eq!(reset["num_answers"], 2);
    drop(second.1);
    within(second.0.shut_down()).await.unwrap().unwrap();
    let third = server().await;
    assert_eq!(third.0.metric(ENTRIES).await, 0.0);
}

/// The `i`th of many questions: some are the same, most are near to some, in a few contexts.
fn question(i: usize) -> Value {
    let words = ["paris", "abc", "abd", "abe", "the", "word", "x"];
    let word = |n: usize| words[n % words.len()];
    let text: Vec<&str> = (0..4 + i % 5).map(|k| word(i / (1 + k * 3) + k)).collect();
    let system = format!("{}", i % 7);
    json!({
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": text.join(" ")}],
        "temperature": i % 3,
        "seed": i % 5,
        "max_tokens": 60,
        "stop_token_ids": [7],
        "return_token_ids": true,
    })
}

async fn answers(server: &Server, range: std::ops::Range<usize>) -> Vec<Value> {
    let asked = range.map(async |i| {
        let body = question(i).to_string();
        let reply = server
            .send("POST", CHAT, &body)
            .await
            .reply()
            .await
            .unwrap();
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()["choices"].take()
    });
    join_all(asked).await
}

#[tokio::test]
async fn ten_thousand_answers_are_what_they_are_without_it() {
    let plain = Setup::fake(24).start().await;
    let mut setup = Setup::fake(24);
    setup.remembers = Some(words());
    let remembering = setup.start().await;
    for start in (0..10_000).step_by(8) {
        let range = start..start + 8;
        let (without, with) = (
            answers(&plain, range.clone()).await,
            answers(&remembering, range).await,
        );
        assert_eq!(with, without, "from {start} on");
    }
    let hits = remembering.metric(&count("hits")).await;
    assert!(hits > 2000.0, "{hits} of 10,000 recalled an answer");
}
