//! The request of `/v1/responses`, translated to that of a chat. Nothing is kept between requests.

use serde_json::{Map, Value, json};

use super::fields::{
    Field, Fields, NEVER, Support::Hint, Support::Honoured, Support::Only, Support::Required,
    check_keys, typed,
};
use super::form::Form::{Bool, Either, List, Number, Table, Text, Word};
use super::form::{FUNCTION_TYPE, Form, OBJECT, STRINGS, at_least};
use super::generate::{FALLBACK, GIVEN_AGAIN};
use super::output_format::SCHEMA;
use super::translate::{move_fields, move_tools, string};
use super::{thinking, urgency};
use crate::server::error::ApiError;

/// Fields of this endpoint.
pub(crate) const FIELDS: &[Field] = &[
    ("model", Honoured(Text)),
    ("input", Required(Either(&[Text, List(&ITEM)]))),
    ("instructions", Honoured(Text)),
    ("max_output_tokens", Honoured(at_least(1))),
    ("temperature", Honoured(Number(0.0, 100.0))),
    ("top_p", Honoured(Number(0.0, 1.0))),
    ("tools", Honoured(List(&Table(TOOL)))),
    (
        "tool_choice",
        Honoured(Either(&[
            Word(&["none", "auto", "required"]),
            Table(CHOICE),
        ])),
    ),
    ("parallel_tool_calls", Honoured(Bool)),
    ("text", Honoured(Table(TEXT))),
    ("reasoning", Honoured(Table(EFFORT))),
    ("stream", Honoured(Bool)),
    (
        "stream_options",
        Only(&[r#"{"include_obfuscation":false}"#]),
    ),
    ("user", Honoured(Text)),
    ("safety_identifier", Honoured(Text)),
    ("metadata", Honoured(STRINGS)),
    FALLBACK,
    GIVEN_AGAIN,
    ("service_tier", Honoured(urgency::SERVICE_TIER)),
    ("store", Only(&["false"])),
    ("background", Only(&["false"])),
    ("truncation", Only(&["\"disabled\""])),
    ("include", Only(&["[]"])),
    ("top_logprobs", Only(&["0"])),
    (
        "prompt_cache_key",
        Hint("prompts find what is cached of them without a key"),
    ),
    ("prompt_cache_retention", Only(&["\"in_memory\""])),
    ("prompt_cache_options", NEVER),
    ("moderation", NEVER),
    ("context_management", NEVER),
    ("previous_response_id", NEVER),
    ("conversation", NEVER),
    ("max_tool_calls", NEVER),
    ("prompt", NEVER),
];

const ITEM: Form = Either(&[Table(MESSAGE), Table(CALL), Table(OUTPUT), Table(REASONING)]);
const CONTENT: Form = Either(&[Text, List(&Table(PART))]);
const CHOICE: &[Field] = &[("type", Required(FUNCTION_TYPE)), ("name", Required(Text))];
const MESSAGE: &[Field] = &[
    ("type", Only(&["\"message\""])),
    (
        "role",
        Required(Word(&["system", "developer", "user", "assistant"])),
    ),
    ("content", Required(CONTENT)),
    ("id", Hint("items are known by their place")),
    ("status", Hint("items of the input are over")),
    ("phase", Hint("of use to who shows it")),
];
const CALL: &[Field] = &[
    ("type", Required(Word(&["function_call"]))),
    ("call_id", Required(Text)),
    ("name", Required(Text)),
    ("arguments", Required(Text)),
    ("id", Hint("items are known by their place")),
    ("status", Hint("items of the input are over")),
];
const OUTPUT: &[Field] = &[
    ("type", Required(Word(&["function_call_output"]))),
    ("call_id", Required(Text)),
    ("output", Required(CONTENT)),
    ("id", Hint("items are known by their place")),
    ("status", Hint("items of the input are over")),
];
const REASONING: &[Field] = &[
    ("type", Required(Word(&["reasoning"]))),
    ("content", Honoured(CONTENT)),
    ("summary", Hint("thoughts stand in content")),
    ("encrypted_content", NEVER),
    ("id", Hint("items are known by their place")),
    ("status", Hint("items of the input are over")),
];
const PART: &[Field] = &[
    (
        "type",
        Required(Word(&[
            "input_text",
            "output_text",
            "text",
            "reasoning_text",
        ])),
    ),
    ("text", Required(Text)),
    ("annotations", Only(&["[]"])),
    ("logprobs", Only(&["[]"])),
];
const TOOL: &[Field] = &[
    ("type", Required(FUNCTION_TYPE)),
    ("name", Required(Text)),
    ("description", Honoured(Text)),
    ("parameters", Honoured(OBJECT)),
    // Arguments always follow their schema.
    ("strict", Only(&["true", "false"])),
];
const TEXT: &[Field] = &[
    ("format", Honoured(Table(FORMAT))),
    ("verbosity", Only(&["\"medium\""])),
];
const FORMAT: &[Field] = &[
    (
        "type",
        Required(Word(&["text", "json_object", "json_schema"])),
    ),
    ("name", Honoured(Text)),
    ("description", Honoured(Text)),
    ("schema", Honoured(SCHEMA)),
    ("strict", Only(&["true", "false"])),
];
const EFFORT: &[Field] = &[
    ("effort", Honoured(thinking::EFFORT)),
    ("summary", Only(&["\"auto\""])),
    ("generate_summary", Only(&["\"auto\""])),
];

/// A request as that of a chat.
pub(crate) struct Translated {
    /// Its fields.
    pub chat: Map<String, Value>,
    /// What answers repeat of the request.
    pub echo: Map<String, Value>,
}

/// Translates a body whose fields were checked; gives what answers repeat of it, too.
pub(crate) fn to_chat(mut fields: Fields) -> Result<Translated, ApiError> {
    let mut chat = Map::new();
    let mut echo = Map::new();
    for (name, default) in [
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("temperature", Value::Null),
        ("top_p", Value::Null),
        ("tools", json!([])),
        ("tool_choice", json!("auto")),
        ("parallel_tool_calls", json!(true)),
        ("text", json!({"format": {"type": "text"}})),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("user", Value::Null),
        ("metadata", json!({})),
        ("service_tier", json!("default")),
    ] {
        echo.insert(name.into(), fields.look(name).cloned().unwrap_or(default));
    }
    let mut messages = Vec::new();
    if let Some(text) = fields.opt::<String>("instructions")? {
        messages.push(json!({"role": "system", "content": text}));
    }
    match fields.required("input")? {
        Value::String(text) => messages.push(json!({"role": "user", "content": text})),
        list => {
            let items: Vec<Map<String, Value>> = typed("input", list)?;
            let mut thoughts = String::new();
            for (i, map) in items.into_iter().enumerate() {
                item(&map, &format!("input[{i}]"), &mut messages, &mut thoughts)?;
            }
        }
    }
    chat.insert("messages".into(), messages.into());
    let names = [
        ("model", "model"),
        ("max_output_tokens", "max_completion_tokens"),
        ("temperature", "temperature"),
        ("fallback", "fallback"),
        ("cache", "cache"),
        ("top_p", "top_p"),
        ("parallel_tool_calls", "parallel_tool_calls"),
        ("stream", "stream"),
        ("user", "user"),
        ("safety_identifier", "safety_identifier"),
        ("metadata", "metadata"),
        ("service_tier", "service_tier"),
    ];
    move_fields(&mut fields, &names, &mut chat)?;
    move_tools(&mut fields, tool, &mut chat)?;
    match fields.opt::<Value>("tool_choice")? {
        Some(Value::Object(choice)) if choice.get("type") == Some(&json!("function")) => {
            let function = json!({"name": choice.get("name")});
            let own = json!({"type": "function", "function": function});
            chat.insert("tool_choice".into(), own);
        }
        choice => chat.extend(choice.map(|choice| ("tool_choice".into(), choice))),
    }
    if let Some(text) = fields.opt::<Map<String, Value>>("text")? {
        check_keys(&text, &[TEXT], "text.")?;
        if let Some(format) = text.get("format") {
            chat.insert("response_format".into(), response_format(format)?);
        }
    }
    if let Some(mut reasoning) = fields.opt::<Map<String, Value>>("reasoning")? {
        check_keys(&reasoning, &[EFFORT], "reasoning.")?;
        let effort = reasoning.remove("effort");
        chat.extend(effort.map(|effort| ("reasoning_effort".into(), effort)));
    }
    Ok(Translated { chat, echo })
}

/// What a field of the translated request is called in the original.
pub(crate) fn original(name: &str) -> String {
    name.replace(".function.parameters", ".parameters")
        .replace(".function.name", ".name")
        .replace("response_format.json_schema.schema", "text.format.schema")
        .replace("max_completion_tokens", "max_output_tokens")
        .replace("reasoning_effort", "reasoning.effort")
}

fn response_format(format: &Value) -> Result<Value, ApiError> {
    let format: Map<String, Value> = typed("text.format", format.clone())?;
    check_keys(&format, &[FORMAT], "text.format.")?;
    let kind = format.get("type").cloned().unwrap_or_default();
    if kind != "json_schema" && format.contains_key("schema") {
        let message = "text.format.schema needs the type \"json_schema\"";
        return Err(ApiError::field("text.format.schema", message));
    }
    Ok(match format.get("schema") {
        Some(schema) => json!({"type": kind, "json_schema": {"schema": schema}}),
        None => json!({"type": kind}),
    })
}

fn tool(map: Map<String, Value>, i: usize) -> Result<Value, ApiError> {
    let path = format!("tools[{i}].");
    if map.get("type").and_then(Value::as_str) != Some("function") {
        let message = format!("{path}type must be \"function\": other tools are none of a model's");
        return Err(ApiError::field(format!("{path}type"), message));
    }
    check_keys(&map, &[TOOL], &path)?;
    let mut function = map;
    function.remove("type");
    Ok(json!({"type": "function", "function": function}))
}

/// One item of the input; thoughts wait for the message or call that they led to.
fn item(
    map: &Map<String, Value>,
    path: &str,
    messages: &mut Vec<Value>,
    thoughts: &mut String,
) -> Result<(), ApiError> {
    let keys = |table| check_keys(map, &[table], &format!("{path}."));
    let content = |key: &str| {
        let value = map.get(key).cloned().unwrap_or_default();
        text_of(value, &format!("{path}.{key}"))
    };
    let mut message = match map.get("type").and_then(Value::as_str) {
        None | Some("message") => {
            keys(MESSAGE)?;
            json!({"role": string(map, "role", path)?, "content": content("content")?})
        }
        Some("function_call") => {
            keys(CALL)?;
            let function = json!({"name": string(map, "name", path)?, "arguments": string(map, "arguments", path)?});
            let call = json!({"id": string(map, "call_id", path)?, "type": "function", "function": function});
            // What follows in the same turn is of one message.
            if let Some(last) = messages.last_mut()
                && last["role"] == "assistant"
            {
                if let Some(calls) = last["tool_calls"].as_array_mut() {
                    calls.push(call);
                } else {
                    last["tool_calls"] = json!([call]);
                }
                if !thoughts.is_empty() {
                    let before = last["reasoning_content"].as_str().unwrap_or_default();
                    last["reasoning_content"] = format!("{before}{thoughts}").into();
                    thoughts.clear();
                }
                return Ok(());
            }
            json!({"role": "assistant", "content": "", "tool_calls": [call]})
        }
        Some("function_call_output") => {
            keys(OUTPUT)?;
            let id = string(map, "call_id", path)?;
            json!({"role": "tool", "tool_call_id": id, "content": content("output")?})
        }
        Some("reasoning") => {
            keys(REASONING)?;
            if map.contains_key("content") {
                thoughts.push_str(&content("content")?);
            }
            return Ok(());
        }
        Some(kind) => {
            let name = format!("{path}.type");
            let message = format!("{name} is {kind:?}, which is not supported");
            return Err(ApiError::field(name, message));
        }
    };
    // They led to what follows, or to nothing.
    if message["role"] != "assistant" {
        thoughts.clear();
    } else if !thoughts.is_empty() {
        message["reasoning_content"] = std::mem::take(thoughts).into();
    }
    messages.push(message);
    Ok(())
}

/// A text, or parts of nothing else.
fn text_of(value: Value, path: &str) -> Result<String, ApiError> {
    let list = match value {
        Value::String(text) => return Ok(text),
        list => typed::<Vec<Map<String, Value>>>(path, list)?,
    };
    let mut text = String::new();
    for (i, part) in list.into_iter().enumerate() {
        let path = format!("{path}[{i}]");
        let kind = string(&part, "type", &path)?;
        if !matches!(
            kind.as_str(),
            "input_text" | "output_text" | "text" | "reasoning_text"
        ) {
            let name = format!("{path}.type");
            let message = format!("{name} is {kind:?}, but the model is text-only");
            return Err(ApiError::field(name, message));
        }
        check_keys(&part, &[PART], &format!("{path}."))?;
        text.push_str(&string(&part, "text", &path)?);
    }
    Ok(text)
}
