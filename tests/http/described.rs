//! Every answer is as `docs/openapi.json` describes it, and so is every request that is taken.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::client::Reply;
use super::redact::data;

static DESCRIPTION: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap());

fn assert_valid(schema: &Value, value: &Value, what: &str) {
    let mut schema = schema.clone();
    schema["components"] = DESCRIPTION["components"].clone();
    let validator: Validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(value)
        .map(|error| format!("{error} at {}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what}: {value}: {errors:#?}");
}

fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let path = path.split('?').next().unwrap();
    DESCRIPTION["paths"].get(path)?.get(method.to_lowercase())
}

/// Checks a whole answer of a route that there is.
pub fn check(method: &str, path: &str, reply: &Reply) {
    let Some(operation) = operation(method, path) else {
        return;
    };
    let status = reply.status().to_string();
    let what = format!("{method} {path}: {status}");
    let content = &operation["responses"][&status]["content"];
    let kind = reply.head.header("content-type").unwrap();
    assert!(
        content.get(kind).is_some(),
        "{what}: {kind} is not described"
    );
    if kind == "application/json" {
        assert_valid(&content[kind]["schema"], &reply.json(), &what);
    }
}

/// Checks the body of a request that was taken.
pub fn check_taken(path: &str, body: &str) {
    let Some(operation) = operation("POST", path) else {
        return;
    };
    if let Some(body_schema) = operation.get("requestBody") {
        let schema = &body_schema["content"]["application/json"]["schema"];
        let body = serde_json::from_str(body).unwrap();
        assert_valid(schema, &body, &format!("the body of POST {path}"));
    }
}

/// Checks the events of a stream.
pub fn check_events(path: &str, events: &[String]) {
    let Some(operation) = operation("POST", path) else {
        return;
    };
    // `The answer; with `stream`, events whose data are each a NAME`.
    let ok = &operation["responses"]["200"];
    let name = ok["description"]
        .as_str()
        .unwrap()
        .rsplit(' ')
        .next()
        .unwrap();
    let schema = json!({"anyOf": [
        {"$ref": format!("#/components/schemas/{name}")},
        {"$ref": "#/components/schemas/Error"},
    ]});
    let lines = events.iter().flat_map(|event| event.lines());
    for event in lines.filter_map(data) {
        assert_valid(&schema, &event, path);
    }
}
