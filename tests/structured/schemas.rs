//! Random JSON schemas, as applications write them and as they don't.

use serde_json::{Map, Value, json};

use crate::rng::Rng;

/// A schema with definitions that it may refer to.
pub fn random(rng: &mut Rng) -> Value {
    let mut schema = match rng.below(8) {
        0 => any(rng, 3),
        _ => object(rng, 3),
    };
    if let Some(map) = schema.as_object_mut() {
        map.insert("$defs".into(), json!({"point": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "integer"}}, "required": ["x"], "additionalProperties": false},
            "tree": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}}, "required": ["name"], "additionalProperties": false}}));
    }
    schema
}

fn any(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(if depth == 0 { 8 } else { 16 }) {
        0 => json!({"type": "boolean"}),
        1 => json!({"type": "null"}),
        2 => integer(rng),
        3 => number(rng),
        4 => string(rng),
        5 => json!({"enum": ["red", "green", 3, null, {"a": [1]}]}),
        6 => json!({"const": ["x", rng.below(100)]}),
        7 => json!({"type": ["string", "integer", "null"], "maxLength": 4}),
        8 | 9 => object(rng, depth - 1),
        10 | 11 => array(rng, depth - 1),
        12 => json!({"anyOf": [any(rng, depth - 1), any(rng, depth - 1)]}),
        13 => json!({"oneOf": [{"type": "integer"}, string(rng), object(rng, depth - 1)]}),
        14 => {
            let known = ["#/$defs/point", "#/$defs/tree"];
            json!({"$ref": (known[rng.below(2)])})
        }
        _ if rng.below(2) == 0 => odd(rng, depth),
        _ => string(rng),
    }
}

fn object(rng: &mut Rng, depth: usize) -> Value {
    let names = ["id", "name", "tags", "größe", "a b", "x\"y"];
    let mut properties = Map::new();
    let mut required = Vec::new();
    for name in &names[..1 + rng.below(names.len())] {
        properties.insert((*name).into(), any(rng, depth));
        if rng.below(2) == 0 {
            required.push(*name);
        }
    }
    let mut schema = json!({"type": "object", "properties": properties, "required": required});
    match rng.below(4) {
        0 => {}
        1 => schema["additionalProperties"] = json!({"type": "integer"}),
        _ => schema["additionalProperties"] = false.into(),
    }
    schema
}

fn array(rng: &mut Rng, depth: usize) -> Value {
    let mut schema =
        json!({"type": "array", "items": any(rng, depth), "maxItems": 1 + rng.below(4)});
    if rng.below(2) == 0 {
        schema["minItems"] = 1.into();
    }
    if rng.below(4) == 0 {
        schema["prefixItems"] = json!([any(rng, depth)]);
    }
    schema
}

fn integer(rng: &mut Rng) -> Value {
    let low = rng.below(2000) as i64 - 1000;
    let high = low + 1 + rng.below(5000) as i64;
    match rng.below(4) {
        0 => json!({"type": "integer"}),
        1 => json!({"type": "integer", "minimum": low, "maximum": high}),
        2 => json!({"type": "integer", "exclusiveMinimum": low, "maximum": high}),
        _ => {
            json!({"type": "integer", "minimum": 0, "maximum": 1000, "multipleOf": 1 + rng.below(9)})
        }
    }
}

fn number(rng: &mut Rng) -> Value {
    match rng.below(3) {
        0 => json!({"type": "number"}),
        1 => json!({"type": "number", "minimum": -1.5, "maximum": 2.75}),
        _ => json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
    }
}

fn string(rng: &mut Rng) -> Value {
    let formats = [
        "date",
        "time",
        "date-time",
        "email",
        "ipv4",
        "ipv6",
        "uuid",
        "hostname",
        "uri",
        "duration",
    ];
    let patterns = [
        "^[a-z]{2,5}$",
        "^(\\+\\d{1,3})?\\d{4,7}$",
        "[0-9]+",
        "^[^@ ]+@[a-z]+\\.de$",
        "^\\w+$",
    ];
    match rng.below(5) {
        0 => json!({"type": "string"}),
        1 => json!({"type": "string", "minLength": 1, "maxLength": 1 + rng.below(12)}),
        2 => json!({"type": "string", "enum": ["a", "bc", "\"quoted\"", "ü☃"]}),
        3 => json!({"type": "string", "format": (formats[rng.below(formats.len())])}),
        _ => json!({"type": "string", "pattern": (patterns[rng.below(patterns.len())])}),
    }
}

/// What is rare, contradictory or not supported.
fn odd(rng: &mut Rng, depth: usize) -> Value {
    match rng.below(8) {
        0 => json!({"type": "array", "items": any(rng, depth - 1), "uniqueItems": true}),
        1 => json!({"not": {"type": "string"}}),
        2 => json!({"type": "integer", "minimum": 9, "maximum": 3}),
        3 => {
            json!({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"type": "string", "maxLength": 3}}}]})
        }
        4 => {
            json!({"type": "object", "patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": false})
        }
        5 => json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}),
        6 => json!({"if": {"type": "string"}, "then": {"maxLength": 2}}),
        _ => json!({"type": "object", "minProperties": 2, "properties": {"a": {}, "b": {}}}),
    }
}

/// What stands at a place that an error names.
pub fn find<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return Some(schema);
    }
    let Value::Object(map) = schema else {
        return None;
    };
    let rest = path.strip_prefix('.')?;
    let keyword = map
        .keys()
        .filter(|key| rest.starts_with(key.as_str()))
        .max_by_key(|key| key.len())?;
    let (value, rest) = (&map[keyword], &rest[keyword.len()..]);
    if let (Value::Array(list), Some(rest)) = (value, rest.strip_prefix('[')) {
        let (i, rest) = rest.split_once(']')?;
        return find(&list[i.parse::<usize>().ok()?], rest);
    }
    match keyword.as_str() {
        "properties" | "patternProperties" | "$defs" => {
            let named = value.as_object()?.iter();
            named
                .filter_map(|(name, child)| {
                    find(child, rest.strip_prefix('.')?.strip_prefix(name.as_str())?)
                })
                .next()
        }
        _ => find(value, rest),
    }
}
