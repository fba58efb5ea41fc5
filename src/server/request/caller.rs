//! Who asks, as the request log has it.

use std::collections::HashMap;

use super::fields::Fields;
use crate::server::error::ApiError;

/// Characters of a name that goes into the log.
const MAX_NAME_LEN: usize = 256;

/// Who asks, for the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    pub user: Option<String>,
    pub session: Option<String>,
}

/// Who asks.
pub(super) fn caller(fields: &mut Fields) -> Result<Caller, ApiError> {
    let metadata = fields
        .opt::<HashMap<String, String>>("metadata")?
        .unwrap_or_default();
    let short = |name: &str, text: Option<String>| match text {
        Some(text) if text.chars().count() > MAX_NAME_LEN => Err(ApiError::field(
            name,
            format!("{name} is longer than {MAX_NAME_LEN} characters"),
        )),
        text => Ok(text),
    };
    let user = short("user", fields.opt("user")?)?;
    let safety = short("safety_identifier", fields.opt("safety_identifier")?)?;
    let session = short("session_id", fields.opt("session_id")?)?;
    let of_metadata = short("metadata.session_id", metadata.get("session_id").cloned())?;
    Ok(Caller {
        user: user.or(safety),
        session: session.or(of_metadata),
    })
}
