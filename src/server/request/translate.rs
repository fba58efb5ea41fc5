//! What the translations of other endpoints' requests to a chat's have in common.

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::server::error::ApiError;

/// A text that an object must have.
pub(super) fn string(map: &Map<String, Value>, key: &str, path: &str) -> Result<String, ApiError> {
    let name = format!("{path}.{key}");
    match map.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(ApiError::field(&name, format!("{name} must be a string"))),
    }
}

/// Moves fields as they are, each under the name that a chat has for it.
pub(super) fn move_fields(
    fields: &mut Fields,
    names: &[(&str, &str)],
    chat: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    for (name, own) in names {
        if let Some(value) = fields.opt::<Value>(name)? {
            chat.insert((*own).into(), value);
        }
    }
    Ok(())
}

/// Moves `tools`, each translated by `tool`, which is told its index.
pub(super) fn move_tools(
    fields: &mut Fields,
    tool: impl Fn(Map<String, Value>, usize) -> Result<Value, ApiError>,
    chat: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    if let Some(tools) = fields.opt::<Vec<Map<String, Value>>>("tools")? {
        let tools = tools.into_iter().enumerate();
        let tools: Result<Vec<Value>, ApiError> = tools.map(|(i, map)| tool(map, i)).collect();
        chat.insert("tools".into(), tools?.into());
    }
    Ok(())
}
