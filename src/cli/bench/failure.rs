//! Why a request failed.

use std::borrow::Cow;

use crate::http::HttpError;

/// One request's failure. Failures are counted by [`Failure::kind`] and kept out of every latency figure.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// No connection, or no TLS session.
    #[error("could not connect: {0}")]
    Connect(String),
    /// The connection broke before the reply was complete.
    #[error("the connection broke: {0}")]
    Connection(String),
    /// The server answered with another status than 200.
    #[error("HTTP {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// The error's message, or the start of the body.
        message: String,
    },
    /// The reply was not complete in the time allowed.
    #[error("no complete reply within the timeout")]
    Timeout,
    /// The body is no stream of OpenAI chunks.
    #[error("malformed stream: {0}")]
    Malformed(String),
    /// The server reported an error in the stream.
    #[error("error event in the stream: {0}")]
    ErrorEvent(String),
    /// The stream ended cleanly but too early.
    #[error("the stream ended without [DONE]")]
    NoDone,
    /// `[DONE]` came, but no chunk had a `finish_reason`.
    #[error("the stream ended without a finish_reason")]
    NoFinishReason,
}

impl Failure {
    /// The name it is counted under.
    pub(super) fn kind(&self) -> Cow<'static, str> {
        match self {
            Self::Connect(_) => "connect".into(),
            Self::Connection(_) => "connection".into(),
            Self::Status { status, .. } => format!("http_{status}").into(),
            Self::Timeout => "timeout".into(),
            Self::Malformed(_) => "malformed".into(),
            Self::ErrorEvent(_) => "error_event".into(),
            Self::NoDone => "no_done".into(),
            Self::NoFinishReason => "no_finish_reason".into(),
        }
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Connect(what) => Self::Connect(what),
            HttpError::ConnectTimeout(_) => Self::Timeout,
            HttpError::Broken(what) => Self::Connection(what),
            HttpError::TooLarge(_) => Self::Malformed(error.to_string()),
        }
    }
}
