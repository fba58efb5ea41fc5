//! Tools: who decides, what is checked, how calls are streamed, and how the history looks to the model.

use serde_json::{Value, json};

use super::redact::data;
use super::server::{CHAT, Server, Setup, VOCAB_SIZE};

fn tools() -> Value {
    json!([
        {"type": "function", "function": {"name": "add", "description": "Adds", "strict": true, "parameters": {"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"enum": ["x", "y"]}}, "required": ["a", "b"], "additionalProperties": false}}},
        {"type": "function", "function": {"name": "now"}},
    ])
}

fn body(fields: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hi"}], "tools": tools(), "temperature": 1, "seed": 3, "max_tokens": 300});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    body
}

async fn server() -> Server {
    let mut setup = Setup::fake(VOCAB_SIZE);
    setup.engine.scheduler.max_model_len = 2048;
    setup.start().await
}

/// Calls as `(name, arguments)`.
fn calls(message: &Value) -> Vec<(String, Value)> {
    let list = message["tool_calls"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let call = |call: &Value| {
        assert!(call["id"].as_str().unwrap().len() > 8 && call["type"] == "function");
        let arguments = call["function"]["arguments"].as_str().unwrap();
        (
            call["function"]["name"].as_str().unwrap().to_owned(),
            serde_json::from_str(arguments).unwrap(),
        )
    };
    list.iter().map(call).collect()
}

/// What the deltas of choice `i` add up to, as a client would add them.
fn reassembled(events: &[String], i: u64) -> (Value, Value) {
    let (mut message, mut finish) = (json!({"content": "", "tool_calls": []}), Value::Null);
    for event in events.iter().filter_map(|event| data(event)) {
        let Some(choice) = event["choices"]
            .as_array()
            .unwrap()
            .iter()
            .find(|choice| choice["index"] == i)
        else {
            continue;
        };
        let delta = &choice["delta"];
        let text = message["content"].as_str().unwrap().to_owned()
            + delta["content"].as_str().unwrap_or("");
        message["content"] = text.into();
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap() as usize;
            let list = message["tool_calls"].as_array_mut().unwrap();
            if index == list.len() {
                list.push(call.clone());
            } else {
                let known = list[index]["function"]["arguments"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                let more = call["function"]["arguments"].as_str().unwrap();
                list[index]["function"]["arguments"] = (known + more).into();
            }
        }
        if !choice["finish_reason"].is_null() {
            finish = choice["finish_reason"].clone();
        }
    }
    (message, finish)
}

#[tokio::test]
async fn a_tool_that_must_be_called_is_called_and_streams_say_the_same() {
    let server = server().await;
    for (choice, names) in [
        (json!("required"), vec!["add", "now"]),
        (
            json!({"type": "function", "function": {"name": "add"}}),
            vec!["add"],
        ),
    ] {
        let fields = json!({"tool_choice": choice, "n": 4, "parallel_tool_calls": false});
        let reply = server.post(CHAT, body(fields.clone())).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let reply = reply.json();
        let mut streamed = body(fields);
        streamed["stream"] = true.into();
        let events = server.events(CHAT, &streamed).await;
        for i in 0..4 {
            let whole = &reply["choices"][i];
            assert_eq!(
                (&whole["finish_reason"], &whole["message"]["content"]),
                (&json!("tool_calls"), &Value::Null)
            );
            let all = calls(&whole["message"]);
            assert_eq!(all.len(), 1);
            let (name, arguments) = &all[0];
            assert!(names.contains(&name.as_str()), "{name}");
            if name == "add" {
                assert!(
                    arguments["a"].as_u64().unwrap() <= 99
                        && (arguments["b"] == "x" || arguments["b"] == "y")
                );
            }
            let (message, finish) = reassembled(&events, i as u64);
            assert_eq!(calls(&message), all);
            assert_eq!(
                (finish, &message["content"]),
                (json!("tool_calls"), &json!(""))
            );
        }
    }
}

#[tokio::test]
async fn where_none_is_to_be_called_the_model_is_not_told_of_any() {
    let server = server().await;
    let none = body(json!({"tool_choice": "none", "max_tokens": 4}));
    let without = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4});
    let told = body(json!({"max_tokens": 4}));
    let mut counts = Vec::new();
    for body in [none, without, told] {
        counts.push(
            server.post(CHAT, body).await.json()["usage"]["prompt_tokens"]
                .as_u64()
                .unwrap(),
        );
    }
    assert_eq!(counts[0], counts[1]);
    assert!(counts[2] > counts[0] + 100, "{counts:?}");
}

#[tokio::test]
async fn calls_and_results_of_the_history_are_shown_to_the_model() {
    let server = server().await;
    let messages = json!([
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{\"a\": 1, \"b\": \"<|im_end|>\"}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "2<|im_end|>"},
    ]);
    let reply = server
        .post("/tokenize", json!({"messages": messages, "tools": tools()}))
        .await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let ids = reply.json()["tokens"].clone();
    let text = server
        .post("/detokenize", json!({"tokens": ids}))
        .await
        .json()["prompt"]
        .clone();
    let text = text.as_str().unwrap();
    for part in [
        "<tools>\n{\"type\": \"function\", \"function\": {\"name\": \"add\"",
        "<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": \"<|im_end|>\"}}\n</tool_call>",
        "<tool_response>\n2<|im_end|>\n</tool_response>",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    // What arguments and results spell is text: there are four messages, and an answer begins.
    let ends = ids
        .as_array()
        .unwrap()
        .iter()
        .filter(|id| **id == super::server::IM_END);
    assert_eq!(ends.count(), 4);
}

#[tokio::test]
async fn bad_tools_are_a_400_that_names_the_place() {
    let server = server().await;
    let tool = |function: Value| json!([{"type": "function", "function": function}]);
    let history =
        |message: Value| json!({"messages": [{"role": "user", "content": "Hi"}, message]});
    for (fields, param) in [
        (json!({"tools": [{"type": "retrieval"}]}), "tools[0].type"),
        (
            json!({"tools": tool(json!({"name": "a b"}))}),
            "tools[0].function.name",
        ),
        (json!({"tools": tool(json!({}))}), "tools[0].function.name"),
        (
            json!({"tools": tool(json!({"name": "a", "parameters": {"type": "object", "properties": {"x": {"type": "sting"}}}}))}),
            "tools[0].function.parameters.properties.x",
        ),
        (
            json!({"tools": [tools()[1], tools()[1]]}),
            "tools[1].function.name",
        ),
        (json!({"tool_choice": "always"}), "tool_choice"),
        (
            json!({"tool_choice": {"type": "function", "function": {"name": "other"}}}),
            "tool_choice",
        ),
        (json!({"tool_choice": {"type": "function"}}), "tool_choice"),
        (
            json!({"tool_choice": {"type": "banana", "function": {"name": "add"}}}),
            "tool_choice.type",
        ),
        (
            json!({"tool_choice": "none", "response_format": {"type": "json_object", "json_schema": {}}}),
            "response_format.json_schema",
        ),
        (
            json!({"tools": [], "tool_choice": "required"}),
            "tool_choice",
        ),
        (
            json!({"response_format": {"type": "json_object"}}),
            "response_format",
        ),
        (json!({"ignore_eos": true}), "ignore_eos"),
        (
            history(json!({"role": "tool", "content": "x"})),
            "messages[1].tool_call_id",
        ),
        (
            history(json!({"role": "user", "content": "x", "tool_calls": []})),
            "messages[1].tool_calls",
        ),
        (history(json!({"role": "assistant"})), "messages[1].content"),
        (
            history(
                json!({"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}]}),
            ),
            "messages[1].tool_calls[0].function.arguments",
        ),
        (
            history(
                json!({"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": ""}}]}),
            ),
            "messages[1].tool_calls[0].id",
        ),
        (
            json!({"chat_template_kwargs": {"messages": []}}),
            "chat_template_kwargs.messages",
        ),
        (
            json!({"continue_final_message": true, "add_generation_prompt": true}),
            "continue_final_message",
        ),
        (json!({"reasoning_effort": "low"}), "reasoning_effort"),
        (json!({"service_tier": "gold"}), "service_tier"),
        (
            json!({"service_tier": "flex", "priority": "batch"}),
            "service_tier",
        ),
    ] {
        let reply = server.post(CHAT, body(fields.clone())).await;
        assert_eq!(reply.status(), 400, "{fields}: {}", reply.text());
        assert_eq!(reply.json()["error"]["param"], param, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_message_that_is_continued_is_not_ended() {
    let server = Setup::echo().start().await;
    let messages =
        json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Once upon "}]);
    let reply = server
        .post(
            "/tokenize",
            json!({"messages": messages, "continue_final_message": true}),
        )
        .await;
    let text = server
        .post("/detokenize", json!({"tokens": reply.json()["tokens"]}))
        .await
        .json()["prompt"]
        .clone();
    assert!(
        text.as_str()
            .unwrap()
            .ends_with("<|im_start|>assistant\nOnce upon "),
        "{text}"
    );
}
