//! API keys: every route but `/health` and `/ready` needs one, when any is configured.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::answer::received::{Received, Rights};
use super::error::ApiError;
use super::state::AppState;
use crate::request::DEFAULT_TENANT;

/// A key and the name its requests are logged under. Only the key's hash is kept.
#[derive(Clone)]
pub struct ApiKey {
    name: String,
    hash: [u8; 32],
}

impl ApiKey {
    /// A key called `name`.
    pub fn new(name: impl Into<String>, key: &str) -> Self {
        Self {
            name: name.into(),
            hash: Sha256::digest(key).into(),
        }
    }

    /// Compares in a time that depends on neither key: the hashes have one length and all bytes are looked at.
    fn matches(&self, hash: &[u8; 32]) -> bool {
        std::hint::black_box(
            self.hash
                .iter()
                .zip(hash)
                .fold(0, |difference, (a, b)| difference | (a ^ b)),
        ) == 0
    }
}

impl std::fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ApiKey({})", self.name)
    }
}

/// Lets requests with a valid key through, and notes whose it is: `default` where no keys are configured.
pub(super) async fn require_key(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    request: Request,
    next: Next,
) -> Response {
    let keys = &state.options.api_keys;
    if keys.is_empty() {
        let all = Rights {
            sees_cache: true,
            is_admin: true,
        };
        received.is_of(DEFAULT_TENANT.into(), all);
        return next.run(request).await;
    }
    let presented = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let credentials = presented.and_then(|value| value.split_once(' '));
    let bearer = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    // As Anthropic's clients send it.
    let own = request.headers().get("x-api-key");
    let own = own.and_then(|value| value.to_str().ok());
    let Some(key) = bearer.map(|(_, key)| key).or(own) else {
        return ApiError::unauthorized(
            "an API key is needed: send it as 'Authorization: Bearer KEY'",
        )
        .into_response();
    };
    let hash = Sha256::digest(key.trim()).into();
    // Every key is compared, so that the time does not tell which one came close.
    let mut tenant = None;
    for key in keys {
        if key.matches(&hash) {
            tenant = Some(key.name.clone());
        }
    }
    match tenant {
        Some(tenant) => {
            let policy = state.tenants.policy(&tenant);
            let rights = Rights {
                sees_cache: policy.sees_cache,
                is_admin: policy.is_admin,
            };
            received.is_of(tenant, rights);
            next.run(request).await
        }
        None => ApiError::unauthorized("this API key is not known here").into_response(),
    }
}
