//! What values a field takes: read by the parser for ranges, and by `/openapi.json` for all of it.

use super::fields::Field;

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
