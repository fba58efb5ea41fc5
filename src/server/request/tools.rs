//! `tools` and who decides about them.

use serde_json::{Map, Value, json};

use super::fields::{
    Field, Fields, Support::Honoured, Support::Only, Support::Required, check_keys, typed,
};
use super::form::Form::{Bool, Either, List, Table, Text, Word};
use super::form::{FUNCTION_TYPE, OBJECT};
use super::output_format::Asked;
use crate::server::error::ApiError;
use crate::text::{Rule, ToolChoice, ToolRules};

/// Fields of this file.
pub(crate) const FIELDS: &[Field] = &[
    ("tools", Honoured(List(&Table(TOOL)))),
    (
        "tool_choice",
        Honoured(Either(&[
            Word(&["none", "auto", "required"]),
            Table(CHOICE),
        ])),
    ),
    ("parallel_tool_calls", Honoured(Bool)),
    ("functions", Only(&["[]"])),
    ("function_call", Only(&["\"none\"", "\"auto\""])),
];

const TOOL: &[Field] = &[
    ("type", Required(FUNCTION_TYPE)),
    ("function", Required(Table(FUNCTION))),
];
const FUNCTION: &[Field] = &[
    ("name", Required(Text)),
    ("description", Honoured(Text)),
    ("parameters", Honoured(OBJECT)),
    // Arguments always follow their schema.
    ("strict", Only(&["true", "false"])),
];
const CHOICE: &[Field] = &[
    ("type", Required(FUNCTION_TYPE)),
    ("function", Required(OBJECT)),
];

/// Tools a request may have.
const MAX_TOOLS: usize = 128;

/// Tools that may be called.
pub(crate) struct Tools {
    /// As templates are told of them.
    pub list: Vec<Value>,
    pub rules: ToolRules,
}

impl Tools {
    /// What each function's arguments are to look like, for saying which one cannot be followed.
    pub fn schemas(&self) -> impl Iterator<Item = Asked> {
        let functions = self.rules.functions.iter().enumerate();
        functions.map(|(i, (_, schema))| Asked {
            param: format!("tools[{i}].function.parameters"),
            rule: Rule::JsonSchema(schema.clone()),
        })
    }
}

/// Whether there are tools that may be called, as far as the fields have the form that they should have.
pub(crate) fn are_brought(fields: &Fields) -> bool {
    let list = fields.look("tools").and_then(Value::as_array);
    let is_none = |choice: &Value| *choice == "none";
    list.is_some_and(|list| !list.is_empty()) && !fields.look("tool_choice").is_some_and(is_none)
}

/// Takes the fields of this file; `None` where no tool may be called.
pub(crate) fn take(fields: &mut Fields) -> Result<Option<Tools>, ApiError> {
    let list: Vec<Value> = fields.opt("tools")?.unwrap_or_default();
    let is_parallel = fields.opt("parallel_tool_calls")?.unwrap_or(true);
    let choice = fields.opt::<Value>("tool_choice")?;
    if list.len() > MAX_TOOLS {
        let message = format!(
            "tools has {} entries; at most {MAX_TOOLS} are allowed",
            list.len()
        );
        return Err(ApiError::field("tools", message));
    }
    let mut functions: Vec<(String, Value)> = Vec::new();
    for (i, tool) in list.iter().enumerate() {
        let function = function(tool, &format!("tools[{i}]"))?;
        if functions.iter().any(|(name, _)| *name == function.0) {
            let name = format!("tools[{i}].function.name");
            let message = format!("{name}: {:?} is there twice", function.0);
            return Err(ApiError::field(name, message));
        }
        functions.push(function);
    }
    let Some(choice) = tool_choice(choice, &functions)? else {
        return Ok(None);
    };
    Ok((!list.is_empty()).then_some(Tools {
        list,
        rules: ToolRules {
            functions,
            choice,
            is_parallel,
        },
    }))
}

/// A function's name and the schema of its arguments.
fn function(tool: &Value, path: &str) -> Result<(String, Value), ApiError> {
    let tool: Map<String, Value> = typed(path, tool.clone())?;
    check_keys(&tool, &[TOOL], &format!("{path}."))?;
    if tool.get("type").and_then(Value::as_str) != Some("function") {
        let name = format!("{path}.type");
        let message = format!("{name} must be \"function\"");
        return Err(ApiError::field(name, message));
    }
    let path = format!("{path}.function");
    let function: Map<String, Value> =
        typed(&path, tool.get("function").cloned().unwrap_or_default())?;
    check_keys(&function, &[FUNCTION], &format!("{path}."))?;
    let name = function.get("name").and_then(Value::as_str).unwrap_or("");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
        let message = "must be 1 to 64 letters, digits, underscores, dots and dashes";
        let path = format!("{path}.name");
        return Err(ApiError::field(&path, format!("{path} {message}")));
    }
    let schema = match function.get("parameters") {
        None => {
            json!({"type": "object", "properties": {}, "additionalProperties": false})
        }
        Some(schema @ Value::Object(_)) => schema.clone(),
        Some(_) => {
            let path = format!("{path}.parameters");
            return Err(ApiError::field(
                &path,
                format!("{path} must be a schema: an object"),
            ));
        }
    };
    Ok((name.to_owned(), schema))
}

/// `None` where no tool may be called.
fn tool_choice(
    choice: Option<Value>,
    functions: &[(String, Value)],
) -> Result<Option<ToolChoice>, ApiError> {
    let refused = |message: String| Err(ApiError::field("tool_choice", message));
    let choice = match choice {
        None => ToolChoice::Auto,
        Some(Value::String(word)) => match word.as_str() {
            "none" => return Ok(None),
            "auto" => ToolChoice::Auto,
            "required" => ToolChoice::Required,
            _ => {
                return refused(format!(
                    "tool_choice is {word:?}, but must be \"none\", \"auto\", \"required\" or a function"
                ));
            }
        },
        Some(value) => {
            let map: Map<String, Value> = typed("tool_choice", value)?;
            check_keys(&map, &[CHOICE], "tool_choice.")?;
            if map.get("type").and_then(Value::as_str) != Some("function") {
                let message = "tool_choice.type must be \"function\"";
                return Err(ApiError::field("tool_choice.type", message));
            }
            match map
                .get("function")
                .and_then(|function| function["name"].as_str())
            {
                Some(name) => ToolChoice::Named(name.to_owned()),
                None => return refused("tool_choice.function.name is required".into()),
            }
        }
    };
    match &choice {
        ToolChoice::Named(name) if !functions.iter().any(|(known, _)| known == name) => refused(
            format!("tool_choice names {name:?}, which is none of the tools"),
        ),
        ToolChoice::Required if functions.is_empty() => {
            refused("tool_choice is \"required\", but there are no tools".into())
        }
        _ => Ok(Some(choice)),
    }
}
