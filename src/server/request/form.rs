//! What values a field takes: read by the parser for ranges, and by `/openapi.json` for all of it.

use serde_json::{Map, Value};

use super::fields::{Field, Support};

/// The form of a JSON value. `null` counts as absent everywhere.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    /// Whatever there is.
    Any,
    /// A string.
    Text,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// true or false.
    Bool,
    /// An integer from the first to the second, both included.
    Integer(i64, i64),
    /// A number from the first to the second, both included.
    Number(f64, f64),
    /// A list.
    List(&'static Form),
    /// An object with any keys.
    Map(&'static Form),
    /// An object with these fields.
    Table(&'static [Field]),
    /// One of these.
    Either(&'static [Form]),
}

impl Form {
    /// Takes the nulls out of objects whose fields are known, however deep; what a request may hold freely stays as it is.
    pub fn drop_nulls(&self, value: &mut Value) {
        match (self, value) {
            (Self::Table(fields), Value::Object(map)) => drop_nulls(map, &[fields]),
            (Self::List(item), Value::Array(list)) => {
                list.iter_mut().for_each(|value| item.drop_nulls(value));
            }
            (Self::Map(form), Value::Object(map)) => {
                map.values_mut().for_each(|value| form.drop_nulls(value));
            }
            (Self::Either(forms), value) => {
                forms.iter().for_each(|form| form.drop_nulls(value));
            }
            _ => {}
        }
    }
}

/// [`Form::drop_nulls`] of an object with the fields of `tables`.
pub(super) fn drop_nulls(map: &mut Map<String, Value>, tables: &[&[Field]]) {
    map.retain(|_, value| !value.is_null());
    for (name, support) in tables.iter().copied().flatten() {
        if let Support::Honoured(form) | Support::Required(form) = support
            && let Some(value) = map.get_mut(*name)
        {
            form.drop_nulls(value);
        }
    }
}

/// A count of at least this many.
pub(crate) const fn at_least(min: i64) -> Form {
    Form::Integer(min, i64::MAX)
}

/// An object, whatever it holds.
pub(crate) const OBJECT: Form = Form::Map(&Form::Any);
/// A list of strings.
pub(crate) const TEXTS: Form = Form::List(&Form::Text);
/// Ids of tokens.
pub(crate) const TOKEN_IDS: Form = Form::List(&Form::Integer(0, u32::MAX as i64));
/// What can only be `"function"`.
pub(crate) const FUNCTION_TYPE: Form = Form::Word(&["function"]);
/// An object of strings.
pub(crate) const STRINGS: Form = Form::Map(&Form::Text);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::request::anthropic;
    use crate::server::routes::chat;

    fn dropped(tables: &[&[Field]], mut body: Value) -> Value {
        drop_nulls(body.as_object_mut().unwrap(), tables);
        body
    }

    #[test]
    fn null_is_absent_at_any_depth_but_where_a_request_holds_what_it_likes() {
        let body = json!({
            "user": null,
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "name": null}], "name": null}],
            "tools": [{"type": "function", "function": {"name": "f", "description": null, "parameters": {"default": null}}}],
            "chat_template_kwargs": {"x": null},
        });
        let expected = json!({
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"default": null}}}],
            "chat_template_kwargs": {"x": null},
        });
        assert_eq!(dropped(chat::TABLES, body), expected);
        let block = json!({"type": "tool_use", "id": "1", "name": "f", "input": {"x": null}, "caller": null});
        let body = json!({"tool_choice": {"type": "auto", "name": null}, "messages": [{"role": "assistant", "content": [block]}]});
        let kept = dropped(&[anthropic::PROMPT, anthropic::GENERATE], body);
        assert_eq!(kept["tool_choice"], json!({"type": "auto"}));
        assert_eq!(
            kept["messages"][0]["content"][0]["input"],
            json!({"x": null})
        );
        assert!(kept["messages"][0]["content"][0].get("caller").is_none());
    }
}
