//! What operators ask: health, readiness, metrics, models.

use std::collections::BTreeSet;
use std::time::Duration;

use insta::assert_snapshot;
use serde_json::json;

use super::gate::{Act, Step};
use super::redact::pretty;
use super::server::{CHAT, COMPLETIONS, Setup};

#[tokio::test]
async fn ready_means_that_a_token_was_really_generated() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let mut probe = server.send("GET", "/ready", "").await;
    let one_token = Step {
        num_sequences: 1,
        num_tokens: 1,
    };
    assert_eq!(gate.pass().await, one_token);
    assert_eq!(probe.reply().await.unwrap().status(), 200);
    // A recent token is trusted: this asks nothing of the engine, which the gate would hold.
    assert_eq!(server.get("/ready").await.status(), 200);
}

#[tokio::test]
async fn a_failed_probe_is_not_ready() {
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let mut probe = server.send("GET", "/ready", "").await;
    gate.begun().await;
    gate.decide(Act::Fail);
    let reply = probe.reply().await.unwrap();
    assert_eq!(reply.status(), 503);
    assert_snapshot!("probe_failed", pretty(reply.json()));
}

#[tokio::test]
async fn an_engine_that_hangs_is_not_ready_but_alive() {
    let (mut setup, mut gate) = Setup::gated();
    setup.options.ready_within = Duration::from_millis(5);
    let server = setup.start().await;
    let mut open = server
        .send("POST", COMPLETIONS, r#"{"prompt": "a", "max_tokens": 3}"#)
        .await;
    gate.begun().await;
    for _ in 0..3 {
        let reply = server.get("/ready").await;
        assert_eq!(reply.status(), 503);
        assert_snapshot!("hanging", pretty(reply.json()));
        assert_eq!(server.get("/health").await.status(), 200);
    }
    drop(gate);
    assert_eq!(open.reply().await.unwrap().status(), 200);
    assert_eq!(server.get("/ready").await.status(), 200);
}

#[tokio::test]
async fn probes_are_not_counted_as_requests() {
    let server = Setup::fake(128).start().await;
    assert_eq!(server.get("/ready").await.status(), 200);
    let metrics = server.get("/metrics").await;
    let requests = metrics
        .text()
        .lines()
        .filter(|line| line.starts_with("flambeau_requests_total"));
    assert!(requests.clone().count() > 0 && requests.clone().all(|line| line.ends_with(" 0")));
}

#[tokio::test]
async fn every_metric_is_there_with_its_type_and_bounded_labels() {
    let server = Setup::fake(128).start().await;
    let reply = server.post(COMPLETIONS, json!({"prompt": "a"})).await;
    assert_eq!(reply.status(), 200);
    let metrics = server.get("/metrics").await;
    assert_eq!(
        metrics.head.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    // One line a series; the buckets of a histogram are as good as its sum.
    let of_interest = |line: &&str| !line.is_empty() && !line.contains("_bucket{");
    let lines = metrics.text().lines().filter(of_interest);
    let shape: BTreeSet<&str> = lines
        .map(|line| match line.strip_prefix("# TYPE ") {
            Some(metric) => metric,
            None => line.rsplit_once(' ').unwrap().0,
        })
        .collect();
    let shape: Vec<&str> = shape.into_iter().collect();
    assert_snapshot!(shape.join("\n"));
}

#[tokio::test]
async fn buckets_reach_from_a_millisecond_to_minutes() {
    let server = Setup::fake(128).start().await;
    server.post(COMPLETIONS, json!({"prompt": "a"})).await;
    let metrics = server.get("/metrics").await;
    for prefix in ["flambeau_", "vllm:"] {
        let series = format!(r#"{prefix}time_to_first_token_seconds_bucket{{model="test",le=""#);
        let bounds: Vec<&str> = metrics
            .text()
            .lines()
            .filter_map(|line| line.strip_prefix(&series)?.split_once('"'))
            .map(|(bound, _)| bound)
            .collect();
        assert_eq!(bounds[..3], ["0.001", "0.002", "0.005"]);
        assert_eq!(bounds[bounds.len() - 2..], ["120", "+Inf"]);
    }
}

#[tokio::test]
async fn every_request_is_counted_once() {
    let server = Setup::echo().start().await;
    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let mut streamed = chat.clone();
    streamed["stream"] = true.into();
    server.post(CHAT, &chat).await;
    server.events(CHAT, &streamed).await;
    server
        .post(COMPLETIONS, json!({"prompt": "abc", "max_tokens": 1}))
        .await;
    server
        .post(COMPLETIONS, json!({"prompt": "abc", "n": 0}))
        .await;
    for prefix in ["flambeau", "vllm:"] {
        for name in [
            "time_to_first_token",
            "request_queue_time",
            "request_prefill_time",
            "request_decode_time",
            "e2e_request_latency",
        ] {
            let joint = if prefix == "flambeau" { "_" } else { "" };
            let count = format!(r#"{prefix}{joint}{name}_seconds_count{{model="test"}}"#);
            assert_eq!(server.metric(&count).await, 3.0, "{count}");
        }
    }
    // A chat's prompt is "<user\nHi>\n<assistant\n" with a token a letter; its answer "<user\nHi>".
    let (prompt, answer) = (21.0, 9.0);
    for (name, value) in [
        ("prompt_tokens_total", 2.0 * prompt + 3.0),
        ("generation_tokens_total", 2.0 * answer + 1.0),
        ("prefix_cache_queries_total", 2.0 * prompt + 3.0),
        // The second chat finds the only full block of the first.
        ("prefix_cache_hits_total", 16.0),
        ("cancelled_tokens_wasted_total", 0.0),
    ] {
        let series = format!(r#"flambeau_{name}{{model="test"}}"#);
        assert_eq!(server.metric(&series).await, value, "{series}");
    }
    let itl = r#"flambeau_inter_token_latency_seconds_count{model="test"}"#;
    // Both chats' answers have 9 tokens, whether or not each gives a chunk.
    assert_eq!(server.metric(itl).await, 2.0 * 8.0);
}

#[tokio::test]
async fn the_model_and_the_version_are_shown() {
    let server = Setup::echo().start().await;
    let models = server.get("/v1/models").await;
    assert_snapshot!(pretty(models.json()));
    assert_eq!(
        server.get("/version").await.json()["version"],
        env!("CARGO_PKG_VERSION")
    );
}

#[tokio::test]
async fn tokenize_and_detokenize_are_each_others_inverse() {
    let server = Setup::echo().start().await;
    let text = "Hé<|im_end|>";
    let reply = server
        .post(
            "/tokenize",
            json!({"prompt": text, "return_token_strs": true}),
        )
        .await;
    assert_snapshot!("tokenize", pretty(reply.json()));
    let tokens = reply.json()["tokens"].take();
    let reply = server.post("/detokenize", json!({"tokens": tokens})).await;
    assert_eq!(reply.json()["prompt"], text);
    let messages =
        json!({"messages": [{"role": "user", "content": "a"}], "add_generation_prompt": false});
    let reply = server.post("/tokenize", messages).await;
    let back = server
        .post("/detokenize", json!({"tokens": reply.json()["tokens"]}))
        .await;
    assert_eq!(back.json()["prompt"], "<|im_start|>user\na<|im_end|>\n");
}
