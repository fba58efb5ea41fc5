//! Every field that can be wrong is refused by name, with a message that says what would be right.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::redact::pretty;
use super::server::{CHAT, COMPLETIONS, Server, Setup};

/// Fields of both endpoints, wrong, and the `param` of the error.
const SHARED: &[(&str, &str)] = &[
    (r#""model": 5"#, "model"),
    (r#""temprature": 1"#, "temprature"),
    (r#""qqqqqqqq": 1"#, "qqqqqqqq"),
    (r#""temperature": "hot""#, "temperature"),
    (r#""temperature": -0.1"#, "temperature"),
    (r#""temperature": 1e39"#, "temperature"),
    (r#""temperature": [1]"#, "temperature"),
    (r#""top_p": 0"#, "top_p"),
    (r#""top_p": 1.01"#, "top_p"),
    (r#""top_p": true"#, "top_p"),
    (r#""top_k": -2"#, "top_k"),
    (r#""top_k": 1.5"#, "top_k"),
    (r#""top_k": 4294967296"#, "top_k"),
    (r#""min_p": 2"#, "min_p"),
    (r#""presence_penalty": 2.1"#, "presence_penalty"),
    (r#""frequency_penalty": -3"#, "frequency_penalty"),
    (r#""repetition_penalty": 0"#, "repetition_penalty"),
    (r#""repetition_penalty": -1"#, "repetition_penalty"),
    (r#""seed": 1.5"#, "seed"),
    (r#""seed": 1e30"#, "seed"),
    (r#""seed": "x""#, "seed"),
    (r#""max_tokens": 0"#, "max_tokens"),
    (r#""max_tokens": -1"#, "max_tokens"),
    (r#""max_tokens": 1.5"#, "max_tokens"),
    (r#""max_tokens": "5""#, "max_tokens"),
    (r#""max_tokens": 18446744073709551615"#, "max_tokens"),
    (r#""max_tokens": 99999999999999999999"#, "max_tokens"),
    (r#""min_tokens": -1"#, "min_tokens"),
    (r#""min_tokens": 9223372036854775807"#, "min_tokens"),
    (r#""max_tokens": 5, "min_tokens": 6"#, "min_tokens"),
    (r#""stop": 5"#, "stop"),
    (r#""stop": [1]"#, "stop"),
    (r#""stop": """#, "stop"),
    (r#""stop": ["a", ""]"#, "stop"),
    (
        r#""stop": ["","","","","","","","","","","","","","","","",""]"#,
        "stop",
    ),
    (r#""stop_token_ids": 5"#, "stop_token_ids"),
    (r#""stop_token_ids": [-1]"#, "stop_token_ids"),
    (r#""stop_token_ids": [1, 259]"#, "stop_token_ids"),
    (r#""stop_token_ids": [4294967296]"#, "stop_token_ids"),
    (r#""ignore_eos": "yes""#, "ignore_eos"),
    (r#""stream": "true""#, "stream"),
    (r#""stream_options": {}"#, "stream_options"),
    (r#""stream": true, "stream_options": 5"#, "stream_options"),
    (
        r#""stream": true, "stream_options": {"include_usge": true}"#,
        "stream_options.include_usge",
    ),
    (
        r#""stream": true, "stream_options": {"include_usage": 1}"#,
        "stream_options.include_usage",
    ),
    (
        r#""stream": true, "stream_options": {"include_obfuscation": true}"#,
        "stream_options.include_obfuscation",
    ),
    (r#""logit_bias": []"#, "logit_bias"),
    (r#""logit_bias": {"a": 1}"#, "logit_bias"),
    (r#""logit_bias": {"259": 1}"#, "logit_bias"),
    (r#""logit_bias": {"1": 101}"#, "logit_bias"),
    (r#""logit_bias": {"1": "x"}"#, "logit_bias"),
    (r#""n": 0"#, "n"),
    (r#""best_of": 0"#, "best_of"),
    (r#""echo": 1"#, "echo"),
    (
        r#""response_format": {"type": "json"}"#,
        "response_format.type",
    ),
    (r#""priority": 1"#, "priority"),
    (r#""deadline_ms": 0"#, "deadline_ms"),
    (r#""deadline_ms": "1s""#, "deadline_ms"),
    (r#""prompt_logprobs": 21"#, "prompt_logprobs"),
    (r#""fallback": "yes""#, "fallback"),
    (r#""fallback": 1"#, "fallback"),
    (r#""user": 5"#, "user"),
    (r#""metadata": {"a": 1}"#, "metadata"),
    (r#""metadata": "a""#, "metadata"),
    (r#""skip_special_tokens": 1"#, "skip_special_tokens"),
    (
        r#""include_stop_str_in_output": 1"#,
        "include_stop_str_in_output",
    ),
    (r#""return_token_ids": "x""#, "return_token_ids"),
    (
        r#""return_tokens_as_token_ids": 0"#,
        "return_tokens_as_token_ids",
    ),
];

const CHAT_FIELDS: &[(&str, &str)] = &[
    (r#""logprobs": 5"#, "logprobs"),
    (r#""top_logprobs": 1"#, "top_logprobs"),
    (r#""logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
    (r#""logprobs": true, "top_logprobs": -1"#, "top_logprobs"),
    (r#""max_completion_tokens": 0"#, "max_completion_tokens"),
    (r#""add_generation_prompt": "no""#, "add_generation_prompt"),
    (r#""tools": [{"type": "function"}]"#, "tools[0].function"),
    (r#""tool_choice": "required""#, "tool_choice"),
    (r#""reasoning_effort": "low""#, "reasoning_effort"),
    (r#""prompt": "a""#, "prompt"),
];

const MESSAGES: &[(&str, &str)] = &[
    (r#"{}"#, "messages"),
    (r#"{"messages": null}"#, "messages"),
    (r#"{"messages": []}"#, "messages"),
    (r#"{"messages": "Hi"}"#, "messages"),
    (r#"{"messages": [5]}"#, "messages"),
    (r#"{"messages": [{"content": "a"}]}"#, "messages[0].role"),
    (
        r#"{"messages": [{"role": "robot", "content": "a"}]}"#,
        "messages[0].role",
    ),
    (
        r#"{"messages": [{"role": 5, "content": "a"}]}"#,
        "messages[0].role",
    ),
    (r#"{"messages": [{"role": "user"}]}"#, "messages[0].content"),
    (
        r#"{"messages": [{"role": "user", "content": null}]}"#,
        "messages[0].content",
    ),
    (
        r#"{"messages": [{"role": "user", "content": 5}]}"#,
        "messages[0].content",
    ),
    (
        r#"{"messages": [{"role": "user", "content": [5]}]}"#,
        "messages[0].content[0]",
    ),
    (
        r#"{"messages": [{"role": "user", "content": [{"text": "a"}]}]}"#,
        "messages[0].content[0].type",
    ),
    (
        r#"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#,
        "messages[0].content[0].text",
    ),
    (
        r#"{"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": "data:"}}]}]}"#,
        "messages[1].content[1].type",
    ),
    (
        r#"{"messages": [{"role": "user", "content": "a", "nam": "b"}]}"#,
        "messages[0].nam",
    ),
    (
        r#"{"messages": [{"role": "user", "content": "a", "name": 5}]}"#,
        "messages[0].name",
    ),
    (
        r#"{"messages": [{"role": "tool", "content": "a"}]}"#,
        "messages[0].tool_call_id",
    ),
];

const COMPLETION_FIELDS: &[(&str, &str)] = &[
    (r#""logprobs": -1"#, "logprobs"),
    (r#""logprobs": 21"#, "logprobs"),
    (r#""logprobs": true"#, "logprobs"),
    (r#""suffix": "x""#, "suffix"),
    (r#""messages": []"#, "messages"),
    (r#""max_completion_tokens": 5"#, "max_completion_tokens"),
];

const PROMPTS: &[(&str, &str)] = &[
    (r#"{}"#, "prompt"),
    (r#"{"prompt": null}"#, "prompt"),
    (r#"{"prompt": ""}"#, "prompt"),
    (r#"{"prompt": []}"#, "prompt"),
    (r#"{"prompt": [[]]}"#, "prompt"),
    (r#"{"prompt": 5}"#, "prompt"),
    (r#"{"prompt": {}}"#, "prompt"),
    (r#"{"prompt": ["a", 7]}"#, "prompt[1]"),
    (r#"{"prompt": [[1], ["a"]]}"#, "prompt[1]"),
    (r#"{"prompt": [1, "a"]}"#, "prompt[0]"),
    (r#"{"prompt": [null]}"#, "prompt[0]"),
    (r#"{"prompt": [1, 259]}"#, "prompt"),
    (r#"{"prompt": [-1]}"#, "prompt"),
    (r#"{"prompt": [1.5]}"#, "prompt"),
];

/// Sends a body that must be refused; returns the message.
async fn refused(server: &Server, path: &str, body: &str, param: &str) -> String {
    let reply = server.post(path, body).await;
    assert_eq!(reply.status(), 400, "{body}");
    let json = reply.json();
    let error = &json["error"];
    assert_eq!(error["param"], param, "{body}");
    assert_eq!(error["type"], "invalid_request_error", "{body}");
    error["message"].as_str().unwrap().to_owned()
}

/// The message for each body; afterwards the server serves as before.
async fn messages(path: &str, cases: impl Iterator<Item = (String, &str)>) -> String {
    let server = Setup::echo().start().await;
    let mut lines = String::new();
    let mut num_refused = 0.0;
    for (body, param) in cases {
        num_refused += 1.0;
        let message = refused(&server, path, &body, param).await;
        lines.push_str(&format!("{body}\n    {message}\n"));
    }
    let good = json!({"prompt": "a", "max_tokens": 1});
    assert_eq!(server.post(COMPLETIONS, good).await.status(), 200);
    // Only what was asked to generate counts as a request.
    let num_rejected = if path.ends_with("tokenize") {
        0.0
    } else {
        num_refused
    };
    assert_eq!(
        server.metric(&Server::outcome("rejected")).await,
        num_rejected
    );
    lines
}

#[tokio::test]
async fn a_bad_field_of_a_chat_is_named() {
    let fields = SHARED.iter().chain(CHAT_FIELDS);
    let with_messages = fields.map(|(field, param)| {
        (
            format!(r#"{{"messages": [{{"role": "user", "content": "a"}}], {field}}}"#),
            *param,
        )
    });
    let whole = MESSAGES
        .iter()
        .map(|(body, param)| (body.to_string(), *param));
    assert_snapshot!(messages(CHAT, with_messages.chain(whole)).await);
}

#[tokio::test]
async fn a_bad_field_of_a_completion_is_named() {
    let fields = SHARED.iter().chain(COMPLETION_FIELDS);
    let with_prompt =
        fields.map(|(field, param)| (format!(r#"{{"prompt": "a", {field}}}"#), *param));
    let whole = PROMPTS
        .iter()
        .map(|(body, param)| (body.to_string(), *param));
    assert_snapshot!(messages(COMPLETIONS, with_prompt.chain(whole)).await);
}

#[tokio::test]
async fn a_bad_field_of_the_tokenizer_is_named() {
    let bodies = [
        (r#"{}"#, "messages"),
        (r#"{"prompt": 5}"#, "prompt"),
        (
            r#"{"prompt": "a", "return_token_strs": 5}"#,
            "return_token_strs",
        ),
        (
            r#"{"messages": [{"role": "user", "content": "a"}], "add_special_tokens": true}"#,
            "add_special_tokens",
        ),
        (r#"{"prompt": "a", "tokens": [1]}"#, "tokens"),
    ];
    let cases = bodies
        .iter()
        .map(|(body, param)| (body.to_string(), *param));
    assert_snapshot!("tokenize_fields", messages("/tokenize", cases).await);
    let bodies = [
        (r#"{"tokens": [259]}"#, "tokens"),
        (r#"{"tokens": "a"}"#, "tokens"),
        (r#"{"prompt": "a"}"#, "prompt"),
    ];
    let cases = bodies
        .iter()
        .map(|(body, param)| (body.to_string(), *param));
    assert_snapshot!("detokenize_fields", messages("/detokenize", cases).await);
}

#[tokio::test]
async fn what_does_not_fit_the_context_window_is_refused_with_its_code() {
    let server = Setup::echo().start().await;
    let long = "a".repeat(600);
    let very_long = "a".repeat(100_000);
    let mut lines = String::new();
    for (path, body) in [
        (COMPLETIONS, json!({"prompt": "a".repeat(512)})),
        (COMPLETIONS, json!({"prompt": vec![1; 512]})),
        (COMPLETIONS, json!({"prompt": very_long})),
        (COMPLETIONS, json!({"prompt": "abc", "max_tokens": 510})),
        (
            COMPLETIONS,
            json!({"prompt": "abc", "max_tokens": i64::MAX}),
        ),
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": long}]}),
        ),
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": very_long}]}),
        ),
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": "a"}], "max_completion_tokens": 500}),
        ),
    ] {
        let reply = server.post(path, body).await;
        assert_eq!(reply.status(), 400);
        let error: Value = reply.json()["error"].take();
        assert_eq!(error["code"], "context_length_exceeded");
        lines.push_str(&format!("{}: {}\n", error["param"], error["message"]));
    }
    assert_snapshot!(lines);
    // One token less fits.
    let reply = server
        .post(COMPLETIONS, json!({"prompt": "abc", "max_tokens": 509}))
        .await;
    assert_eq!(reply.json()["usage"]["total_tokens"], 512);
}

#[tokio::test]
async fn an_unknown_model_is_not_found_and_the_served_one_is() {
    let server = Setup::echo().start().await;
    for (path, fields) in [
        (
            CHAT,
            json!({"messages": [{"role": "user", "content": "a"}]}),
        ),
        (COMPLETIONS, json!({"prompt": "a"})),
        ("/tokenize", json!({"prompt": "a"})),
        ("/detokenize", json!({"tokens": [1]})),
    ] {
        let mut body = fields;
        body["model"] = "gpt-4".into();
        let reply = server.post(path, &body).await;
        assert_eq!(reply.status(), 404, "{path}");
        assert_snapshot!("unknown_model", pretty(reply.json()));
        body["model"] = "test".into();
        assert_eq!(server.post(path, &body).await.status(), 200, "{path}");
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_refused_in_the_same_shape() {
    let server = Setup::echo().start().await;
    let mut bodies = String::new();
    for (method, path, status) in [
        ("GET", "/", 404),
        ("POST", "/v1/chat/completion", 404),
        ("GET", "/v1/chat/completions/", 404),
        ("GET", CHAT, 405),
        ("DELETE", COMPLETIONS, 405),
        ("POST", "/v1/models", 405),
        ("POST", "/metrics", 405),
        ("POST", "/health", 405),
        ("POST", "/ready", 405),
    ] {
        let reply = server.send(method, path, "").await.reply().await.unwrap();
        assert_eq!(reply.status(), status, "{method} {path}");
        assert_eq!(reply.head.header("x-request-id"), Some("test"));
        bodies.push_str(&format!("{}\n", reply.json()["error"]));
    }
    assert_snapshot!(bodies);
}

#[tokio::test]
async fn an_error_does_not_repeat_megabytes() {
    let server = Setup::echo().start().await;
    let long = "é".repeat(500_000);
    for body in [
        json!({"prompt": "a", &long: 1}),
        json!({"prompt": "a", "temperature": long}),
        json!({"prompt": "a", "max_tokens": [long]}),
        json!({"prompt": "a", "stream": long}),
        json!({"prompt": "a", "model": long}),
        json!({"prompt": "a", "logit_bias": {&long: 1}}),
    ] {
        let reply = server.post(COMPLETIONS, &body).await;
        assert!((400..=404).contains(&reply.status()));
        assert!(reply.json()["error"]["message"].is_string());
        assert!(reply.body.len() < 4096, "{}", reply.body.len());
    }
}
