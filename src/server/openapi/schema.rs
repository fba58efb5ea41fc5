//! Forms as JSON Schemas.

use serde_json::Value;
use utoipa::Number;
use utoipa::openapi::schema::{
    AdditionalProperties, AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, SchemaType, Type,
};
use utoipa::openapi::{RefOr, Schema};

use crate::server::request::fields::{Field, Support};
use crate::server::request::form::Form;

/// The schema of an object with the fields of `tables`, and no others but such as are null, which counts as absent.
pub(super) fn object<'a>(tables: impl IntoIterator<Item = &'a [Field]>) -> Schema {
    let mut builder = ObjectBuilder::new()
        .additional_properties(Some(AdditionalProperties::RefOr(RefOr::T(null()))));
    for (name, support) in tables.into_iter().flatten() {
        let schema = match support {
            Support::Required(form) => {
                builder = builder.required(*name);
                of(form)
            }
            Support::Honoured(form) => or_null(of(form)),
            Support::Hint(why) => Object::builder()
                .schema_type(SchemaType::AnyValue)
                .description(Some(format!("Accepted: {why}.")))
                .into(),
            Support::Only(values) => only(values),
        };
        builder = builder.property(*name, schema);
    }
    builder.into()
}

/// The schema of a value of this form.
pub(super) fn of(form: &Form) -> Schema {
    let typed = |ty: Type| Object::builder().schema_type(SchemaType::new(ty));
    match form {
        Form::Any => typeless(),
        Form::Text => typed(Type::String).into(),
        Form::Bool => typed(Type::Boolean).into(),
        Form::Word(words) => typed(Type::String)
            .enum_values(Some(words.iter().copied()))
            .into(),
        Form::Integer(min, max) => {
            let bound = |value: &i64| {
                let is_bound = !matches!(*value, i64::MIN | i64::MAX);
                is_bound.then_some(Number::Int(*value as isize))
            };
            let integer = typed(Type::Integer).minimum(bound(min));
            integer.maximum(bound(max)).into()
        }
        Form::Number(min, max) => {
            let bound = |value: &f64| value.is_finite().then_some(Number::Float(*value));
            typed(Type::Number)
                .minimum(bound(min))
                .maximum(bound(max))
                .into()
        }
        Form::List(item) => ArrayBuilder::new().items(RefOr::T(of(item))).into(),
        Form::Map(value) => {
            let value = AdditionalProperties::RefOr(RefOr::T(of(value)));
            ObjectBuilder::new()
                .additional_properties(Some(value))
                .into()
        }
        Form::Table(fields) => object([*fields]),
        Form::Either(forms) => {
            let all = forms
                .iter()
                .fold(AnyOfBuilder::new(), |any, form| any.item(of(form)));
            all.into()
        }
    }
}

/// A field that is not supported, and what it may hold nevertheless.
fn only(values: &[&str]) -> Schema {
    let values = values
        .iter()
        .filter_map(|json| serde_json::from_str(json).ok());
    let values: Vec<Value> = std::iter::once(Value::Null).chain(values).collect();
    let description = match values.len() {
        1 => "Not supported.",
        _ => "Accepted at values that ask for nothing.",
    };
    Object::builder()
        .schema_type(SchemaType::AnyValue)
        .enum_values(Some(values))
        .description(Some(description))
        .into()
}

fn typeless() -> Schema {
    Object::builder().schema_type(SchemaType::AnyValue).into()
}

fn null() -> Schema {
    let null = Object::builder().schema_type(SchemaType::new(Type::Null));
    null.into()
}

/// `null` counts as absent.
fn or_null(schema: Schema) -> Schema {
    let is_anything =
        matches!(&schema, Schema::Object(object) if object.schema_type == SchemaType::AnyValue);
    match is_anything {
        true => schema,
        false => AnyOfBuilder::new().item(schema).item(null()).into(),
    }
}
