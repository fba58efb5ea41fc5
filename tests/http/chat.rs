//! `/v1/chat/completions`: what an answer looks like, whole and streamed.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::redact::{data, pieces, pretty, transcript};
use super::server::{CHAT, Setup};

/// A chat of one message; the echo answers "user\n" and the message, and stops where the message does.
fn chat(content: &str, fields: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": content}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn a_stream_is_framed_as_openai_frames_it() {
    let server = Setup::echo().start().await;
    let options = json!({"include_usage": true});
    let body = chat("Hi", json!({"stream": true, "stream_options": options}));
    assert_snapshot!(transcript(&server.events(CHAT, &body).await));
}

#[tokio::test]
async fn a_stream_without_options_holds_no_usage() {
    let server = Setup::echo().start().await;
    let body = chat("", json!({"stream": true, "max_tokens": 3}));
    assert_snapshot!(transcript(&server.events(CHAT, &body).await));
}

#[tokio::test]
async fn usage_comes_with_every_chunk_when_asked_for() {
    let server = Setup::echo().start().await;
    let options = json!({"include_usage": true, "continuous_usage_stats": true});
    let body = chat("Hi", json!({"stream": true, "stream_options": options}));
    let events = server.events(CHAT, &body).await;
    let usages: Vec<Value> = events
        .iter()
        .filter_map(|event| data(event)?.get("usage").cloned())
        .collect();
    // The role; "<|im_start|>" gives no chunk; "user\nHi", a character a token; "<|im_end|>"; and the total.
    let counts: Vec<u64> = usages
        .iter()
        .map(|usage| usage["completion_tokens"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [0, 2, 3, 4, 5, 6, 7, 8, 9, 9]);
    let prompt = "<user\nHi>\n<assistant\n".len() as u64;
    for usage in &usages {
        assert_eq!(usage["prompt_tokens"], prompt);
        let total = prompt + usage["completion_tokens"].as_u64().unwrap();
        assert_eq!(usage["total_tokens"], total);
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_holds_everything() {
    let server = Setup::echo().start().await;
    let reply = server.post(CHAT, chat("Hi", json!({}))).await;
    assert_eq!(reply.status(), 200);
    assert_snapshot!(pretty(reply.json()));
}

#[tokio::test]
async fn whole_and_streamed_answers_say_the_same() {
    let server = Setup::echo().start().await;
    for fields in [json!({}), json!({"max_tokens": 4}), json!({"stop": "Hi"})] {
        let whole = server.post(CHAT, chat("Hi, 日本!", fields.clone())).await;
        let whole = whole.json()["choices"][0].take();
        let mut body = chat("Hi, 日本!", fields);
        body["stream"] = true.into();
        let events = server.events(CHAT, &body).await;
        assert_eq!(pieces(&events).concat(), whole["message"]["content"]);
        let last = data(&events[events.len() - 2]).unwrap();
        assert_eq!(
            last["choices"][0]["finish_reason"], whole["finish_reason"],
            "{last}"
        );
        assert_eq!(events.last().unwrap(), "data: [DONE]");
    }
}

#[tokio::test]
async fn text_parts_are_one_text_and_every_role_is_rendered() {
    let server = Setup::echo().start().await;
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let messages = json!([
        {"role": "system", "content": parts},
        {"role": "user", "content": "c", "name": "n"},
        {"role": "assistant", "content": "d", "tool_calls": null},
    ]);
    let body = json!({"messages": messages, "ignore_eos": true, "max_tokens": 28, "skip_special_tokens": false});
    let reply = server.post(CHAT, body).await.json();
    assert_eq!(
        reply["choices"][0]["message"]["content"],
        "<|im_start|>system\nab<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assist"
    );
}

#[tokio::test]
async fn log_probabilities_have_the_chat_shape() {
    let server = Setup::echo().start().await;
    let fields = json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 3});
    let reply = server.post(CHAT, chat("", fields)).await;
    assert_snapshot!(pretty(reply.json()["choices"][0]["logprobs"].take()));

    let streamed = json!({"logprobs": true, "top_logprobs": 2, "max_tokens": 3, "stream": true});
    let events = server.events(CHAT, &chat("", streamed)).await;
    let parts = events
        .iter()
        .filter_map(|event| Some(data(event)?["choices"][0]["logprobs"]["content"].take()));
    let joined: Vec<Value> = parts
        .filter_map(|part| part.as_array().cloned())
        .flatten()
        .collect();
    assert_eq!(
        json!(joined),
        reply.json()["choices"][0]["logprobs"]["content"]
    );
}

#[tokio::test]
async fn up_to_twenty_alternatives_are_given_and_more_refused() {
    let server = Setup::echo().start().await;
    for count in [0, 1, 20] {
        let fields = json!({"logprobs": true, "top_logprobs": count, "max_tokens": 1});
        let reply = server.post(CHAT, chat("", fields)).await.json();
        let entry = &reply["choices"][0]["logprobs"]["content"][0];
        assert_eq!(entry["top_logprobs"].as_array().unwrap().len(), count);
    }
    let fields = json!({"logprobs": true, "top_logprobs": 21});
    let reply = server.post(CHAT, chat("", fields)).await;
    assert_eq!(reply.status(), 400);
    assert_eq!(reply.json()["error"]["param"], "top_logprobs");
}

#[tokio::test]
async fn null_is_absent_in_every_field() {
    let mut setup = Setup::echo();
    // The second answer would differ in what was cached.
    setup.engine.scheduler.prefix_cache = false;
    let server = setup.start().await;
    let plain = server.post(CHAT, chat("Hi", json!({}))).await;
    let names = "model stream stream_options max_tokens max_completion_tokens min_tokens temperature top_p top_k \
        min_p presence_penalty frequency_penalty repetition_penalty seed stop stop_token_ids ignore_eos logit_bias \
        skip_special_tokens include_stop_str_in_output return_tokens_as_token_ids return_token_ids user metadata \
        logprobs top_logprobs n response_format tools tool_choice functions reasoning_effort guided_json \
        prompt_logprobs deadline_ms priority service_tier store a_field_that_nobody_knows";
    let nulls = names
        .split_whitespace()
        .map(|name| (name.to_owned(), Value::Null));
    let reply = server.post(CHAT, chat("Hi", nulls.collect())).await;
    assert_eq!(pretty(reply.json()), pretty(plain.json()));
    let options = json!({"include_usage": null, "continuous_usage_stats": null});
    let body = chat("Hi", json!({"stream": true, "stream_options": options}));
    let events = server.events(CHAT, &body).await;
    assert!(!transcript(&events).contains("usage"));
}

#[tokio::test]
async fn answers_say_who_gave_them_and_how_long_it_took() {
    let server = Setup::echo().start().await;
    let reply = server.post(CHAT, chat("Hi", json!({}))).await;
    let header = |name: &str| reply.head.header(name).map(str::to_owned);
    assert_eq!(header("x-request-id").as_deref(), Some("test"));
    assert_eq!(header("x-flambeau-tier").as_deref(), Some("primary"));
    assert_eq!(header("x-flambeau-cache").as_deref(), Some("miss"));
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let body = reply.json()["flambeau"].take();
    let ms = |name: &str| body[name].as_f64().unwrap();
    let timing = format!(
        "queue;dur={}, prefill;dur={}, ttft;dur={}",
        ms("queue_ms"),
        ms("prefill_ms"),
        ms("ttft_ms")
    );
    assert_eq!(header("server-timing"), Some(timing));
    // Each is rounded to a microsecond.
    assert!(
        ms("queue_ms") + ms("prefill_ms") <= ms("ttft_ms") + 0.002,
        "{body}"
    );

    let body = chat("Hi", json!({"stream": true})).to_string();
    let mut client = server.send("POST", CHAT, &body).await;
    let head = client.head().await.unwrap();
    for (name, value) in [
        ("x-request-id", "test"),
        ("x-flambeau-tier", "primary"),
        // The first full block of the prompt is known from the request before.
        ("x-flambeau-cache", "prefix"),
        ("content-type", "text/event-stream; charset=utf-8"),
        ("cache-control", "no-cache"),
        ("x-accel-buffering", "no"),
    ] {
        assert_eq!(head.header(name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn a_request_id_is_made_where_none_or_a_strange_one_was_sent() {
    let server = Setup::echo().start().await;
    let long = "x".repeat(129);
    let mut ids = Vec::new();
    for headers in [
        vec![],
        vec![],
        vec![("x-request-id", "a b")],
        vec![("x-request-id", "")],
        vec![("x-request-id", long.as_str())],
    ] {
        let mut client = server.connect().await;
        client.send("GET", "/health", &headers, b"").await.unwrap();
        let head = client.head().await.unwrap();
        ids.push(head.header("x-request-id").unwrap().to_owned());
    }
    assert!(
        ids.iter()
            .all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
    );
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5);
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let server = Setup::echo().start().await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        let body = chat("Hi", json!({})).to_string();
        client
            .send("POST", CHAT, &[], body.as_bytes())
            .await
            .unwrap();
        let reply = client.reply().await.unwrap().json();
        assert_eq!(reply["choices"][0]["message"]["content"], "user\nHi");
        let body = chat("Hi", json!({"stream": true})).to_string();
        client
            .send("POST", CHAT, &[], body.as_bytes())
            .await
            .unwrap();
        assert_eq!(client.head().await.unwrap().status, 200);
        assert_eq!(pieces(&client.events().await.unwrap()).concat(), "user\nHi");
    }
}
