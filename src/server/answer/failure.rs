//! Why a model does not answer a request, and what that means for others.

use crate::engine::{EngineError, Refusal, SubmitError};
use crate::remote::{RemoteError, Wait};
use crate::server::error::{ApiError, is_misconfigured};
use crate::telemetry::Cause;

/// See the module.
#[derive(Clone)]
pub(crate) struct Failure {
    pub error: ApiError,
    /// Why another tier may answer, where one may.
    pub cause: Option<Cause>,
    /// Whether the model is not to be asked any more for a while, though it failed but once.
    pub is_certain: bool,
}

impl Failure {
    /// The time for the first token has passed.
    pub fn is_late(&self) -> bool {
        self.cause == Some(Cause::Late)
    }

    /// Because of `cause`, for which it is not the model that is to blame.
    pub fn because(error: ApiError, cause: Cause) -> Self {
        Self {
            error,
            cause: Some(cause),
            is_certain: false,
        }
    }

    /// The model computes nothing.
    pub fn hung() -> Self {
        Self {
            is_certain: true,
            ..Self::because(
                ApiError::unavailable("the model does not answer"),
                Cause::Failed,
            )
        }
    }
}

/// The request's own: no other tier would answer it.
impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            cause: None,
            is_certain: false,
        }
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let cause = match &error {
            EngineError::Refused(Refusal::Busy { .. } | Refusal::TooLong { .. }) => {
                Some(Cause::PredictedTtft)
            }
            EngineError::Refused(Refusal::Late) => Some(Cause::Late),
            // The last is also what an engine says that could not go on.
            EngineError::Step(_)
            | EngineError::Panic
            | EngineError::NotLoaded(_)
            | EngineError::ShutDown => Some(Cause::Failed),
            EngineError::NoToken | EngineError::Constraint(_) => None,
        };
        Self {
            cause,
            is_certain: matches!(
                error,
                EngineError::Panic | EngineError::NotLoaded(_) | EngineError::ShutDown
            ),
            error: error.into(),
        }
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        Self {
            cause: match error {
                SubmitError::QueueFull { .. } => Some(Cause::QueueFull),
                SubmitError::Stopped => Some(Cause::Failed),
                SubmitError::Draining => None,
            },
            is_certain: error == SubmitError::Stopped,
            error: error.into(),
        }
    }
}

impl From<&RemoteError> for Failure {
    fn from(error: &RemoteError) -> Self {
        let cause = match error {
            RemoteError::Busy { .. } => Some(Cause::QueueFull),
            RemoteError::Timeout {
                what: Wait::FirstToken,
                ..
            } => Some(Cause::Late),
            RemoteError::Refused { status, .. } if !is_misconfigured(*status) => None,
            _ => Some(Cause::Failed),
        };
        Self {
            cause,
            is_certain: matches!(error, RemoteError::Unreachable(_) | RemoteError::Setup(_)),
            error: error.into(),
        }
    }
}
