//! `messages`: the conversation that a chat goes on with.

use serde_json::{Map, Value};

use super::fields::{
    Field, Fields, NEVER, Support::Hint, Support::Honoured, Support::Only, Support::Required,
    check_keys, typed,
};
use super::form::Form;
use super::form::Form::{Either, List, Table, Text, Word};
use crate::server::error::ApiError;
use crate::text::{FunctionCall, Message, Role, ToolCall};

const MESSAGE: &[Field] = &[
    (
        "role",
        Required(Word(&["system", "developer", "user", "assistant", "tool"])),
    ),
    (
        "content",
        Honoured(Either(&[Text, List(&Table(TEXT_PART))])),
    ),
    ("name", Honoured(Text)),
    ("tool_calls", Honoured(List(&Table(TOOL_CALL)))),
    ("tool_call_id", Honoured(Text)),
    ("reasoning", Honoured(Text)),
    ("reasoning_content", Honoured(Text)),
    // What answers have and clients send back.
    ("annotations", Only(&["[]"])),
    ("refusal", NEVER),
    ("audio", NEVER),
    ("function_call", NEVER),
];

pub(crate) const MESSAGES: Form = List(&Table(MESSAGE));

const TEXT_PART: &[Field] = &[
    ("type", Required(Word(&["text"]))),
    ("text", Required(Text)),
];
const TOOL_CALL: &[Field] = &[
    ("id", Required(Text)),
    ("type", Only(&["\"function\""])),
    ("function", Required(Table(FUNCTION))),
    ("index", Hint("calls are known by their ids")),
];
const FUNCTION: &[Field] = &[("name", Required(Text)), ("arguments", Required(Text))];

/// Takes the conversation; errors name the message and its field.
pub(crate) fn messages(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let list: Vec<Map<String, Value>> = fields.required("messages")?;
    if list.is_empty() {
        return Err(ApiError::field(
            "messages",
            "messages is empty: at least one message is needed",
        ));
    }
    list.into_iter()
        .enumerate()
        .map(|(i, map)| message(map, &format!("messages[{i}]")))
        .collect()
}

fn message(mut map: Map<String, Value>, path: &str) -> Result<Message, ApiError> {
    check_keys(&map, &[MESSAGE], &format!("{path}."))?;
    let role: Role = required(&mut map, path, "role")?;
    let tool_calls = match map.remove("tool_calls") {
        Some(_) if role != Role::Assistant => {
            let name = format!("{path}.tool_calls");
            let message = format!("{name}: only the assistant calls tools");
            return Err(ApiError::field(name, message));
        }
        Some(list) => tool_calls(list, &format!("{path}.tool_calls"))?,
        None => Vec::new(),
    };
    let content = match map.remove("content") {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => join_parts(parts, path)?,
        None if !tool_calls.is_empty() => String::new(),
        None => return Err(missing(&format!("{path}.content"))),
        Some(_) => {
            return Err(ApiError::field(
                format!("{path}.content"),
                format!("{path}.content must be a string or a list of parts"),
            ));
        }
    };
    let reasoning: Option<String> = optional(&mut map, path, "reasoning")?;
    let reasoning_content = optional(&mut map, path, "reasoning_content")?.or(reasoning);
    let tool_call_id = match role {
        Role::Tool => Some(required(&mut map, path, "tool_call_id")?),
        _ => optional(&mut map, path, "tool_call_id")?,
    };
    Ok(Message {
        role,
        content,
        name: optional(&mut map, path, "name")?,
        reasoning_content,
        tool_calls,
        tool_call_id,
    })
}

fn missing(name: &str) -> ApiError {
    ApiError::field(name, format!("{name} is required"))
}

fn optional<T: serde::de::DeserializeOwned>(
    map: &mut Map<String, Value>,
    path: &str,
    key: &str,
) -> Result<Option<T>, ApiError> {
    let value = map.remove(key);
    let name = format!("{path}.{key}");
    value.map(|value| typed(&name, value)).transpose()
}

fn required<T: serde::de::DeserializeOwned>(
    map: &mut Map<String, Value>,
    path: &str,
    key: &str,
) -> Result<T, ApiError> {
    optional(map, path, key)?.ok_or_else(|| missing(&format!("{path}.{key}")))
}

/// Calls in the history. Arguments are JSON in a string on the wire, and values to templates.
fn tool_calls(list: Value, path: &str) -> Result<Vec<ToolCall>, ApiError> {
    let list: Vec<Map<String, Value>> = typed(path, list)?;
    let call = |(i, mut map): (usize, Map<String, Value>)| {
        let path = format!("{path}[{i}]");
        check_keys(&map, &[TOOL_CALL], &format!("{path}."))?;
        let id = required(&mut map, &path, "id")?;
        let mut function: Map<String, Value> = required(&mut map, &path, "function")?;
        let path = format!("{path}.function");
        check_keys(&function, &[FUNCTION], &format!("{path}."))?;
        let name = required(&mut function, &path, "name")?;
        let text: String = required(&mut function, &path, "arguments")?;
        let path = format!("{path}.arguments");
        let arguments = match text.trim().is_empty() {
            true => Value::Object(Map::new()),
            false => serde_json::from_str(&text)
                .map_err(|error| ApiError::field(&path, format!("{path} is no JSON: {error}")))?,
        };
        Ok(ToolCall {
            id,
            r#type: "function".into(),
            function: FunctionCall { name, arguments },
        })
    };
    list.into_iter().enumerate().map(call).collect()
}

/// Text parts in a row are one text.
fn join_parts(parts: Vec<Value>, path: &str) -> Result<String, ApiError> {
    let mut text = String::new();
    for (i, part) in parts.into_iter().enumerate() {
        let path = format!("{path}.content[{i}]");
        let mut part: Map<String, Value> = typed(&path, part)?;
        let kind: String = required(&mut part, &path, "type")?;
        if kind != "text" {
            let name = format!("{path}.type");
            let message =
                format!("{name} is {kind:?}, but the model is text-only: parts must be \"text\"");
            return Err(ApiError::field(name, message));
        }
        check_keys(&part, &[TEXT_PART], &format!("{path}."))?;
        match part.get("text") {
            Some(Value::String(piece)) => text.push_str(piece),
            _ => {
                let name = format!("{path}.text");
                let message = format!("{name} must be a string");
                return Err(ApiError::field(name, message));
            }
        }
    }
    Ok(text)
}
