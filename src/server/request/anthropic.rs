//! Anthropic's request for a chat, translated to the one that there is.

use serde_json::{Map, Value, json};

use super::fields::{
    Field, Fields, NEVER, Support::Hint, Support::Honoured, Support::Only, Support::Required,
    check_keys, typed,
};
use super::form::Form::{Any, Bool, Either, Integer, List, Number, Table, Text, Word};
use super::form::{Form, OBJECT, TEXTS, at_least};
use super::generate::{FALLBACK, GIVEN_AGAIN};
use super::output_format::SCHEMA;
use super::thinking;
use super::translate::{move_fields, move_tools, string};
use crate::server::error::ApiError;

/// What a cache mark asks for happens anyway.
const CACHE: Field = (
    "cache_control",
    Hint("prompts find what is cached of them without marks"),
);

/// What counting tokens and generating have in common.
pub(crate) const PROMPT: &[Field] = &[
    ("model", Honoured(Text)),
    ("messages", Required(List(&Table(MESSAGE)))),
    ("system", Honoured(TEXTS_OR_BLOCKS)),
    ("tools", Honoured(List(&Table(TOOL)))),
    ("tool_choice", Honoured(Table(TOOL_CHOICE))),
    ("thinking", Honoured(Table(THINKING_CONFIG))),
    CACHE,
    ("mcp_servers", Only(&["[]"])),
    ("context_management", NEVER),
];

/// What only generating has.
pub(crate) const GENERATE: &[Field] = &[
    ("max_tokens", Required(at_least(1))),
    ("stop_sequences", Honoured(TEXTS)),
    ("stream", Honoured(Bool)),
    ("temperature", Honoured(Number(0.0, 100.0))),
    ("top_p", Honoured(Number(0.0, 1.0))),
    ("top_k", Honoured(Integer(-1, u32::MAX as i64))),
    ("metadata", Honoured(Table(METADATA))),
    ("output_config", Honoured(Table(OUTPUT_CONFIG))),
    FALLBACK,
    GIVEN_AGAIN,
    ("service_tier", Only(&["\"auto\"", "\"standard_only\""])),
    ("container", NEVER),
    ("diagnostics", NEVER),
    ("inference_geo", NEVER),
    ("speed", Only(&["\"standard\""])),
    ("user_profile_id", NEVER),
    ("workspace_id", NEVER),
];

const METADATA: &[Field] = &[("user_id", Honoured(Text))];
/// A text, or blocks of nothing else.
const TEXTS_OR_BLOCKS: Form = Either(&[Text, List(&Table(TEXT))]);
const BLOCK: Form = Either(&[
    Table(TEXT),
    Table(THINKING),
    Table(TOOL_USE),
    Table(TOOL_RESULT),
]);
const MESSAGE: &[Field] = &[
    ("role", Required(Word(&["user", "assistant"]))),
    ("content", Required(Either(&[Text, List(&BLOCK)]))),
];
const TEXT: &[Field] = &[
    ("type", Required(Word(&["text"]))),
    ("text", Required(Text)),
    CACHE,
    ("citations", Only(&["[]"])),
];
const TOOL_USE: &[Field] = &[
    ("type", Required(Word(&["tool_use"]))),
    ("id", Required(Text)),
    ("name", Required(Text)),
    ("input", Honoured(Any)),
    CACHE,
    ("caller", Only(&[r#"{"type":"direct"}"#])),
];
const TOOL_RESULT: &[Field] = &[
    ("type", Required(Word(&["tool_result"]))),
    ("tool_use_id", Required(Text)),
    ("content", Honoured(TEXTS_OR_BLOCKS)),
    ("is_error", Honoured(Bool)),
    CACHE,
];
const THINKING: &[Field] = &[
    ("type", Required(Word(&["thinking"]))),
    ("thinking", Required(Text)),
    ("signature", Hint("thoughts are taken as they are")),
];
const TOOL: &[Field] = &[
    ("type", Only(&["\"custom\""])),
    ("name", Required(Text)),
    ("description", Honoured(Text)),
    ("input_schema", Honoured(OBJECT)),
    // Arguments always follow their schema.
    ("strict", Only(&["true", "false"])),
    CACHE,
];
const TOOL_CHOICE: &[Field] = &[
    ("type", Required(Word(&["auto", "any", "tool", "none"]))),
    ("name", Honoured(Text)),
    ("disable_parallel_tool_use", Honoured(Bool)),
];
const THINKING_CONFIG: &[Field] = &[
    ("type", Required(Word(&["enabled", "disabled", "adaptive"]))),
    ("budget_tokens", Honoured(Integer(0, u32::MAX as i64))),
    ("display", Only(&["\"summarized\""])),
];
const OUTPUT_CONFIG: &[Field] = &[
    ("effort", Honoured(thinking::EFFORT)),
    ("format", Honoured(Table(FORMAT))),
];
const FORMAT: &[Field] = &[
    ("type", Only(&["\"json_schema\""])),
    ("schema", Required(SCHEMA)),
];

/// Translates a body whose fields were checked.
pub(crate) fn to_chat(mut fields: Fields) -> Result<Map<String, Value>, ApiError> {
    let mut chat = Map::new();
    let mut messages = Vec::new();
    if let Some(system) = fields.opt("system")? {
        messages.push(json!({"role": "system", "content": text_of(system, "system")?}));
    }
    let list: Vec<Map<String, Value>> = fields.required("messages")?;
    for (i, map) in list.into_iter().enumerate() {
        message(map, &format!("messages[{i}]"), &mut messages)?;
    }
    chat.insert("messages".into(), messages.into());
    let names = [
        ("model", "model"),
        ("max_tokens", "max_completion_tokens"),
        ("stop_sequences", "stop"),
        ("stream", "stream"),
        ("temperature", "temperature"),
        ("fallback", "fallback"),
        ("cache", "cache"),
        ("top_p", "top_p"),
        ("top_k", "top_k"),
    ];
    move_fields(&mut fields, &names, &mut chat)?;
    move_tools(&mut fields, tool, &mut chat)?;
    if let Some(choice) = fields.opt::<Map<String, Value>>("tool_choice")? {
        tool_choice(choice, &mut chat)?;
    }
    if let Some(thinking) = fields.opt::<Map<String, Value>>("thinking")? {
        think(thinking, &mut chat)?;
    }
    if let Some(metadata) = fields.opt::<Map<String, Value>>("metadata")? {
        check_keys(&metadata, &[METADATA], "metadata.")?;
        chat.extend(
            metadata
                .get("user_id")
                .map(|user| ("user".into(), user.clone())),
        );
    }
    if let Some(config) = fields.opt::<Map<String, Value>>("output_config")? {
        output_config(config, &mut chat)?;
    }
    Ok(chat)
}

/// What a field of the translated request is called in the original.
pub(crate) fn original(name: &str) -> String {
    name.replace(".function.parameters", ".input_schema")
        .replace(".function.name", ".name")
        .replace(
            "response_format.json_schema.schema",
            "output_config.format.schema",
        )
        .replace("max_completion_tokens", "max_tokens")
        .replace("reasoning_effort", "output_config.effort")
        .replace("thinking_token_budget", "thinking.budget_tokens")
}

/// A text, or blocks of nothing else.
fn text_of(value: Value, path: &str) -> Result<String, ApiError> {
    let list = match value {
        Value::String(text) => return Ok(text),
        list => typed::<Vec<Map<String, Value>>>(path, list)?,
    };
    let mut text = String::new();
    for (i, block) in list.into_iter().enumerate() {
        let path = format!("{path}[{i}]");
        match block.get("type").and_then(Value::as_str) {
            Some("text") => text.push_str(&text_block(&block, &path)?),
            kind => return Err(not_text(kind, &path)),
        }
    }
    Ok(text)
}

fn text_block(block: &Map<String, Value>, path: &str) -> Result<String, ApiError> {
    check_keys(block, &[TEXT], &format!("{path}."))?;
    string(block, "text", path)
}

fn not_text(kind: Option<&str>, path: &str) -> ApiError {
    let name = format!("{path}.type");
    let message = match kind {
        Some(kind) => format!("{name} is {kind:?}, but the model is text-only"),
        None => format!("{name} is required"),
    };
    ApiError::field(name, message)
}

/// One message: results of tools become messages of their own, before what else the user says.
fn message(map: Map<String, Value>, path: &str, messages: &mut Vec<Value>) -> Result<(), ApiError> {
    check_keys(&map, &[MESSAGE], &format!("{path}."))?;
    let role = string(&map, "role", path)?;
    if role != "user" && role != "assistant" {
        let name = format!("{path}.role");
        let message = format!("{name} is {role:?}, but must be \"user\" or \"assistant\"");
        return Err(ApiError::field(name, message));
    }
    let path = format!("{path}.content");
    let blocks = match map.get("content").cloned() {
        Some(Value::Array(blocks)) => blocks,
        Some(Value::String(text)) => vec![json!({"type": "text", "text": text})],
        _ => {
            let message = format!("{path} must be a string or a list of blocks");
            return Err(ApiError::field(path, message));
        }
    };
    let num_before = messages.len();
    let (mut text, mut thoughts, mut calls) = (None::<String>, String::new(), Vec::new());
    for (i, block) in blocks.into_iter().enumerate() {
        let path = format!("{path}[{i}]");
        let block: Map<String, Value> = typed(&path, block)?;
        let keys = |table| check_keys(&block, &[table], &format!("{path}."));
        match (block.get("type").and_then(Value::as_str), role.as_str()) {
            (Some("text"), _) => {
                text.get_or_insert_default()
                    .push_str(&text_block(&block, &path)?);
            }
            (Some("thinking"), "assistant") => {
                keys(THINKING)?;
                thoughts.push_str(&string(&block, "thinking", &path)?);
            }
            (Some("tool_use"), "assistant") => {
                keys(TOOL_USE)?;
                let input = block.get("input").cloned().unwrap_or_else(|| json!({}));
                let function =
                    json!({"name": string(&block, "name", &path)?, "arguments": input.to_string()});
                calls.push(json!({"id": string(&block, "id", &path)?, "type": "function", "function": function}));
            }
            (Some("tool_result"), "user") => {
                keys(TOOL_RESULT)?;
                let id = string(&block, "tool_use_id", &path)?;
                let content = block.get("content").cloned().unwrap_or_else(|| "".into());
                let mut content = text_of(content, &format!("{path}.content"))?;
                let is_error = block.get("is_error").cloned().unwrap_or_default();
                if typed::<Option<bool>>(&format!("{path}.is_error"), is_error)? == Some(true) {
                    content = format!("Error: {content}");
                }
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
            }
            (kind, _) => return Err(not_text(kind, &path)),
        }
    }
    if text.is_none() && messages.len() > num_before {
        return Ok(());
    }
    let mut message = json!({"role": role, "content": text.unwrap_or_default()});
    if !thoughts.is_empty() {
        message["reasoning_content"] = thoughts.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    messages.push(message);
    Ok(())
}

fn tool(map: Map<String, Value>, i: usize) -> Result<Value, ApiError> {
    check_keys(&map, &[TOOL], &format!("tools[{i}]."))?;
    let mut function = json!({"name": map.get("name"), "parameters": map.get("input_schema")});
    if let Some(description) = map.get("description") {
        function["description"] = description.clone();
    }
    Ok(json!({"type": "function", "function": function}))
}

fn tool_choice(choice: Map<String, Value>, chat: &mut Map<String, Value>) -> Result<(), ApiError> {
    check_keys(&choice, &[TOOL_CHOICE], "tool_choice.")?;
    let own = match choice.get("type").and_then(Value::as_str) {
        Some("auto") => json!("auto"),
        Some("any") => json!("required"),
        Some("none") => json!("none"),
        Some("tool") => {
            let name = string(&choice, "name", "tool_choice")?;
            json!({"type": "function", "function": {"name": name}})
        }
        _ => {
            let message = "tool_choice.type must be \"auto\", \"any\", \"tool\" or \"none\"";
            return Err(ApiError::field("tool_choice.type", message));
        }
    };
    if choice.contains_key("name") && !own.is_object() {
        let message = "tool_choice.name needs the type \"tool\"";
        return Err(ApiError::field("tool_choice.name", message));
    }
    chat.insert("tool_choice".into(), own);
    if let Some(disable) = choice.get("disable_parallel_tool_use") {
        let disable: bool = typed("tool_choice.disable_parallel_tool_use", disable.clone())?;
        chat.insert("parallel_tool_calls".into(), (!disable).into());
    }
    Ok(())
}

/// Thoughts that are not wanted are not asked of a model that has none.
fn think(thinking: Map<String, Value>, chat: &mut Map<String, Value>) -> Result<(), ApiError> {
    check_keys(&thinking, &[THINKING_CONFIG], "thinking.")?;
    let kind = thinking.get("type").and_then(Value::as_str);
    if kind != Some("enabled") && thinking.contains_key("budget_tokens") {
        let message = "thinking.budget_tokens needs the type \"enabled\"";
        return Err(ApiError::field("thinking.budget_tokens", message));
    }
    match kind {
        Some("enabled") => {
            let budget = thinking.get("budget_tokens").cloned().unwrap_or_default();
            chat.insert("thinking_token_budget".into(), budget);
        }
        Some("disabled") => {
            chat.insert("include_reasoning".into(), false.into());
            let kwargs = json!({"enable_thinking": false});
            chat.insert("chat_template_kwargs".into(), kwargs);
        }
        Some("adaptive") => {}
        _ => {
            let message = "thinking.type must be \"enabled\", \"disabled\" or \"adaptive\"";
            return Err(ApiError::field("thinking.type", message));
        }
    }
    Ok(())
}

fn output_config(
    config: Map<String, Value>,
    chat: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    check_keys(&config, &[OUTPUT_CONFIG], "output_config.")?;
    if let Some(effort) = config.get("effort") {
        chat.insert("reasoning_effort".into(), effort.clone());
    }
    if let Some(format) = config.get("format") {
        let format: Map<String, Value> = typed("output_config.format", format.clone())?;
        check_keys(&format, &[FORMAT], "output_config.format.")?;
        let schema = json!({"schema": format.get("schema")});
        let own = json!({"type": "json_schema", "json_schema": schema});
        chat.insert("response_format".into(), own);
    }
    Ok(())
}
