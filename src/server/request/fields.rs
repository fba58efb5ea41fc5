//! Request bodies, field by field: each field of an endpoint's table is honoured, or accepted at values that change
//! nothing, or refused by name; any other is a 400 that names the nearest known one. Nothing is silently ignored.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::form::{Form, drop_nulls};
use crate::server::error::ApiError;

/// What an endpoint does with a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Support {
    /// Read by the handler.
    Honoured(Form),
    /// The same, and it must be there.
    Required(Form),
    /// Accepted when it holds one of these JSON values, which ask for nothing; else a 400 "not supported yet".
    Only(&'static [&'static str]),
    /// Accepted whatever it holds, since there is nothing to do about it; says why.
    Hint(&'static str),
}

/// One row of an endpoint's table.
pub(crate) type Field = (&'static str, Support);

/// Fields refused whatever they hold.
pub(crate) const NEVER: Support = Support::Only(&[]);

/// A body whose every field is known.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    tables: Vec<&'static [Field]>,
}

impl Fields {
    /// Parses `body` and checks it against `tables`. `null` counts as absent everywhere.
    pub fn parse(body: &[u8], tables: &[&'static [Field]]) -> Result<Self, ApiError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| ApiError::bad_request(format!("the body is not UTF-8: {error}")))?;
        let Unique(mut map) = serde_json::from_str(text).map_err(|error| {
            ApiError::bad_request(match error.classify() {
                Category::Data if text.trim_start().starts_with('{') => {
                    format!("the body: {error}")
                }
                Category::Data => "the body must be a JSON object".into(),
                _ => format!("the body is not valid JSON: {error}"),
            })
        })?;
        map.retain(|_, value| !value.is_null());
        check_keys(&map, tables, "")?;
        Ok(Self::of(map, tables))
    }

    /// Of fields that were checked already.
    pub fn of(mut map: Map<String, Value>, tables: &[&'static [Field]]) -> Self {
        drop_nulls(&mut map, tables);
        let tables = tables.to_vec();
        Self { map, tables }
    }

    /// What the tables say that a field holds.
    fn form(&self, name: &str) -> Form {
        let mut fields = self.tables.iter().copied().flatten();
        match fields.find(|(known, _)| *known == name) {
            Some((_, Support::Honoured(form) | Support::Required(form))) => *form,
            _ => unreachable!("{name} is read, but its table does not say so: this is a bug"),
        }
    }

    /// Checks that a field is there, without taking it.
    pub fn must_have(&self, name: &str) -> Result<(), ApiError> {
        match self.map.contains_key(name) {
            true => Ok(()),
            false => Err(ApiError::field(name, format!("{name} is required"))),
        }
    }

    /// All that has not been taken.
    pub fn rest(&self) -> Map<String, Value> {
        self.map.clone()
    }

    /// What a field holds, to be changed.
    pub fn look_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.map.get_mut(name)
    }

    /// All that has not been taken, left where it is.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.map.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// A field, left where it is.
    pub fn look(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// Puts a field in the place of what it holds.
    pub fn set(&mut self, name: &str, value: Value) {
        self.map.insert(name.into(), value);
    }

    /// Takes an optional field; a wrong type is a 400 that names it.
    pub fn opt<T: DeserializeOwned>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        self.map
            .remove(name)
            .map(|value| typed(name, value))
            .transpose()
    }

    /// Takes a field that must be there.
    pub fn required<T: DeserializeOwned>(&mut self, name: &str) -> Result<T, ApiError> {
        self.opt(name)?
            .ok_or_else(|| ApiError::field(name, format!("{name} is required")))
    }

    /// Takes one of the words of its form.
    pub fn word(&mut self, name: &str) -> Result<Option<&'static str>, ApiError> {
        let Some(json) = self.map.remove(name) else {
            return Ok(None);
        };
        let Form::Word(words) = self.form(name) else {
            unreachable!("{name} is read as a word, but its table does not say so: this is a bug")
        };
        match words.iter().find(|word| json == **word) {
            Some(word) => Ok(Some(word)),
            None => {
                let message = format!("{name} is {json}, but must be one of {words:?}");
                Err(ApiError::field(name, message))
            }
        }
    }

    /// Takes a number that must lie in its form's range.
    pub fn number(&mut self, name: &str) -> Result<Option<f32>, ApiError> {
        let Some(json) = self.map.remove(name) else {
            return Ok(None);
        };
        let Form::Number(min, max) = self.form(name) else {
            unreachable!("{name} is read as a number, but its table does not say so: this is a bug")
        };
        match json.as_f64().filter(|value| (min..=max).contains(value)) {
            Some(value) => Ok(Some(value as f32)),
            None => Err(ApiError::field(
                name,
                format!("{name} must be a number in {min:?}..={max:?}, is {json}"),
            )),
        }
    }

    /// Takes an integer that must lie in its form's range.
    pub fn integer(&mut self, name: &str) -> Result<Option<i64>, ApiError> {
        let Some(json) = self.map.remove(name) else {
            return Ok(None);
        };
        let Form::Integer(min, max) = self.form(name) else {
            unreachable!(
                "{name} is read as an integer, but its table does not say so: this is a bug"
            )
        };
        match json.as_i64().filter(|value| (min..=max).contains(value)) {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::field(
                name,
                format!("{name} must be an integer in {min}..={max}, is {json}"),
            )),
        }
    }
}

/// A JSON object whose keys are all different.
struct Unique(Map<String, Value>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Unique;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    if map.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("{key:?} is there twice")));
                    }
                    map.insert(key, value);
                }
                Ok(Unique(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Deserialises the value of the field `name`.
pub(crate) fn typed<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, ApiError> {
    serde_json::from_value(value).map_err(|error| ApiError::field(name, format!("{name}: {error}")))
}

/// Checks the keys of an object at `path` (`""` for the body, else `"stream_options."` and the like).
pub(crate) fn check_keys(
    map: &Map<String, Value>,
    tables: &[&[Field]],
    path: &str,
) -> Result<(), ApiError> {
    for (key, value) in map {
        let name = format!("{path}{key}");
        match tables
            .iter()
            .copied()
            .flatten()
            .find(|(known, _)| known == key)
        {
            // Also those that nothing is made of, such as descriptions.
            Some((_, Support::Honoured(Form::Text) | Support::Required(Form::Text)))
                if !value.is_string() && !value.is_null() =>
            {
                typed::<String>(&name, value.clone())?;
            }
            Some((_, Support::Honoured(_) | Support::Required(_) | Support::Hint(_))) => {}
            Some((_, Support::Only(neutral))) => {
                let is_neutral = neutral
                    .iter()
                    .any(|json| serde_json::from_str::<Value>(json).is_ok_and(|v| v == *value));
                if !is_neutral {
                    let hint = if neutral.is_empty() {
                        String::new()
                    } else {
                        format!(" except as {}", neutral.join(" or "))
                    };
                    return Err(ApiError::field(
                        &name,
                        format!("{name} is not supported yet{hint}"),
                    ));
                }
            }
            None => {
                let known = tables.iter().copied().flatten().map(|(known, _)| *known);
                let hint = nearest(key, known)
                    .map(|near| format!("; did you mean {path}{near}?"))
                    .unwrap_or_default();
                return Err(ApiError::field(
                    &name,
                    format!("{name} is not a field of this endpoint{hint}"),
                ));
            }
        }
    }
    Ok(())
}

/// The known name closest to `key`, when it is close enough to be a slip.
pub(crate) fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (key.len() / 3).max(1);
    // Long keys are no slips of known names, and the distance costs the product of the lengths.
    let key = if key.len() > 64 { "" } else { key };
    known
        .map(|name| (strsim::levenshtein(key, name), name))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Field] = &[
        ("temperature", Support::Honoured(Form::Number(0.0, 2.0))),
        ("n", Support::Only(&["1"])),
        ("echo", Support::Only(&["false"])),
    ];

    fn param(body: &str) -> (String, String) {
        let error = Fields::parse(body.as_bytes(), &[TABLE]).unwrap_err().body();
        (
            error["error"]["param"].as_str().unwrap_or("").to_owned(),
            error["error"]["message"].as_str().unwrap().to_owned(),
        )
    }

    #[test]
    fn unknown_fields_name_the_nearest_known_one() {
        let (param, message) = param(r#"{"temprature": 1}"#);
        assert_eq!(param, "temprature");
        assert!(message.contains("did you mean temperature?"), "{message}");
        assert!(!super::tests::param(r#"{"zzzzzz": 1}"#).1.contains("mean"));
    }

    #[test]
    fn neutral_values_pass_and_others_are_refused_by_name() {
        assert!(
            Fields::parse(br#"{"n": 1, "echo": false, "temperature": null}"#, &[TABLE]).is_ok()
        );
        assert_eq!(param(r#"{"n": 2}"#).0, "n");
        assert!(
            param(r#"{"echo": true}"#)
                .1
                .contains("not supported yet except as false")
        );
    }

    #[test]
    fn wrong_types_and_ranges_name_the_field() {
        let mut fields = Fields::parse(br#"{"temperature": "hot"}"#, &[TABLE]).unwrap();
        assert_eq!(
            fields.number("temperature").unwrap_err().body()["error"]["param"],
            "temperature"
        );
        let mut fields = Fields::parse(br#"{"temperature": -1}"#, &[TABLE]).unwrap();
        assert_eq!(
            fields.number("temperature").unwrap_err().body()["error"]["param"],
            "temperature"
        );
    }
}
