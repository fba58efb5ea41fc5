//! The schemas inside of a schema.

use serde_json::{Value, json};

/// Keywords with a schema.
const ONE: &[&str] = &[
    "items",
    "additionalProperties",
    "not",
    "contains",
    "propertyNames",
    "if",
    "then",
    "else",
];
/// Keywords with a list of schemas.
const LIST: &[&str] = &["prefixItems", "anyOf", "oneOf", "allOf"];
/// Keywords with schemas by name.
const NAMED: &[&str] = &["properties", "patternProperties", "$defs", "definitions"];

/// The schemas right inside of one, and the way to each.
pub(super) fn children(schema: &Value) -> Vec<(String, &Value)> {
    let Value::Object(map) = schema else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (keyword, value) in map {
        match value {
            Value::Object(named) if NAMED.contains(&keyword.as_str()) => {
                let step = |name: &String| format!(".{keyword}.{name}");
                all.extend(named.iter().map(|(name, child)| (step(name), child)));
            }
            Value::Array(list) if LIST.contains(&keyword.as_str()) || keyword == "items" => {
                let step = |i: usize| format!(".{keyword}[{i}]");
                all.extend(list.iter().enumerate().map(|(i, child)| (step(i), child)));
            }
            child if ONE.contains(&keyword.as_str()) => all.push((format!(".{keyword}"), child)),
            _ => {}
        }
    }
    all
}

/// Adds what the formats of strings say of lengths, which the expressions that stand for them do not (RFC 5321, section 4.5.3.1;
/// RFC 1035, section 2.3.4).
pub(super) fn bound_formats(schema: &mut Value) {
    let Value::Object(map) = schema else {
        return;
    };
    let most = match map.get("format").and_then(Value::as_str) {
        Some("email") => Some(64),
        Some("hostname") => Some(253),
        _ => None,
    };
    let own = map.get("maxLength").and_then(Value::as_u64);
    if let Some(most) = most
        && own.is_none_or(|own| own > most)
    {
        map.insert("maxLength".into(), json!(most));
    }
    for (keyword, value) in map {
        let keyword = keyword.as_str();
        match value {
            Value::Object(named) if NAMED.contains(&keyword) => {
                named.values_mut().for_each(bound_formats);
            }
            Value::Array(list) if LIST.contains(&keyword) || keyword == "items" => {
                list.iter_mut().for_each(bound_formats);
            }
            child if ONE.contains(&keyword) => bound_formats(child),
            _ => {}
        }
    }
}
