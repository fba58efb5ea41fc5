//! Several answers to one request: choices, prompts, the best of some; and prompts that are scored.

use std::collections::BTreeMap;

use flambeau::request::{DEFAULT_TENANT, GenerateRequest, Priority, SamplingParams, StopCriteria};
use serde_json::{Value, json};

use super::redact::data;
use super::server::{CHAT, COMPLETIONS, Setup};

/// What each choice of a stream says, by its index, and how it ended.
fn joined(events: &[Value]) -> BTreeMap<u64, (String, Value)> {
    let mut choices: BTreeMap<u64, (String, Value)> = BTreeMap::new();
    for choice in events
        .iter()
        .flat_map(|event| event["choices"].as_array().unwrap())
    {
        let entry = choices
            .entry(choice["index"].as_u64().unwrap())
            .or_default();
        let text = choice["text"]
            .as_str()
            .or(choice["delta"]["content"].as_str());
        entry.0.push_str(text.unwrap_or(""));
        assert!(entry.1.is_null(), "nothing follows the end of a choice");
        entry.1 = choice["finish_reason"].clone();
    }
    choices
}

fn chunks(events: &[String]) -> Vec<Value> {
    assert_eq!(events.last().map(String::as_str), Some("data: [DONE]"));
    events.iter().filter_map(|event| data(event)).collect()
}

fn endless() -> GenerateRequest {
    GenerateRequest {
        num_begun: 0,
        recalled: None,
        prompt_logprobs: None,
        constraint: None,
        adapter: None,
        tenant: DEFAULT_TENANT.into(),
        priority: Priority::Standard,
        deadline: None,
        prompt: vec![97],
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens: 500,
            ..StopCriteria::default()
        },
    }
}

fn texts(reply: &Value, key: impl Fn(&Value) -> &Value) -> Vec<String> {
    let choices = reply["choices"].as_array().unwrap();
    let text = |choice| key(choice).as_str().unwrap().to_owned();
    assert!((choices.iter().enumerate()).all(|(i, choice)| choice["index"] == i));
    choices.iter().map(text).collect()
}

#[tokio::test]
async fn choices_differ_and_each_is_what_it_is_whoever_is_beside_it() {
    let server = Setup::fake(128).start().await;
    let body = |n: u64, stream: bool| json!({"messages": [{"role": "user", "content": "Hi"}], "n": n, "seed": 7, "temperature": 1, "max_tokens": 6, "stream": stream});
    let four = server.post(CHAT, body(4, false)).await.json();
    let all = texts(&four, |choice| &choice["message"]["content"]);
    assert_eq!(all.len(), 4);
    assert!((1..4).all(|i| all[i] != all[0]), "{all:?}");
    let two = server.post(CHAT, body(2, false)).await.json();
    assert_eq!(
        texts(&two, |choice| &choice["message"]["content"]),
        all[..2]
    );
    let streamed = joined(&chunks(&server.events(CHAT, &body(4, true)).await));
    let streamed: Vec<_> = streamed.into_values().map(|(text, _)| text).collect();
    assert_eq!(streamed, all);
    // The prompt counts once, every choice's tokens count.
    assert_eq!(four["usage"]["completion_tokens"], 24);
    assert_eq!(
        four["usage"]["prompt_tokens"],
        two["usage"]["prompt_tokens"]
    );
}

#[tokio::test]
async fn every_prompt_of_a_list_is_answered_in_its_place() {
    let server = Setup::echo().start().await;
    let body = json!({"prompt": ["ab", "xyz", [113]], "n": 2, "max_tokens": 4});
    let reply = server.post(COMPLETIONS, &body).await.json();
    let expected = ["abab", "abab", "xyzx", "xyzx", "qqqq", "qqqq"];
    assert_eq!(texts(&reply, |choice| &choice["text"]), expected);
    assert_eq!(reply["usage"]["prompt_tokens"], 6);
    assert_eq!(reply["usage"]["completion_tokens"], 24);
    let stream = json!({"prompt": ["ab", "xyz", [113]], "n": 2, "max_tokens": 4, "stream": true});
    let streamed = joined(&chunks(&server.events(COMPLETIONS, &stream).await));
    assert!(streamed.values().map(|(text, _)| text).eq(&expected));
    assert!(streamed.values().all(|(_, finish)| finish == "length"));
    // `/metrics` counts what was counted for the client, both times.
    let total = |name: &str| format!("flambeau_{name}_tokens_total{{model=\"test\"}}");
    assert_eq!(server.metric(&total("prompt")).await, 12.0);
    assert_eq!(server.metric(&total("generation")).await, 48.0);
}

#[tokio::test]
async fn the_best_of_some_are_the_likeliest_and_cannot_be_streamed() {
    let server = Setup::fake(128).start().await;
    let body =
        json!({"prompt": "Hi", "n": 2, "best_of": 5, "max_tokens": 3, "temperature": 1, "seed": 1});
    let reply = server.post(COMPLETIONS, &body).await.json();
    let shown = reply["choices"].as_array().unwrap();
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0]["logprobs"], Value::Null);
    let all = json!({"prompt": "Hi", "n": 5, "max_tokens": 3, "temperature": 1, "seed": 1, "logprobs": 0});
    let all = server.post(COMPLETIONS, &all).await.json();
    let mut all = all["choices"].as_array().unwrap().clone();
    let score = |choice: &Value| -> f64 {
        let scores = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        scores.iter().map(|score| score.as_f64().unwrap()).sum()
    };
    all.sort_by(|a, b| score(b).total_cmp(&score(a)));
    assert!(score(&all[0]) > score(&all[4]));
    let texts = |choices: &[Value]| -> Vec<Value> {
        choices
            .iter()
            .map(|choice| choice["text"].clone())
            .collect()
    };
    assert_eq!(texts(shown), texts(&all[..2]));
    assert_eq!(reply["usage"]["completion_tokens"], 15);
    for (fields, param) in [
        (json!({"n": 3, "best_of": 2}), "best_of"),
        (json!({"best_of": 2, "stream": true}), "best_of"),
        (json!({"n": 0}), "n"),
        (json!({"n": 129}), "n"),
        (json!({"prompt": vec!["a"; 50], "n": 3}), "prompt"),
        (json!({"prompt": []}), "prompt"),
        (json!({"prompt": ["a", 1]}), "prompt[1]"),
    ] {
        let mut body = json!({"prompt": "Hi", "max_tokens": 2});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let reply = server.post(COMPLETIONS, &body).await;
        assert_eq!(reply.status(), 400, "{fields}");
        assert_eq!(reply.json()["error"]["param"], param, "{}", reply.text());
    }
}

#[tokio::test]
async fn an_echo_stands_before_the_answer_with_its_scores() {
    let server = Setup::echo().start().await;
    let body = json!({"prompt": "abc", "max_tokens": 2, "echo": true, "logprobs": 1});
    let reply = server.post(COMPLETIONS, &body).await.json();
    let choice = &reply["choices"][0];
    assert_eq!(choice["text"], "abcab");
    assert_eq!(
        choice["logprobs"]["tokens"],
        json!(["a", "b", "c", "a", "b"])
    );
    assert_eq!(
        choice["logprobs"]["token_logprobs"],
        json!([null, -0.5, -0.5, -0.5, -0.5])
    );
    assert_eq!(choice["logprobs"]["top_logprobs"][0], Value::Null);
    assert_eq!(choice["logprobs"]["text_offset"], json!([0, 1, 2, 3, 4]));
    assert_eq!(choice.get("prompt_logprobs"), None);
    assert_eq!(reply["usage"]["completion_tokens"], 2);
    let stream =
        json!({"prompt": ["abc", [100, 101]], "max_tokens": 2, "echo": true, "stream": true});
    let streamed = joined(&chunks(&server.events(COMPLETIONS, &stream).await));
    assert!(
        streamed
            .values()
            .map(|(text, _)| text)
            .eq(["abcab", "dede"])
    );
}

#[tokio::test]
async fn a_prompt_is_scored_in_vllms_shape_however_long_and_whatever_is_cached() {
    let server = Setup::echo().start().await;
    let prompt: Vec<u32> = (0..150).map(|i| 97 + i % 20).collect();
    let body = json!({"prompt": prompt, "max_tokens": 1, "prompt_logprobs": 1});
    for _ in 0..2 {
        let reply = server.post(COMPLETIONS, &body).await.json();
        let scores = reply["choices"][0]["prompt_logprobs"].as_array().unwrap();
        assert_eq!((scores.len(), &scores[0]), (150, &Value::Null));
        for (i, score) in scores.iter().enumerate().skip(1) {
            let own = &score[prompt[i].to_string()];
            assert_eq!(own["logprob"], -0.5, "{i}: {score}");
            assert_eq!(own["rank"], 1);
            assert_eq!(own["decoded_token"], String::from(prompt[i] as u8 as char));
        }
        assert_eq!(reply["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    }
    // Long ones together, each scored once for all its choices.
    let other: Vec<u32> = (0..400).map(|i| 97 + i % 7).collect();
    let body = json!({"prompt": [prompt, other], "n": 2, "max_tokens": 1, "prompt_logprobs": 0});
    let reply = server.post(COMPLETIONS, &body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    for (i, choice) in reply.json()["choices"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let scores = choice["prompt_logprobs"].as_array().unwrap();
        assert_eq!(scores.len(), [150, 400][i / 2]);
        assert!(
            scores[1..]
                .iter()
                .all(|score| score.as_object().unwrap().len() == 1)
        );
    }
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let body = json!({"messages": messages, "prompt_logprobs": 0, "max_tokens": 1});
    let reply = server.post(CHAT, &body).await.json();
    let count = reply["usage"]["prompt_tokens"].as_u64().unwrap() as usize;
    assert_eq!(reply["prompt_logprobs"].as_array().unwrap().len(), count);
    let streamed = json!({"messages": messages, "prompt_logprobs": 0, "stream": true});
    let reply = server.post(CHAT, &streamed).await;
    assert_eq!(
        (reply.status(), reply.json()["error"]["param"].clone()),
        (400, json!("prompt_logprobs"))
    );
}

#[tokio::test]
async fn a_request_whose_choices_find_no_place_is_refused_whole() {
    let (mut setup, _gate) = Setup::gated();
    setup.engine.max_waiting = 1;
    let server = setup.start().await;
    let body = json!({"prompt": "abc", "n": 66, "max_tokens": 3});
    let reply = server.post(COMPLETIONS, &body).await;
    assert_eq!(
        (reply.status(), &reply.json()["error"]["param"]),
        (400, &json!("n"))
    );
    let place = server.engine.submit(endless()).unwrap();
    let body = json!({"prompt": "abc", "n": 65, "max_tokens": 3});
    let reply = server.post(COMPLETIONS, &body).await;
    assert_eq!(reply.status(), 429, "{}", reply.text());
    assert_eq!(server.engine.num_open(), 1);
    drop(place);
}
