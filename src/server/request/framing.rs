//! How an answer is to be framed: streamed or not, with which counts and details.

use serde_json::Value;

use super::fields::{Field, Fields, Support::Honoured, Support::Only, check_keys, typed};
use super::form::Form::Bool;
use crate::server::error::ApiError;

pub(super) const STREAM_OPTIONS: &[Field] = &[
    ("include_usage", Honoured(Bool)),
    ("continuous_usage_stats", Honoured(Bool)),
    ("include_obfuscation", Only(&["false"])),
];

/// How the answer is to be framed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Framing {
    pub stream: bool,
    pub include_usage: bool,
    pub continuous_usage: bool,
    pub skip_special_tokens: bool,
    pub tokens_as_ids: bool,
    pub return_token_ids: bool,
}

impl Framing {
    /// Takes the fields about framing.
    pub fn take(fields: &mut Fields) -> Result<Self, ApiError> {
        let stream = fields.opt("stream")?.unwrap_or(false);
        let mut framing = Framing {
            stream,
            skip_special_tokens: fields.opt("skip_special_tokens")?.unwrap_or(true),
            tokens_as_ids: fields.opt("return_tokens_as_token_ids")?.unwrap_or(false),
            return_token_ids: fields.opt("return_token_ids")?.unwrap_or(false),
            ..Framing::default()
        };
        if let Some(options) = fields.opt::<serde_json::Map<String, Value>>("stream_options")? {
            if !stream {
                return Err(ApiError::field(
                    "stream_options",
                    "stream_options needs stream to be true",
                ));
            }
            check_keys(&options, &[STREAM_OPTIONS], "stream_options.")?;
            let flag = |key: &str| match options.get(key) {
                None => Ok(false),
                Some(value) => typed::<bool>(&format!("stream_options.{key}"), value.clone()),
            };
            framing.include_usage = flag("include_usage")?;
            framing.continuous_usage = flag("continuous_usage_stats")?;
        }
        Ok(framing)
    }
}
