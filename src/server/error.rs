//! The one place where a failure becomes HTTP: OpenAI's error shape and its status.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::constraint::ConstraintError;
use crate::engine::{EngineError, Refusal, SubmitError};
use crate::remote::RemoteError;
use crate::telemetry::Outcome;
use crate::text::{ChatError, TemplateError, TokenizerError};

/// An error as the client sees it.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<String>,
    code: Option<&'static str>,
    retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
        }
    }

    /// 400 for the field `param`.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            param: Some(param.into()),
            ..Self::bad_request(message)
        }
    }

    /// 400 for the body as a whole.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 400 for a prompt that the context window cannot hold.
    pub fn context_length(param: &str, message: impl Into<String>) -> Self {
        Self {
            code: Some("context_length_exceeded"),
            ..Self::field(param, message)
        }
    }

    /// 401.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self {
            code: Some("invalid_api_key"),
            ..Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message)
        }
    }

    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// 404 for a model nobody serves here.
    pub fn model_not_found(name: &str, served: &[&str]) -> Self {
        let names: Vec<String> = served.iter().map(|name| format!("{name:?}")).collect();
        let are = if names.len() == 1 { "is" } else { "are" };
        let message = format!(
            "the model {name:?} is not served here; {} {are}",
            names.join(", ")
        );
        Self {
            param: Some("model".into()),
            code: Some("model_not_found"),
            ..Self::new(StatusCode::NOT_FOUND, "not_found_error", message)
        }
    }

    /// 404 for what this server does not have.
    pub fn not_here(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", message)
    }

    /// 404 for a path.
    pub fn no_route(method: &str, path: &str) -> Self {
        Self::not_here(format!("there is no {method} {path} here"))
    }

    /// 405.
    pub fn wrong_method(method: &str, path: &str) -> Self {
        let message = format!("{path} does not take {method}");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "invalid_request_error",
            message,
        )
    }

    /// 413.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("the body is larger than {limit} bytes");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            message,
        )
    }

    /// 408.
    pub fn too_slow(limit: Duration) -> Self {
        let message = format!("the body did not arrive within {} s", limit.as_secs());
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request_error",
            message,
        )
    }

    /// 429 for more than can be served now.
    pub fn overloaded(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            code: Some("overloaded"),
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", message)
        }
    }

    /// How a request is booked that ends with it.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_REQUEST => Outcome::Rejected,
            StatusCode::GATEWAY_TIMEOUT => Outcome::Deadline,
            _ => Outcome::Error,
        }
    }

    /// 502: another server did not answer as it should.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "server_error", message)
    }

    /// 504: another server did not answer in time.
    pub fn gateway_timeout(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "server_error", message)
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        let retry_after = Some(Duration::from_secs(1));
        Self {
            retry_after,
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", message)
        }
    }

    /// Anthropic's shape: `{"type": "error", "error": {type, message}}`.
    pub fn anthropic_body(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            StatusCode::SERVICE_UNAVAILABLE => "overloaded_error",
            StatusCode::GATEWAY_TIMEOUT | StatusCode::REQUEST_TIMEOUT => "timeout_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "api_error",
        };
        let message = shortened(&self.message);
        json!({"type": "error", "error": {"type": kind, "message": message}})
    }

    /// The same for the field that a translated request has in its place.
    pub fn renamed(mut self, rename: impl Fn(&str) -> String) -> Self {
        self.message = rename(&self.message);
        self.param = self.param.as_deref().map(rename);
        self
    }

    /// `{"error": {message, type, param, code}}`.
    pub fn body(&self) -> Value {
        let (message, param) = (
            shortened(&self.message),
            self.param.as_deref().map(shortened),
        );
        json!({"error": {"message": message, "type": self.kind, "param": param, "code": self.code}})
    }
}

/// Names and values of a request are repeated in errors, but not megabytes of them.
fn shortened(text: &str) -> String {
    const MAX_BYTES: usize = 1000;
    match text.len() {
        0..=MAX_BYTES => text.to_owned(),
        _ => format!("{}…", &text[..text.floor_char_boundary(MAX_BYTES)]),
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        // For endpoints that spell errors otherwise.
        response.extensions_mut().insert(self.clone());
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        let message = error.to_string();
        match error {
            SubmitError::QueueFull { retry_after } => Self::overloaded(message, retry_after),
            SubmitError::Draining | SubmitError::Stopped => Self::unavailable(message),
        }
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ShutDown | EngineError::NotLoaded(_) => {
                Self::unavailable(error.to_string())
            }
            EngineError::Refused(Refusal::Busy { retry_after, .. }) => {
                Self::overloaded(error.to_string(), retry_after)
            }
            EngineError::Refused(Refusal::TooLong { .. }) => Self {
                code: Some("deadline"),
                ..Self::field("deadline_ms", error.to_string())
            },
            EngineError::Refused(Refusal::Late) => Self {
                code: Some("deadline"),
                ..Self::new(
                    StatusCode::GATEWAY_TIMEOUT,
                    "server_error",
                    error.to_string(),
                )
            },
            EngineError::Constraint(ConstraintError::Rule(_)) => {
                Self::bad_request(error.to_string())
            }
            EngineError::Step(_)
            | EngineError::NoToken
            | EngineError::Constraint(ConstraintError::Failed(_))
            | EngineError::Panic => Self::internal(error.to_string()),
        }
    }
}

/// Whether a refusal with this status is not the request's fault: the key is wrong, or the model's name.
pub(super) fn is_misconfigured(status: u16) -> bool {
    matches!(status, 401..=404 | 408)
}

impl From<&RemoteError> for ApiError {
    fn from(error: &RemoteError) -> Self {
        let message = error.to_string();
        match error {
            RemoteError::Busy { retry_after, .. } => {
                Self::overloaded(message, retry_after.unwrap_or(Duration::from_secs(1)))
            }
            RemoteError::Refused { status, param, .. } if !is_misconfigured(*status) => match param
            {
                Some(param) => Self::field(param, message),
                None => Self::bad_request(message),
            },
            RemoteError::Unavailable { .. } => Self::unavailable(message),
            RemoteError::Timeout { .. } => Self::gateway_timeout(message),
            _ => Self::bad_gateway(message),
        }
    }
}

impl From<ChatError> for ApiError {
    fn from(error: ChatError) -> Self {
        let message = error.to_string();
        match error {
            ChatError::Template(TemplateError::Raised(_)) | ChatError::NoncharactersExhausted => {
                Self::field("messages", message)
            }
            ChatError::Template(_) | ChatError::Tokenizer(_) => Self::internal(message),
        }
    }
}

impl From<TokenizerError> for ApiError {
    fn from(error: TokenizerError) -> Self {
        Self::internal(error.to_string())
    }
}
