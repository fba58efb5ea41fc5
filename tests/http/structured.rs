//! Answers that are to look like something.

use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, Server, Setup, VOCAB_SIZE};

async fn server() -> Server {
    Setup::fake(VOCAB_SIZE).start().await
}

/// The text of an answer to `fields`, and how it ended.
async fn answer(server: &Server, fields: Value) -> (String, Value) {
    let mut body = json!({"prompt": "Hi", "max_tokens": 400, "temperature": 1, "seed": 5});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let reply = server.post(COMPLETIONS, &body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let choice = reply.json()["choices"][0].take();
    (
        choice["text"].as_str().unwrap().to_owned(),
        choice["finish_reason"].clone(),
    )
}

#[tokio::test]
async fn an_answer_follows_whatever_field_asks_for_it() {
    let server = server().await;
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false});
    for fields in [
        json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "strict": true, "schema": schema}}}),
        json!({"structured_outputs": {"json": schema}}),
        json!({"structured_outputs": {"json": schema.to_string()}}),
        json!({"guided_json": schema}),
    ] {
        let (text, finish) = answer(&server, fields).await;
        let value: Value = serde_json::from_str(&text).unwrap();
        assert!(value["ok"].is_boolean(), "{text}");
        assert_eq!(finish, "stop");
    }
    for fields in [
        json!({"structured_outputs": {"choice": ["red", "green"]}}),
        json!({"guided_choice": ["red", "green"]}),
        json!({"guided_regex": "red|green"}),
        json!({"structured_outputs": {"regex": "red|green"}}),
        json!({"structured_outputs": {"grammar": "start: \"red\" | \"green\""}}),
        json!({"guided_grammar": "start: \"red\" | \"green\"", "min_tokens": 30}),
        json!({"guided_choice": ["red", "green"], "response_format": {"type": "text"}, "structured_outputs": {}}),
    ] {
        let (text, finish) = answer(&server, fields).await;
        assert!(text == "red" || text == "green", "{text}");
        assert_eq!(finish, "stop");
    }
}

#[tokio::test]
async fn every_choice_of_a_stream_follows_by_itself() {
    let server = server().await;
    let body = json!({"messages": [{"role": "user", "content": "Hi"}], "n": 8, "temperature": 1, "seed": 1, "stream": true, "guided_regex": "[a-z]{3}-[0-9]{2}"});
    let events = server.events(CHAT, &body).await;
    let mut texts = vec![String::new(); 8];
    for event in events.iter().filter_map(|event| super::redact::data(event)) {
        let choice = &event["choices"][0];
        let text = choice["delta"]["content"].as_str().unwrap_or("");
        texts[choice["index"].as_u64().unwrap() as usize].push_str(text);
    }
    assert!(
        texts
            .iter()
            .all(|text| text.len() == 6 && text.as_bytes()[3] == b'-'),
        "{texts:?}"
    );
    assert!(texts.iter().any(|text| *text != texts[0]), "{texts:?}");
}

#[tokio::test]
async fn what_cannot_be_followed_is_a_400_that_names_the_place_and_nobody_else_is_touched() {
    let server = server().await;
    let format = |schema: Value| json!({"type": "json_schema", "json_schema": {"schema": schema}});
    let path = "response_format.json_schema.schema";
    for (fields, param) in [
        (
            json!({"response_format": format(json!({"type": "object", "properties": {"a": {"type": "strin"}}}))}),
            format!("{path}.properties.a"),
        ),
        (
            json!({"response_format": format(json!({"type": "array", "items": {"uniqueItems": true}}))}),
            format!("{path}.items"),
        ),
        (
            json!({"response_format": {"type": "json_schema"}}),
            "response_format.json_schema".into(),
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "name": 7}}}),
            "response_format.json_schema.name".into(),
        ),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {}}}),
            path.into(),
        ),
        (
            json!({"response_format": {"type": "xml"}}),
            "response_format.type".into(),
        ),
        (
            json!({"response_format": {"type": "text", "schema": {}}}),
            "response_format.schema".into(),
        ),
        (json!({"guided_regex": "("}), "guided_regex".into()),
        (json!({"guided_choice": []}), "guided_choice".into()),
        (json!({"guided_json": "{"}), "guided_json".into()),
        (
            json!({"guided_grammar": "start: nothing"}),
            "guided_grammar".into(),
        ),
        (
            json!({"guided_regex": "a", "guided_choice": ["b"]}),
            "guided_choice".into(),
        ),
        (
            json!({"structured_outputs": {"regex": "a", "choice": ["b"]}}),
            "structured_outputs.choice".into(),
        ),
        (
            json!({"structured_outputs": {"structural_tag": "x"}}),
            "structured_outputs.structural_tag".into(),
        ),
        (
            json!({"guided_regex": "a", "ignore_eos": true}),
            "ignore_eos".into(),
        ),
        (
            json!({"guided_whitespace_pattern": " "}),
            "guided_whitespace_pattern".into(),
        ),
    ] {
        let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let reply = server.post(CHAT, &body).await;
        assert_eq!(reply.status(), 400, "{fields}: {}", reply.text());
        assert_eq!(reply.json()["error"]["param"], param, "{}", reply.text());
    }
    assert_eq!(server.engine.num_open(), 0);
    let (text, _) = answer(&server, json!({"guided_choice": ["fine"]})).await;
    assert_eq!(text, "fine");
}

#[tokio::test]
async fn an_answer_in_the_middle_of_its_format_ends_at_its_length() {
    let server = server().await;
    let fields = json!({"guided_regex": "[a-z]{50}", "max_tokens": 10});
    let (text, finish) = answer(&server, fields).await;
    assert_eq!((text.len(), finish), (10, json!("length")));
}
