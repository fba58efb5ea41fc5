//! `/v1/completions`: prompts as text or ids, and what an answer looks like.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::redact::{data, pretty, transcript};
use super::server::{COMPLETIONS, IM_END, Setup};

/// "h", the end of a message, "i", the end of a message: what the echo answers, over and over.
fn hi() -> Value {
    json!([b'h', IM_END, b'i', IM_END])
}

async fn choice(body: Value) -> (Value, u64) {
    let server = Setup::echo().start().await;
    let reply = server.post(COMPLETIONS, &body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let mut json = reply.json();
    let count = json["usage"]["completion_tokens"].as_u64().unwrap();
    (json["choices"][0].take(), count)
}

#[tokio::test]
async fn a_stream_is_framed_as_openai_frames_it() {
    let server = Setup::echo().start().await;
    let body = json!({"prompt": "Hi", "max_tokens": 3, "stream": true, "stream_options": {"include_usage": true}});
    assert_snapshot!(transcript(&server.events(COMPLETIONS, &body).await));
}

#[tokio::test]
async fn an_answer_in_one_piece_holds_everything() {
    let server = Setup::echo().start().await;
    let reply = server.post(COMPLETIONS, json!({"prompt": "Hi"})).await;
    assert_snapshot!(pretty(reply.json()));
}

#[tokio::test]
async fn a_prompt_may_be_text_or_ids_or_a_list() {
    for prompt in [
        json!("Hi"),
        json!(["Hi"]),
        json!([72, 105]),
        json!([[72, 105]]),
    ] {
        let (choice, count) = choice(json!({"prompt": prompt, "max_tokens": 5})).await;
        assert_eq!(choice["text"], "HiHiH", "{prompt}");
        assert_eq!(count, 5);
    }
}

#[tokio::test]
async fn a_raw_prompt_may_spell_special_tokens() {
    let (choice, count) = choice(json!({"prompt": "a<|im_end|>"})).await;
    assert_eq!((choice["text"].as_str(), count), (Some("a"), 2));
    assert_eq!(choice["finish_reason"], "stop");
}

#[tokio::test]
async fn an_answer_ends_at_the_end_of_a_message_unless_told_to_go_on() {
    let (stopped, count) = choice(json!({"prompt": hi()})).await;
    assert_eq!((stopped["text"].as_str(), count), (Some("h"), 2));
    assert_eq!(stopped["finish_reason"], "stop");
    let (on, count) = choice(json!({"prompt": hi(), "ignore_eos": true, "max_tokens": 4})).await;
    assert_eq!((on["text"].as_str(), count), (Some("hi"), 4));
    assert_eq!(on["finish_reason"], "length");
}

#[tokio::test]
async fn min_tokens_puts_the_end_off() {
    // In place of the end the echo draws the next id, 0 after the last.
    let (choice, count) = choice(json!({"prompt": hi(), "min_tokens": 2})).await;
    assert_eq!((choice["text"].as_str(), count), (Some("h\0i"), 4));
    assert_eq!(choice["finish_reason"], "stop");
}

#[tokio::test]
async fn stop_token_ids_end_an_answer_and_are_not_part_of_it() {
    let fields = json!({"prompt": hi(), "ignore_eos": true, "stop_token_ids": [b'i']});
    let (choice, count) = choice(fields).await;
    assert_eq!((choice["text"].as_str(), count), (Some("h"), 3));
    assert_eq!(choice["finish_reason"], "stop");
}

#[tokio::test]
async fn special_tokens_are_shown_when_asked_for() {
    let fields =
        json!({"prompt": hi(), "ignore_eos": true, "max_tokens": 4, "skip_special_tokens": false});
    assert_eq!(choice(fields).await.0["text"], "h<|im_end|>i<|im_end|>");
}

#[tokio::test]
async fn token_ids_are_returned_with_every_choice() {
    let body = json!({"prompt": hi(), "return_token_ids": true});
    let (whole, _) = choice(body).await;
    assert_eq!(whole["prompt_token_ids"], hi());
    assert_eq!(whole["token_ids"], json!([b'h', IM_END]));

    let server = Setup::echo().start().await;
    let body = json!({"prompt": hi(), "return_token_ids": true, "stream": true});
    assert_snapshot!(transcript(&server.events(COMPLETIONS, &body).await));
}

#[tokio::test]
async fn log_probabilities_have_the_completions_shape() {
    let body = json!({"prompt": "né", "logprobs": 2, "max_tokens": 4});
    let (mut whole, _) = choice(body).await;
    assert_snapshot!(pretty(whole["logprobs"].take()));
    let body =
        json!({"prompt": "Hi", "logprobs": 1, "max_tokens": 2, "return_tokens_as_token_ids": true});
    let (mut as_ids, _) = choice(body).await;
    assert_snapshot!("log_probabilities_by_id", pretty(as_ids["logprobs"].take()));
}

#[tokio::test]
async fn streamed_log_probabilities_join_to_the_whole() {
    let server = Setup::echo().start().await;
    let body = json!({"prompt": "né", "logprobs": 2, "max_tokens": 4});
    let whole = server.post(COMPLETIONS, &body).await.json()["choices"][0]["logprobs"].take();
    let mut streamed = body;
    streamed["stream"] = true.into();
    let events = server.events(COMPLETIONS, &streamed).await;
    for list in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let parts = events
            .iter()
            .filter_map(|event| Some(data(event)?["choices"][0]["logprobs"][list].take()));
        let joined: Vec<Value> = parts
            .filter_map(|part| part.as_array().cloned())
            .flatten()
            .collect();
        assert_eq!(json!(joined), whole[list], "{list}");
    }
}

#[tokio::test]
async fn up_to_twenty_alternatives_are_given_and_more_refused() {
    for count in [0, 1, 20] {
        let body = json!({"prompt": "!", "logprobs": count, "max_tokens": 1});
        let top = choice(body).await.0["logprobs"]["top_logprobs"][0].take();
        assert_eq!(top.as_object().unwrap().len(), count);
    }
    let server = Setup::echo().start().await;
    let reply = server
        .post(COMPLETIONS, json!({"prompt": "!", "logprobs": 21}))
        .await;
    assert_eq!(reply.status(), 400);
    assert_eq!(reply.json()["error"]["param"], "logprobs");
}
