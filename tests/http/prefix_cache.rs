//! Common beginnings are computed once for each tenant, and answers say so.

use flambeau::server::ApiKey;
use serde_json::{Value, json};

use super::gate::Act;
use super::server::{COMPLETIONS, Server, Setup};

/// A token a letter: two full blocks and a part of a third.
const PROMPT: &str = "a prompt of forty-two letters, and no more";

/// The body of an answer to `prompt`.
async fn ask(server: &Server, key: &str, prompt: &str) -> Value {
    let body = json!({"prompt": prompt, "max_tokens": 2}).to_string();
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let mut client = server.connect().await;
    let body = body.as_bytes();
    client
        .send("POST", COMPLETIONS, &headers, body)
        .await
        .unwrap();
    let reply = client.reply().await.unwrap();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()
}

fn num_cached(answer: &Value) -> u64 {
    let details = &answer["usage"]["prompt_tokens_details"];
    details["cached_tokens"].as_u64().unwrap()
}

#[tokio::test]
async fn an_answer_says_how_much_of_its_prompt_was_cached() {
    let server = Setup::echo().start().await;
    let prompt = &PROMPT[..40];
    let cold = ask(&server, "", prompt).await;
    let warm = ask(&server, "", prompt).await;
    assert_eq!((num_cached(&cold), num_cached(&warm)), (0, 32));
    assert_eq!(cold["choices"], warm["choices"]);
    assert_eq!(cold["flambeau"]["cache"], "miss");
    assert_eq!(warm["flambeau"]["cache"], "prefix");
    // A prompt that differs within its second block takes the beginning of that block, too.
    let changed = format!("{}XYZ", &prompt[..25]);
    assert_eq!(num_cached(&ask(&server, "", &changed).await), 25);
    let series = r#"flambeau_prefix_cache_hits_total{model="test"}"#;
    assert_eq!(server.metric(series).await, 57.0);
}

#[tokio::test]
async fn tenants_share_nothing_and_the_keys_of_one_tenant_everything() {
    let mut setup = Setup::echo();
    setup.options.api_keys = vec![
        ApiKey::new("one", "key-1"),
        ApiKey::new("two", "key-2"),
        ApiKey::new("one", "key-3"),
    ];
    let server = setup.start().await;
    let mut cached = Vec::new();
    for key in ["key-1", "key-2", "key-3", "key-2"] {
        cached.push(num_cached(&ask(&server, key, PROMPT).await));
    }
    assert_eq!(cached, [0, 0, 32, 32]);
}

#[tokio::test]
async fn a_reset_forgets_everything_and_needs_a_key() {
    let mut setup = Setup::echo();
    setup.options.api_keys = vec![ApiKey::new("one", "key-1")];
    let server = setup.start().await;
    ask(&server, "key-1", PROMPT).await;
    assert_eq!(server.post("/admin/cache/reset", "").await.status(), 401);
    assert_eq!(num_cached(&ask(&server, "key-1", PROMPT).await), 32);
    for num_blocks in [2, 0] {
        let mut client = server.connect().await;
        let headers = [("authorization", "Bearer key-1")];
        client
            .send("POST", "/admin/cache/reset", &headers, b"")
            .await
            .unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!(
            (reply.status(), reply.json()),
            (200, json!({"num_blocks": num_blocks, "num_answers": 0}))
        );
    }
    assert_eq!(num_cached(&ask(&server, "key-1", PROMPT).await), 0);
}

#[tokio::test]
async fn without_the_cache_every_prompt_is_computed() {
    let mut setup = Setup::echo();
    setup.engine.scheduler.prefix_cache = false;
    let server = setup.start().await;
    for _ in 0..2 {
        assert_eq!(num_cached(&ask(&server, "", PROMPT).await), 0);
    }
}

#[tokio::test]
async fn what_a_failed_or_crashed_step_was_to_compute_is_not_found() {
    for act in [Act::Fail, Act::Panic] {
        let (setup, gate) = Setup::gated();
        let server = setup.start().await;
        gate.decide(act);
        let failed = json!({"prompt": PROMPT, "max_tokens": 2});
        assert_eq!(server.post(COMPLETIONS, failed).await.status(), 500);
        drop(gate);
        for cached in [0, 32] {
            assert_eq!(num_cached(&ask(&server, "", PROMPT).await), cached);
        }
    }
}

#[tokio::test]
async fn what_a_crashed_executor_held_is_forgotten() {
    let (setup, gate) = Setup::gated();
    let server = setup.start().await;
    (0..2).for_each(|_| gate.decide(Act::Go));
    ask(&server, "", PROMPT).await;
    gate.decide(Act::Panic);
    let crashed = json!({"prompt": "another", "max_tokens": 2});
    assert_eq!(server.post(COMPLETIONS, crashed).await.status(), 500);
    drop(gate);
    assert_eq!(num_cached(&ask(&server, "", PROMPT).await), 0);
}
