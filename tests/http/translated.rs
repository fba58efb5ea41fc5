//! `/v1/responses` and `/v1/messages`: other words for the same chat.

use serde_json::{Value, json};

use super::redact::data;
use super::server::{CHAT, Server, Setup, VOCAB_SIZE};
use flambeau::server::ApiKey;

const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

async fn server() -> Server {
    let mut setup = Setup::fake(VOCAB_SIZE);
    setup.engine.scheduler.max_model_len = 2048;
    setup.start().await
}

fn schema() -> Value {
    json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["a"], "additionalProperties": false})
}

/// The events of a stream, each called by its own type and, where they are numbered, in order.
async fn events(server: &Server, path: &str, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = true.into();
    let all = server.events(path, &body).await;
    let mut parsed = Vec::new();
    for event in &all {
        let (name, rest) = event.split_once('\n').unwrap();
        let value = data(rest).unwrap();
        assert_eq!(name, format!("event: {}", value["type"].as_str().unwrap()));
        if let Some(number) = value.get("sequence_number") {
            assert_eq!(number, parsed.len());
        }
        parsed.push(value);
    }
    parsed
}

fn named<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == kind)
}

fn joined<'a>(deltas: impl Iterator<Item = &'a Value>) -> String {
    deltas.map(|delta| delta.as_str().unwrap()).collect()
}

#[tokio::test]
async fn all_three_endpoints_answer_a_chat_alike() {
    let server = Setup::fake(128).start().await;
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let chat = json!({"messages": messages, "max_tokens": 12, "temperature": 0});
    let chat = server.post(CHAT, &chat).await.json();
    let text = &chat["choices"][0]["message"]["content"];
    let response = json!({"input": "Hi", "max_output_tokens": 12, "temperature": 0});
    let reply = server.post(RESPONSES, &response).await.json();
    assert_eq!(&reply["output"][0]["content"][0]["text"], text);
    assert_eq!(
        (&reply["status"], &reply["incomplete_details"]["reason"]),
        (&json!("incomplete"), &json!("max_output_tokens"))
    );
    assert_eq!(
        reply["usage"]["total_tokens"],
        chat["usage"]["total_tokens"]
    );
    assert_eq!(
        (&reply["max_output_tokens"], &reply["store"]),
        (&json!(12), &json!(false))
    );
    let message = json!({"messages": messages, "max_tokens": 12, "temperature": 0});
    let reply = server.post(MESSAGES, &message).await.json();
    assert_eq!(&reply["content"][0]["text"], text);
    assert_eq!(reply["stop_reason"], "max_tokens");
    let usage = &reply["usage"];
    let input = usage["input_tokens"].as_u64().unwrap()
        + usage["cache_read_input_tokens"].as_u64().unwrap();
    assert_eq!(chat["usage"]["prompt_tokens"], input);
    let count = server
        .post("/v1/messages/count_tokens", json!({"messages": messages}))
        .await
        .json();
    assert_eq!(count["input_tokens"], input);

    let all = events(&server, RESPONSES, &response).await;
    assert_eq!(
        joined(named(&all, "response.output_text.delta").map(|event| &event["delta"])),
        *text
    );
    assert_eq!(
        (&all[0]["type"], &all.last().unwrap()["type"]),
        (&json!("response.created"), &json!("response.incomplete"))
    );
    assert_eq!(
        all.last().unwrap()["response"]["output"][0]["content"][0]["text"],
        *text
    );
    let all = events(&server, MESSAGES, &message).await;
    assert_eq!(
        joined(named(&all, "content_block_delta").map(|event| &event["delta"]["text"])),
        *text
    );
    let kinds: Vec<&Value> = all
        .iter()
        .map(|event| &event["type"])
        .filter(|kind| *kind != "content_block_delta")
        .collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "content_block_start",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
}

#[tokio::test]
async fn calls_are_items_and_blocks_and_come_back_as_history() {
    let server = server().await;
    let response = json!({"input": "Hi", "seed": 1, "temperature": 1, "tools": [{"type": "function", "name": "f", "parameters": schema(), "strict": true}], "tool_choice": {"type": "function", "name": "f"}});
    let reply = server
        .post(RESPONSES, {
            let mut body = response.clone();
            body.as_object_mut().unwrap().remove("seed");
            body
        })
        .await
        .json();
    let call = &reply["output"][0];
    assert_eq!(
        (&call["type"], &call["name"], &call["status"]),
        (&json!("function_call"), &json!("f"), &json!("completed"))
    );
    let arguments: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
    assert!(arguments["a"].as_u64().unwrap() < 10);
    let history = json!({"max_output_tokens": 3, "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, call, {"type": "function_call_output", "call_id": call["call_id"], "output": "7"}]});
    let reply = server.post(RESPONSES, &history).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let mut body = response;
    body.as_object_mut().unwrap().remove("seed");
    let all = events(&server, RESPONSES, &body).await;
    let streamed =
        joined(named(&all, "response.function_call_arguments.delta").map(|event| &event["delta"]));
    let done = named(&all, "response.output_item.done").next().unwrap();
    assert_eq!(done["item"]["arguments"], streamed);
    assert!(
        serde_json::from_str::<Value>(&streamed).is_ok(),
        "{streamed}"
    );

    let message = json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 200, "tools": [{"name": "f", "input_schema": schema()}], "tool_choice": {"type": "tool", "name": "f"}});
    let reply = server.post(MESSAGES, &message).await.json();
    let block = &reply["content"][0];
    assert_eq!(
        (&block["type"], &block["name"], &reply["stop_reason"]),
        (&json!("tool_use"), &json!("f"), &json!("tool_use"))
    );
    assert!(block["input"]["a"].as_u64().unwrap() < 10);
    let history = json!({"max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [block]}, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": block["id"], "content": [{"type": "text", "text": "7"}]}, {"type": "text", "text": "Go on"}]}]});
    let reply = server.post(MESSAGES, &history).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let all = events(&server, MESSAGES, &message).await;
    let streamed =
        joined(named(&all, "content_block_delta").map(|event| &event["delta"]["partial_json"]));
    assert!(
        serde_json::from_str::<Value>(&streamed).is_ok(),
        "{streamed}"
    );
}

#[tokio::test]
async fn a_stop_sequence_is_named() {
    let server = Setup::echo().start().await;
    let body = json!({"messages": [{"role": "user", "content": "abcdef"}], "max_tokens": 60, "stop_sequences": ["zz", "cd"]});
    let reply = server.post(MESSAGES, &body).await.json();
    assert_eq!(
        (&reply["stop_reason"], &reply["stop_sequence"]),
        (&json!("stop_sequence"), &json!("cd"))
    );
}

#[tokio::test]
async fn errors_have_the_shape_and_the_names_of_their_endpoint() {
    let server = server().await;
    let user = json!([{"role": "user", "content": "Hi"}]);
    for (fields, part) in [
        (json!({"max_tokens": null}), "max_tokens is required"),
        (
            json!({"messages": [{"role": "system", "content": "x"}]}),
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "image"}]}]}),
            "messages[0].content[0].type",
        ),
        (
            json!({"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "strin"}}}}]}),
            "tools[0].input_schema.properties.a",
        ),
        (
            json!({"tools": [{"name": "f f", "input_schema": {}}]}),
            "tools[0].name",
        ),
        (json!({"max_tokens": 0}), "max_tokens"),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1024}}),
            "thinking.budget_tokens",
        ),
        (
            json!({"thinking": {"type": "disabled", "budget_tokens": 5}}),
            "thinking.budget_tokens",
        ),
        (
            json!({"tool_choice": {"type": "any", "name": "f"}}),
            "tool_choice.name",
        ),
        (
            json!({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": 1}]}]}),
            "messages[0].content[0].is_error",
        ),
        (json!({"temprature": 1}), "temperature"),
    ] {
        let mut body = json!({"messages": user, "max_tokens": 5});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let reply = server.post(MESSAGES, &body).await;
        assert_eq!(reply.status(), 400, "{fields}: {}", reply.text());
        let error = reply.json();
        assert_eq!(
            (&error["type"], &error["error"]["type"]),
            (&json!("error"), &json!("invalid_request_error"))
        );
        assert!(
            error["error"]["message"].as_str().unwrap().contains(part),
            "{error}"
        );
    }
    for (fields, param) in [
        (
            json!({"previous_response_id": "resp_1"}),
            "previous_response_id",
        ),
        (json!({"store": true}), "store"),
        (
            json!({"input": [{"type": "item_reference", "id": "x"}]}),
            "input[0].type",
        ),
        (
            json!({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
            "input[0].content[0].type",
        ),
        (json!({"tools": [{"type": "web_search"}]}), "tools[0].type"),
        (
            json!({"text": {"format": {"type": "json_schema", "schema": {"type": "objct"}}}}),
            "text.format.schema",
        ),
        (
            json!({"text": {"format": {"type": "text", "description": {}}}}),
            "text.format.description",
        ),
        (json!({"max_output_tokens": 0}), "max_output_tokens"),
    ] {
        let mut body = json!({"input": "Hi"});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let reply = server.post(RESPONSES, &body).await;
        assert_eq!(reply.status(), 400, "{fields}: {}", reply.text());
        assert_eq!(reply.json()["error"]["param"], param, "{}", reply.text());
    }
    let reply = server
        .post(
            MESSAGES,
            json!({"model": "other", "max_tokens": 1, "messages": user}),
        )
        .await;
    assert_eq!(
        (reply.status(), &reply.json()["error"]["type"]),
        (404, &json!("not_found_error"))
    );
}

#[tokio::test]
async fn a_key_may_come_in_anthropics_header() {
    let mut setup = Setup::echo();
    setup.options.api_keys = vec![ApiKey::new("acme", "secret")];
    let server = setup.start().await;
    let body =
        json!({"max_tokens": 2, "messages": [{"role": "user", "content": "Hi"}]}).to_string();
    for (key, status) in [("secret", 200), ("wrong", 401)] {
        let mut client = server.connect().await;
        let headers = [("x-api-key", key)];
        let sent = client.send("POST", MESSAGES, &headers, body.as_bytes());
        sent.await.unwrap();
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.status(), status);
        if status == 401 {
            assert_eq!(reply.json()["error"]["type"], "authentication_error");
        }
    }
}
