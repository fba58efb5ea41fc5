//! How urgent a request says it is: whom it comes before, and when its first token must come.

use std::time::Duration;

use serde_json::Value;

use super::fields::Fields;
use super::form::Form;
use crate::request::Priority;
use crate::server::error::ApiError;

/// Up to a day.
pub(super) const DEADLINE_MS: Form = Form::Integer(1, 86_400_000);
pub(super) const PRIORITY: Form = Form::Either(&[
    Form::Word(&["interactive", "standard", "batch"]),
    Form::Integer(0, 0),
]);
pub(super) const SERVICE_TIER: Form = Form::Word(&["auto", "default", "flex", "priority"]);

/// What holds for a request that does not say how urgent it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub priority: Priority,
    /// In which time the first token must come.
    pub deadline: Option<Duration>,
}

/// A class by its name, by OpenAI's service tier or vLLM's number for those that are all alike.
pub(crate) fn priority(fields: &mut Fields, standing: Standing) -> Result<Priority, ApiError> {
    let tier = match fields.opt::<Value>("service_tier")? {
        None => None,
        Some(value) => match value.as_str() {
            Some("auto") => None,
            Some("default") => Some(Priority::Standard),
            Some("priority") => Some(Priority::Interactive),
            Some("flex") => Some(Priority::Batch),
            _ => {
                let message = format!(
                    "service_tier is {value}, but must be \"auto\", \"default\", \"flex\" or \"priority\""
                );
                return Err(ApiError::field("service_tier", message));
            }
        },
    };
    let Some(value) = fields.opt::<Value>("priority")? else {
        return Ok(tier.unwrap_or(standing.priority));
    };
    if tier.is_some() {
        let message = "service_tier and priority both say how urgent it is: send one";
        return Err(ApiError::field("service_tier", message));
    }
    match value.as_str() {
        Some("interactive") => Ok(Priority::Interactive),
        Some("standard") => Ok(Priority::Standard),
        Some("batch") => Ok(Priority::Batch),
        None if value == 0 => Ok(Priority::Standard),
        _ => Err(ApiError::field(
            "priority",
            format!("priority is {value}, but must be \"interactive\", \"standard\" or \"batch\""),
        )),
    }
}

/// The request's own, or what holds else, which batch work is free of.
pub(crate) fn deadline(
    fields: &mut Fields,
    standing: Standing,
    priority: Priority,
) -> Result<Option<Duration>, ApiError> {
    let own = fields.integer("deadline_ms")?;
    let own = own.map(|ms| Duration::from_millis(ms as u64));
    let default = standing.deadline.filter(|_| priority != Priority::Batch);
    Ok(own.or(default))
}
