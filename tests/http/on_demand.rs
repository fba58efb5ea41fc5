//! A model that is loaded when it is needed and given back when it is not: at the wire.

use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use flambeau::engine::{Executor, ExecutorError, OnDemand};
use flambeau::gateway::StaticTexts;
use serde_json::{Value, json};

use super::client::within;
use super::gate::Act;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

/// What comes of each load, one after the other, as the test decides.
pub struct Loads {
    results: mpsc::Receiver<Result<(), &'static str>>,
    unload_after: Option<Duration>,
}

/// The test's side. Once it is dropped all loads succeed.
struct Loading(mpsc::Sender<Result<(), &'static str>>);

impl Loads {
    fn new(unload_after: Option<Duration>) -> (Loading, Self) {
        let (sender, results) = mpsc::channel();
        let loads = Self {
            results,
            unload_after,
        };
        (Loading(sender), loads)
    }

    /// Executors that `build` builds, once a load is let go.
    pub fn of(
        self,
        build: impl FnMut() -> Result<Box<dyn Executor>, ExecutorError> + Send + 'static,
    ) -> OnDemand {
        let build = Arc::new(Mutex::new(build));
        OnDemand {
            name: "test".into(),
            unload_after: self.unload_after,
            loader: Box::new(move || {
                if let Ok(Err(why)) = self.results.recv() {
                    return Err(ExecutorError(why.into()));
                }
                let build = Arc::clone(&build);
                Ok(Box::new(move || build.lock().unwrap()()))
            }),
        }
    }
}

impl Loading {
    fn ends(&self, result: Result<(), &'static str>) {
        self.0.send(result).unwrap();
    }
}

const A_MOMENT: Duration = Duration::from_millis(20);

fn setup(unload_after: Option<Duration>) -> (Setup, Loading) {
    let mut setup = Setup::fake(128);
    let (loading, loads) = Loads::new(unload_after);
    setup.on_demand = Some(loads);
    (setup, loading)
}

fn request() -> Value {
    json!({"prompt": "what depends on all of it", "max_tokens": 4, "temperature": 0})
}

async fn state(server: &Server) -> String {
    let models = server.get("/v1/models").await.json();
    models["data"][0]["state"].as_str().unwrap().to_owned()
}

async fn until(server: &Server, presence: &str) {
    within(async { while state(server).await != presence {} }).await;
}

async fn open_are(server: &Server, num: usize) {
    while server.engine.num_open() != num {
        server.get("/health").await;
    }
}

#[tokio::test]
async fn nothing_is_loaded_until_somebody_asks_and_all_who_ask_meanwhile_share_one_load() {
    let (setup, loading) = setup(None);
    let server = setup.start().await;
    assert_eq!(server.get("/ready").await.status(), 200);
    // What is wrong is told without loading anything.
    let wrong = server.post(COMPLETIONS, json!({"prompt": 1.5})).await;
    assert_eq!(wrong.status(), 400);
    assert_eq!(state(&server).await, "unloaded");
    let loaded = r#"flambeau_model_loaded{model="test"}"#;
    assert_eq!(server.metric(loaded).await, 0.0);
    let body = request().to_string();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(server.send("POST", COMPLETIONS, &body).await);
    }
    until(&server, "loading").await;
    open_are(&server, 3).await;
    // Readiness is no reason to wait for it.
    assert_eq!(server.get("/ready").await.status(), 200);
    loading.ends(Ok(()));
    for client in &mut waiting {
        assert_eq!(client.reply().await.unwrap().status(), 200);
    }
    assert_eq!(
        (state(&server).await.as_str(), server.num_builds()),
        ("loaded", 1)
    );
    assert_eq!(server.metric(loaded).await, 1.0);
}

#[tokio::test]
async fn what_was_not_asked_for_a_while_is_given_back_and_loaded_again_for_the_next() {
    let (mut setup, loading) = setup(Some(A_MOMENT));
    setup.options.ready_within = Duration::ZERO;
    let server = setup.start().await;
    (0..2).for_each(|_| loading.ends(Ok(())));
    let first = server.post(COMPLETIONS, request()).await.json();
    let watched = async {
        while state(&server).await != "unloaded" {
            // Who watches keeps nothing loaded.
            assert_eq!(server.get("/ready").await.status(), 200);
        }
    };
    within(watched).await;
    assert_eq!(server.engine.reset_cache().await.unwrap(), 0);
    let again = server.post(COMPLETIONS, request()).await.json();
    // The fake's memory is new: an answer from blocks that the old one wrote would be another.
    assert_eq!(first["choices"], again["choices"]);
    assert_eq!(again["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    assert_eq!(server.num_builds(), 2);
}

#[tokio::test]
async fn a_model_is_not_unloaded_under_a_request_that_takes_long() {
    let (mut setup, mut gate) = Setup::gated();
    let (loading, loads) = Loads::new(Some(Duration::from_millis(1)));
    setup.on_demand = Some(loads);
    let server = setup.start().await;
    drop(loading);
    let body = json!({"prompt": "abc", "max_tokens": 30}).to_string();
    let mut client = server.send("POST", COMPLETIONS, &body).await;
    for _ in 0..30 {
        gate.begun().await;
        // Longer than it may be idle.
        assert_eq!(state(&server).await, "loaded");
        gate.decide(Act::Go);
    }
    assert_eq!(client.reply().await.unwrap().status(), 200);
    assert_eq!(server.num_builds(), 1);
}

#[tokio::test]
async fn a_load_that_fails_is_told_to_all_who_wait_and_the_next_one_has_it_tried_again() {
    let (setup, loading) = setup(None);
    let server = setup.start().await;
    let body = request().to_string();
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(server.send("POST", COMPLETIONS, &body).await);
    }
    open_are(&server, 2).await;
    until(&server, "loading").await;
    loading.ends(Err("no room"));
    for client in &mut waiting {
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.status(), 503);
        let message = reply.json()["error"]["message"].to_string();
        assert!(
            message.contains("could not be loaded: no room"),
            "{message}"
        );
    }
    assert_eq!(state(&server).await, "unloaded");
    within(server.engine.drained()).await;
    loading.ends(Ok(()));
    assert_eq!(server.post(COMPLETIONS, request()).await.status(), 200);
}

#[tokio::test]
async fn who_leaves_while_it_loads_is_forgotten() {
    let (setup, loading) = setup(None);
    let server = setup.start().await;
    let client = server
        .send("POST", COMPLETIONS, &request().to_string())
        .await;
    until(&server, "loading").await;
    drop(client);
    open_are(&server, 0).await;
    loading.ends(Ok(()));
    until(&server, "loaded").await;
}

#[tokio::test]
async fn a_deadline_holds_while_it_loads_and_is_foreseen_once_it_is_known_how_long_that_takes() {
    let (setup, loading) = setup(Some(A_MOMENT));
    let server = setup.start().await;
    let mut hasty = request();
    hasty["deadline_ms"] = 200.into();
    // The first time nobody knows.
    assert_eq!(server.post(COMPLETIONS, &hasty).await.status(), 504);
    loading.ends(Ok(()));
    until(&server, "loaded").await;
    until(&server, "unloaded").await;
    let refused = server.post(COMPLETIONS, &hasty).await;
    assert_eq!(refused.status(), 429, "{}", refused.text());
    assert!(refused.head.header("retry-after").is_some());
    // It is loaded all the same, and kept for who comes back.
    loading.ends(Ok(()));
    until(&server, "loaded").await;
    assert_eq!(server.post(COMPLETIONS, &hasty).await.status(), 200);
    assert_eq!(server.num_builds(), 2);
}

#[tokio::test]
async fn while_the_first_model_loads_the_next_tier_answers() {
    let (mut setup, loading) = setup(None);
    setup.echo_too = Some("other");
    setup.tiers = Some((Duration::from_millis(50), StaticTexts::default()));
    setup.policy.fallback = true;
    let server = setup.start().await;
    let body = json!({"messages": [{"role": "user", "content": "x"}], "max_tokens": 4});
    let reply = server.post(CHAT, &body).await;
    assert_eq!(reply.head.header("x-flambeau-tier"), Some("fallback"));
    loading.ends(Ok(()));
    until(&server, "loaded").await;
    let reply = server.post(CHAT, &body).await;
    assert_eq!(reply.head.header("x-flambeau-tier"), Some("primary"));
}

#[tokio::test]
async fn an_executor_that_cannot_be_built_again_fails_its_requests_and_not_the_server() {
    let (mut setup, gate) = Setup::gated();
    let (loading, loads) = Loads::new(None);
    (setup.on_demand, setup.max_builds) = (Some(loads), 1);
    let server = setup.start().await;
    drop(loading);
    gate.decide(Act::Panic);
    assert_eq!(server.post(COMPLETIONS, request()).await.status(), 500);
    until(&server, "unloaded").await;
    let reply = server.post(COMPLETIONS, request()).await;
    assert_eq!(reply.status(), 503);
    assert!(
        reply.text().contains("the device is gone"),
        "{}",
        reply.text()
    );
    assert_eq!(server.get("/health").await.status(), 200);
}

#[tokio::test]
async fn a_server_that_stops_while_a_model_loads_leaves_nobody_waiting() {
    let (mut setup, _loading) = setup(None);
    setup.options.shutdown_timeout = A_MOMENT;
    let server = setup.start().await;
    let mut client = server
        .send("POST", COMPLETIONS, &request().to_string())
        .await;
    until(&server, "loading").await;
    let serving = server.shut_down();
    assert_eq!(client.reply().await.unwrap().status(), 503);
    within(serving).await.unwrap().unwrap();
}
