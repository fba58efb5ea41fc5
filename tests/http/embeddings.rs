//! Embeddings: vectors in every form, what does not fit the window, models that load late or fail, and their books.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use flambeau::engine::{Encoder, EncoderHandle, ExecutorError};
use flambeau::server::{EncoderLoader, LoadedEncoder};
use flambeau::text::EncoderTokenizer;
use serde_json::{Value, json};

use super::server::{CHAT, Server, Setup};

const PATH: &str = "/v1/embeddings";
const WINDOW: usize = 64;
const DIMENSION: usize = 8;
/// The word "rome".
pub(super) const PANICS: u32 = 85;

fn tokenizer() -> EncoderTokenizer {
    let json = include_bytes!("../data/embeddings/tiny/tokenizer.json");
    EncoderTokenizer::from_json(json).unwrap()
}

/// The vector that stands for some ids, special ones included: of length 1, and with every id in it.
fn vector(ids: &[u32]) -> Vec<f32> {
    let mut sums = [1.0f32; DIMENSION];
    for (i, id) in ids.iter().enumerate() {
        sums[(i + *id as usize) % DIMENSION] += *id as f32;
    }
    let norm = sums.iter().map(|x| x * x).sum::<f32>().sqrt();
    sums.map(|x| x / norm).to_vec()
}

/// Holds the steps of an encoder until it is dropped.
pub(super) struct Keeper {
    _go: mpsc::Sender<()>,
    pub(super) begun: tokio::sync::mpsc::UnboundedReceiver<()>,
}

pub(super) struct Gate {
    begun: tokio::sync::mpsc::UnboundedSender<()>,
    go: mpsc::Receiver<()>,
}

pub(super) fn gate() -> (Keeper, Gate) {
    let (keeper, go) = mpsc::channel();
    let (begin, begun) = tokio::sync::mpsc::unbounded_channel();
    let keeper = Keeper { _go: keeper, begun };
    (keeper, Gate { begun: begin, go })
}

/// Each step waits at the gate, where there is one.
struct Fake {
    gate: Option<Gate>,
}

impl Encoder for Fake {
    fn max_batch_tokens(&self) -> usize {
        512
    }

    fn encode(&mut self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ExecutorError> {
        if let Some(gate) = &self.gate {
            // Without its keeper it is open.
            let _ = gate.begun.send(());
            let _ = gate.go.recv();
        }
        assert!(
            !texts.iter().any(|text| text.contains(&PANICS)),
            "as the test asks"
        );
        Ok(texts.iter().map(|text| vector(text)).collect())
    }
}

pub(super) fn loader(gate: Option<Gate>) -> EncoderLoader {
    let gate = Mutex::new(gate);
    Box::new(move || {
        let gate = gate.lock().unwrap().take();
        Ok(loaded(Box::new(Fake { gate })))
    })
}

pub(super) fn loaded(encoder: Box<dyn Encoder>) -> LoadedEncoder {
    LoadedEncoder {
        tokenizer: tokenizer(),
        window: WINDOW,
        dimension: DIMENSION,
        encoder: EncoderHandle::spawn(encoder).unwrap(),
    }
}

async fn server() -> Server {
    Setup::echo().with_embeddings(loader(None)).start().await
}

/// What the fake makes of a text.
fn expected(text: &str) -> Vec<f32> {
    let tokenizer = tokenizer();
    vector(&tokenizer.framed(&tokenizer.encode(text).unwrap()))
}

fn vectors(body: &Value) -> Vec<Vec<f32>> {
    let data = body["data"].as_array().unwrap().iter().enumerate();
    let vector = |(i, item): (usize, &Value)| {
        assert_eq!(
            (&item["object"], &item["index"]),
            (&json!("embedding"), &json!(i))
        );
        let values = item["embedding"].as_array().unwrap().iter();
        values.map(|x| x.as_f64().unwrap() as f32).collect()
    };
    data.map(vector).collect()
}

fn normalised(vector: &[f32]) -> Vec<f32> {
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter().map(|x| x / norm).collect()
}

fn assert_near(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() < 1e-6, "{got} {want}");
    }
}

#[tokio::test]
async fn vectors_come_in_the_order_of_the_texts_whatever_form_those_have() {
    let server = server().await;
    let texts = ["paris", "the word", "paris"];
    let reply = server
        .post(PATH, json!({"model": "embedder", "input": texts}))
        .await;
    assert_eq!(reply.status(), 200);
    let body = reply.json();
    let want: Vec<Vec<f32>> = texts.iter().map(|text| expected(text)).collect();
    assert_eq!(vectors(&body), want);
    assert_eq!(
        body["usage"],
        json!({"prompt_tokens": 10, "total_tokens": 10})
    );
    assert_eq!(
        (&body["object"], &body["model"]),
        (&json!("list"), &json!("embedder"))
    );
    assert_eq!(body["flambeau"]["tier"], "primary");
    assert_eq!(reply.head.header("x-flambeau-tier"), Some("primary"));
    let one = server.post(PATH, json!({"input": "the word"})).await.json();
    assert_eq!(vectors(&one), want[1..2]);
    let ids = |text: &str| tokenizer().framed(&tokenizer().encode(text).unwrap());
    let by_ids = server
        .post(PATH, json!({"input": ids("paris")}))
        .await
        .json();
    assert_eq!(vectors(&by_ids), want[..1]);
    let lists = json!({"input": [ids("paris"), ids("the word"), "paris"], "user": "u"});
    assert_eq!(vectors(&server.post(PATH, lists).await.json()), want);
}

#[tokio::test]
async fn base64_holds_the_same_numbers() {
    use base64::Engine as _;
    let server = server().await;
    let body = json!({"input": "paris", "encoding_format": "base64"});
    let reply = server.post(PATH, body).await.json();
    let text = reply["data"][0]["embedding"].as_str().unwrap();
    let bytes = base64::prelude::BASE64_STANDARD.decode(text).unwrap();
    let values = bytes.as_chunks::<4>().0.iter();
    let values: Vec<f32> = values.map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(values, expected("paris"));
}

#[tokio::test]
async fn dimensions_are_the_first_values_at_length_1() {
    let server = server().await;
    let reply = server
        .post(PATH, json!({"input": "paris", "dimensions": 3}))
        .await;
    assert_near(
        &vectors(&reply.json())[0],
        &normalised(&expected("paris")[..3]),
    );
    let whole = server
        .post(PATH, json!({"input": "paris", "dimensions": DIMENSION}))
        .await;
    assert_eq!(vectors(&whole.json())[0], expected("paris"));
    let more = server
        .post(PATH, json!({"input": "paris", "dimensions": 9}))
        .await;
    assert_eq!(
        (more.status(), &more.json()["error"]["param"]),
        (400, &json!("dimensions"))
    );
}

#[tokio::test]
async fn a_text_beyond_the_window_is_refused_unless_it_says_what_is_to_become_of_it() {
    let server = server().await;
    let fits = "word ".repeat(WINDOW - 2);
    let long = "word ".repeat(WINDOW) + &"the ".repeat(WINDOW);
    let reply = server.post(PATH, json!({"input": [fits, long]})).await;
    assert_eq!(reply.status(), 400);
    let error = reply.json()["error"].take();
    assert_eq!(
        (&error["param"], &error["code"]),
        (&json!("input[1]"), &json!("context_length_exceeded"))
    );
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("has 130 tokens") && message.contains("window is 64"),
        "{message}"
    );

    let tokenizer = tokenizer();
    let own = tokenizer.encode(&long).unwrap();
    let mean = server
        .post(
            PATH,
            json!({"input": [fits, long], "long_input": "mean_of_chunks"}),
        )
        .await
        .json();
    // 128 tokens of their own are three parts of at most 62.
    let parts = [&own[..42], &own[42..85], &own[85..]].map(|part| tokenizer.framed(part));
    let mut want = vec![0.0; DIMENSION];
    for part in &parts {
        let weighted = vector(part).into_iter().map(|x| x * part.len() as f32);
        want.iter_mut().zip(weighted).for_each(|(sum, x)| *sum += x);
    }
    assert_near(&vectors(&mean)[1], &normalised(&want));
    assert_eq!(vectors(&mean)[0], expected(&fits));
    assert_eq!(mean["usage"]["prompt_tokens"], 64 + 128 + 6);

    for (asked, kept) in [(json!(-1), 62), (json!(12), 10)] {
        let cut = server
            .post(
                PATH,
                json!({"input": long, "truncate_prompt_tokens": asked}),
            )
            .await;
        assert_eq!(
            vectors(&cut.json())[0],
            vector(&tokenizer.framed(&own[..kept]))
        );
    }
}

#[tokio::test]
async fn a_bad_field_is_named() {
    let server = server().await;
    for (body, param) in [
        (json!({}), "input"),
        (json!({"input": []}), "input"),
        (json!({"input": ""}), "input"),
        (json!({"input": ["a", ""]}), "input[1]"),
        (json!({"input": 3}), "input"),
        (json!({"input": ["a", 3]}), "input[1]"),
        (json!({"input": [[1, "x"]]}), "input[0]"),
        (json!({"input": vec!["a"; 2049]}), "input"),
        (
            json!({"input": "a", "encoding_format": "int8"}),
            "encoding_format",
        ),
        (json!({"input": "a", "dimensions": 0}), "dimensions"),
        (json!({"input": "a", "long_input": "cut"}), "long_input"),
        (
            json!({"input": "a", "truncate_prompt_tokens": 65}),
            "truncate_prompt_tokens",
        ),
        (
            json!({"input": "a", "truncate_prompt_tokens": 1}),
            "truncate_prompt_tokens",
        ),
        (
            json!({"input": "a", "truncate_prompt_tokens": 9, "long_input": "mean_of_chunks"}),
            "truncate_prompt_tokens",
        ),
        (json!({"input": "a", "normalize": false}), "normalize"),
        (json!({"input": "a", "imput": 1}), "imput"),
        // Ids that another tokenizer gave are words that nobody meant.
        (json!({"input": [[5, 6]]}), "input[0]"),
        (json!({"input": [2, 9906, 3]}), "input"),
    ] {
        let reply = server.post(PATH, &body).await;
        assert_eq!(
            (reply.status(), &reply.json()["error"]["param"]),
            (400, &json!(param)),
            "{body}"
        );
    }
}

#[tokio::test]
async fn each_model_is_asked_at_its_own_endpoint() {
    let server = server().await;
    let wrong = server
        .post(PATH, json!({"input": "a", "model": "test"}))
        .await;
    assert_eq!(
        (wrong.status(), &wrong.json()["error"]["code"]),
        (404, &json!("model_not_found"))
    );
    let chat = json!({"model": "embedder", "messages": [{"role": "user", "content": "a"}]});
    assert_eq!(server.post(CHAT, chat).await.status(), 404);
    let models = server.get("/v1/models").await.json();
    let ids = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), ["test", "embedder"]);
    let without = Setup::echo()
        .start()
        .await
        .post(PATH, json!({"input": "a"}))
        .await;
    assert_eq!(without.status(), 404);
    assert!(without.text().contains("--embedding-model"));
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_tried_again_and_loaded_once() {
    let (loads, works) = (Arc::new(AtomicUsize::new(0)), loader(None));
    let counted = Arc::clone(&loads);
    let loader: EncoderLoader = Box::new(move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err("no network".into()),
        1 => panic!("as the test asks"),
        _ => works(),
    });
    let server = Setup::echo().with_embeddings(loader).start().await;
    for why in ["no network", "panicked"] {
        let reply = server.post(PATH, json!({"input": "a"})).await;
        assert_eq!(reply.status(), 503);
        assert!(reply.head.header("retry-after").is_some() && reply.text().contains(why));
    }
    for _ in 0..2 {
        assert_eq!(server.post(PATH, json!({"input": "a"})).await.status(), 200);
    }
    assert_eq!(loads.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn one_attempt_to_load_is_for_all_who_wait_and_who_leaves_is_booked() {
    let (go, gate) = mpsc::channel::<()>();
    let (loads, gate) = (Arc::new(AtomicUsize::new(0)), Mutex::new(gate));
    let counted = Arc::clone(&loads);
    let loader: EncoderLoader = Box::new(move || {
        if counted.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.lock().unwrap().recv().unwrap();
        }
        Err("no network".into())
    });
    let server = Setup::echo().with_embeddings(loader).start().await;
    let body = r#"{"input": "a"}"#;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(server.send("POST", PATH, body).await);
    }
    drop(server.send("POST", PATH, body).await);
    let cancelled =
        r#"flambeau_requests_total{model="embedder",tier="primary",outcome="cancelled"}"#;
    server.until(cancelled, 1.0).await;
    while loads.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    go.send(()).unwrap();
    for client in &mut clients {
        assert_eq!(client.reply().await.unwrap().status(), 503);
    }
    // Who came late began another one; nobody who waited did.
    assert!(loads.load(Ordering::SeqCst) < 8);
}

#[tokio::test]
async fn a_model_that_fails_fails_those_requests_alone_and_goes_on() {
    let server = server().await;
    let failed = server.post(PATH, json!({"input": "rome"})).await;
    assert_eq!(failed.status(), 500);
    assert!(failed.text().contains("the embedding model failed"));
    assert_eq!(
        server.post(PATH, json!({"input": "paris"})).await.status(),
        200
    );
}

#[tokio::test]
async fn more_than_can_wait_is_a_429_that_says_when_to_come_back() {
    let (keeper, gate) = gate();
    let server = Setup::echo()
        .with_embeddings(loader(Some(gate)))
        .start()
        .await;
    // A quarter of what may wait, less what the first step takes.
    let large = json!({"input": vec!["word ".repeat(WINDOW - 2); 2048]}).to_string();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(server.send("POST", PATH, &large).await);
    }
    // Four of them wait for the gate, the other one does not.
    let replies = clients.iter_mut().map(|client| Box::pin(client.reply()));
    let (refused, _, others) = futures_util::future::select_all(replies).await;
    let refused = refused.unwrap();
    assert_eq!(refused.status(), 429, "{}", refused.text());
    let after: u64 = refused.head.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&after));
    drop(keeper);
    for reply in others {
        assert_eq!(reply.await.unwrap().status(), 200);
    }
    let small = json!({"input": "a"});
    assert_eq!(server.post(PATH, small).await.status(), 200);
}

#[tokio::test]
async fn requests_are_booked_under_the_models_name() {
    let (mut keeper, gate) = gate();
    let server = Setup::echo()
        .with_embeddings(loader(Some(gate)))
        .start()
        .await;
    let outcome = |outcome: &str| {
        format!(r#"flambeau_requests_total{{model="embedder",tier="primary",outcome="{outcome}"}}"#)
    };
    assert_eq!(server.post(PATH, json!({"input": ""})).await.status(), 400);
    server.until(&outcome("rejected"), 1.0).await;
    let waiting = server.send("POST", PATH, r#"{"input": "a"}"#).await;
    keeper.begun.recv().await.unwrap();
    drop(waiting);
    server.until(&outcome("cancelled"), 1.0).await;
    drop(keeper);
    assert_eq!(
        server
            .post(PATH, json!({"input": ["paris", "the word"]}))
            .await
            .status(),
        200
    );
    server.until(&outcome("stop"), 1.0).await;
    let tokens = r#"flambeau_prompt_tokens_total{model="embedder"}"#;
    assert_eq!(server.metric(tokens).await, 7.0);
    for (name, count) in [("rejected", 1.0), ("cancelled", 1.0), ("error", 0.0)] {
        assert_eq!(server.metric(&outcome(name)).await, count, "{name}");
    }
    assert_eq!(server.metric(&Server::outcome("rejected")).await, 0.0);
}

#[tokio::test]
async fn a_server_that_shuts_down_takes_no_texts() {
    let server = server().await;
    server.engine.drain();
    assert_eq!(server.post(PATH, json!({"input": "a"})).await.status(), 503);
}
