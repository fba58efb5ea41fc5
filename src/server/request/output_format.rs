//! What the answer is to look like: OpenAI's `response_format`, vLLM's `structured_outputs` and the older `guided_*`.

use serde_json::{Map, Value};

use super::fields::{
    Field, Fields, NEVER, Support::Honoured, Support::Only, Support::Required, check_keys, typed,
};
use super::form::Form::{Any, Table, Text, Word};
use super::form::{Form, OBJECT, TEXTS};
use crate::server::error::ApiError;
use crate::text::{GrammarError, Rule};

/// Fields of this file.
pub(crate) const FIELDS: &[Field] = &[
    ("response_format", Honoured(Table(RESPONSE_FORMAT))),
    ("structured_outputs", Honoured(Table(STRUCTURED_OUTPUTS))),
    ("guided_json", Honoured(Any)),
    ("guided_regex", Honoured(Text)),
    ("guided_choice", Honoured(TEXTS)),
    ("guided_grammar", Honoured(Text)),
    (
        "guided_decoding_backend",
        Only(&["\"auto\"", "\"guidance\""]),
    ),
    ("guided_whitespace_pattern", NEVER),
];

/// A JSON Schema.
pub(super) const SCHEMA: Form = Form::Either(&[OBJECT, Form::Bool]);

const RESPONSE_FORMAT: &[Field] = &[
    (
        "type",
        Required(Word(&["text", "json_object", "json_schema"])),
    ),
    ("json_schema", Honoured(Table(JSON_SCHEMA))),
];

const JSON_SCHEMA: &[Field] = &[
    ("name", Honoured(Text)),
    ("description", Honoured(Text)),
    ("schema", Required(SCHEMA)),
    // Schemas are always followed to the letter.
    ("strict", Only(&["true", "false"])),
];

const STRUCTURED_OUTPUTS: &[Field] = &[
    ("json", Honoured(Any)),
    ("json_object", Honoured(Any)),
    ("regex", Honoured(Text)),
    ("choice", Honoured(TEXTS)),
    ("grammar", Honoured(Text)),
    ("structural_tag", NEVER),
    ("disable_any_whitespace", Only(&["false"])),
    ("disable_additional_properties", Only(&["false"])),
    ("disable_fallback", Only(&["true", "false"])),
    ("whitespace_pattern", NEVER),
];

/// What `structured_outputs` takes one of.
const KEYS: [&str; 5] = ["json", "json_object", "regex", "choice", "grammar"];

/// A rule and the field that it came from.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub param: String,
    pub rule: Rule,
}

impl Asked {
    /// The 400 for a rule that cannot be followed, naming the place.
    pub fn refused(&self, error: &GrammarError) -> ApiError {
        let param = format!("{}{}", self.param, error.path);
        ApiError::field(&param, format!("{param}: {error}"))
    }
}

/// Takes the fields of this file; at most one of them may ask for something.
pub(crate) fn take(fields: &mut Fields) -> Result<Option<Asked>, ApiError> {
    let mut all = Vec::new();
    if let Some(map) = fields.opt("response_format")? {
        all.extend(response_format(map)?);
    }
    if let Some(map) = fields.opt("structured_outputs")? {
        all.extend(structured_outputs(map)?);
    }
    for key in ["json", "regex", "choice", "grammar"] {
        let param = format!("guided_{key}");
        if let Some(value) = fields.opt(&param)? {
            all.push(asked(key, param, value)?);
        }
    }
    if let [first, second, ..] = all.as_slice() {
        let message = format!(
            "{} and {} contradict each other: send one",
            first.param, second.param
        );
        return Err(ApiError::field(&second.param, message));
    }
    Ok(all.pop())
}

/// Whether any of them asks for something, as far as it has the form that it should have.
pub(crate) fn is_asked(fields: &Fields) -> bool {
    let format = fields.look("response_format").map(|format| &format["type"]);
    let outputs = fields.look("structured_outputs");
    let asks = |key: &str| {
        let output = outputs.and_then(|outputs| outputs.get(key));
        output.is_some_and(|value| *value != false && !value.is_null())
    };
    let is_guided = |key: &str| fields.look(&format!("guided_{key}")).is_some();
    format.is_some_and(|kind| *kind == "json_object" || *kind == "json_schema")
        || KEYS.into_iter().any(asks)
        || KEYS.into_iter().any(is_guided)
}

fn response_format(map: Map<String, Value>) -> Result<Option<Asked>, ApiError> {
    let param = "response_format";
    check_keys(&map, &[RESPONSE_FORMAT], "response_format.")?;
    let kind = map.get("type").and_then(Value::as_str);
    match kind {
        Some("text" | "json_object") if map.contains_key("json_schema") => {
            let param = "response_format.json_schema";
            let message = format!("{param} needs the type \"json_schema\"");
            Err(ApiError::field(param, message))
        }
        Some("text") => Ok(None),
        Some("json_object") => Ok(Some(Asked {
            param: param.into(),
            rule: Rule::json_object(),
        })),
        Some("json_schema") => {
            let param = "response_format.json_schema";
            let missing = |what: &str| ApiError::field(what, format!("{what} is required"));
            let schema = map.get("json_schema").ok_or_else(|| missing(param))?;
            let schema: Map<String, Value> = typed(param, schema.clone())?;
            check_keys(&schema, &[JSON_SCHEMA], "response_format.json_schema.")?;
            let param = "response_format.json_schema.schema";
            let rule = schema.get("schema").ok_or_else(|| missing(param))?.clone();
            Ok(Some(Asked {
                param: param.into(),
                rule: Rule::JsonSchema(rule),
            }))
        }
        _ => {
            let message =
                "response_format.type must be \"text\", \"json_object\" or \"json_schema\"";
            Err(ApiError::field("response_format.type", message))
        }
    }
}

fn structured_outputs(mut map: Map<String, Value>) -> Result<Option<Asked>, ApiError> {
    check_keys(&map, &[STRUCTURED_OUTPUTS], "structured_outputs.")?;
    let mut all = Vec::new();
    for key in KEYS {
        if let Some(value) = map.remove(key).filter(|value| *value != false) {
            all.push(asked(key, format!("structured_outputs.{key}"), value)?);
        }
    }
    match all.as_slice() {
        [] | [_] => Ok(all.pop()),
        [_, second, ..] => {
            let message =
                "structured_outputs takes one of json, json_object, regex, choice and grammar";
            Err(ApiError::field(&second.param, message))
        }
    }
}

fn asked(key: &str, param: String, value: Value) -> Result<Asked, ApiError> {
    let rule = match key {
        "json" => Rule::JsonSchema(match value {
            // Either is common.
            Value::String(text) => serde_json::from_str(&text)
                .map_err(|error| ApiError::field(&param, format!("{param}: {error}")))?,
            schema => schema,
        }),
        "json_object" => {
            typed::<bool>(&param, value)?;
            Rule::json_object()
        }
        "regex" => Rule::Regex(typed(&param, value)?),
        "choice" => Rule::Choice(typed(&param, value)?),
        _ => Rule::Lark(typed(&param, value)?),
    };
    Ok(Asked { param, rule })
}
