//! Which part of a schema it is that cannot be followed.

use serde_json::{Map, Value};

use super::parts::children;
use super::{GrammarError, MAX_BYTES, MAX_DEPTH};

/// Parts compiled to find one to blame.
const MAX_TRIES: usize = 100;
/// Checks size and depth.
pub(super) fn check_limits(schema: &Value) -> Result<(), GrammarError> {
    let num_bytes = schema.to_string().len();
    if num_bytes > MAX_BYTES {
        let message = format!("the schema has {num_bytes} bytes; at most {MAX_BYTES} are allowed");
        return Err(GrammarError::whole(message));
    }
    if let Value::Object(map) = schema
        && map.contains_key("x-guidance")
    {
        return Err(GrammarError {
            path: ".x-guidance".into(),
            message: "options of the grammar engine are not taken from a schema".into(),
        });
    }
    check_depth(schema, &mut String::new(), 0)
}

fn check_depth(part: &Value, path: &mut String, depth: usize) -> Result<(), GrammarError> {
    if depth > MAX_DEPTH {
        return Err(GrammarError {
            path: path.clone(),
            message: format!("the schema is deeper than {MAX_DEPTH} levels"),
        });
    }
    for (step, child) in children(part) {
        let len = path.len();
        path.push_str(&step);
        check_depth(child, path, depth + 1)?;
        path.truncate(len);
    }
    Ok(())
}

/// Follows the parts that fail by themselves, `message` being why all of it does, and says where that ends and why.
/// Definitions go with every part, so that references find them.
pub(super) fn smallest(
    schema: &Value,
    message: String,
    fails: impl Fn(&Value) -> Option<String>,
) -> (String, String) {
    let definitions: Map<String, Value> = ["$defs", "definitions"]
        .iter()
        .filter_map(|&key| Some((key.to_owned(), schema.get(key)?.clone())))
        .collect();
    let (mut path, mut message, mut part) = (String::new(), message, schema);
    let mut num_tries = 0;
    'deeper: loop {
        for (step, child) in children(part) {
            num_tries += 1;
            if num_tries > MAX_TRIES {
                return (path, message);
            }
            let mut alone = child.clone();
            if let Value::Object(map) = &mut alone {
                for (key, value) in &definitions {
                    map.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            if let Some(why) = fails(&alone) {
                path.push_str(&step);
                (message, part) = (why, child);
                continue 'deeper;
            }
        }
        return (path, message);
    }
}

/// Errors of the grammar engine may go on with their context, and name options that are none here.
pub(super) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    if line.starts_with("oneOf constraints") {
        return "oneOf is supported only where it is plain that no value fits two of its schemas: use anyOf".into();
    }
    match line.strip_prefix("Unimplemented keys: ") {
        Some(keys) => format!("not supported: {keys}"),
        None => line.to_owned(),
    }
}
