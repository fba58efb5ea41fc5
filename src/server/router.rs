//! All routes on one page, and what every request passes on its way.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::account::Arrival;
use super::auth::{Tenant, require_key};
use super::error::ApiError;
use super::state::AppState;
use super::{chat, completions, ops, tokenize};

/// The whole front.
pub(super) fn router(state: AppState) -> Router {
    let open = Router::new()
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        .method_not_allowed_fallback(wrong_method);
    let keyed = Router::new()
        .route("/v1/chat/completions", post(chat::handle))
        .route("/v1/completions", post(completions::handle))
        .route("/v1/models", get(ops::models))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/metrics", get(ops::metrics))
        .route("/version", get(ops::version))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), require_key));
    open.merge(keyed)
        .layer(DefaultBodyLimit::max(state.options.max_body_bytes))
        .layer(from_fn_with_state(state.clone(), body_limit))
        .layer(from_fn(request_id))
        .with_state(state)
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    ApiError::no_route(method.as_str(), uri.path())
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::wrong_method(method.as_str(), uri.path())
}

/// When and under which id a request came in.
#[derive(Clone)]
struct Received {
    at: Instant,
    request_id: Arc<str>,
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Takes a sensible `x-request-id` from the client or makes one, and puts it on the response.
async fn request_id(mut request: Request, next: Next) -> Response {
    let is_sensible =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(is_sensible);
    let id: Arc<str> = given.map_or_else(fresh_id, str::to_owned).into();
    request.extensions_mut().insert(Received {
        at: Instant::now(),
        request_id: Arc::clone(&id),
    });
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// 128 bits from the standard library's randomly keyed hasher.
fn fresh_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!(
        "{:016x}{:016x}",
        RandomState::new().hash_one(1),
        RandomState::new().hash_one(2)
    )
}

/// Refuses a body announced to be over the limit without waiting for it, and gives axum's own refusals (a body that
/// turned out to be over the limit, one cut short) the shape of all other errors.
async fn body_limit(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > state.options.max_body_bytes) {
        return ApiError::too_large(state.options.max_body_bytes).into_response();
    }
    let response = next.run(request).await;
    let is_ours = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    match response.status() {
        StatusCode::PAYLOAD_TOO_LARGE if !is_ours => {
            ApiError::too_large(state.options.max_body_bytes).into_response()
        }
        StatusCode::BAD_REQUEST if !is_ours => {
            ApiError::bad_request("the body could not be read").into_response()
        }
        _ => response,
    }
}

impl<S: Sync> FromRequestParts<S> for Arrival {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let missing = || ApiError::internal("a middleware is missing");
        let received = parts
            .extensions
            .get::<Received>()
            .cloned()
            .ok_or_else(missing)?;
        let tenant = parts
            .extensions
            .get::<Tenant>()
            .cloned()
            .ok_or_else(missing)?;
        let session = parts
            .headers
            .get("x-session-id")
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        Ok(Self {
            at: received.at,
            request_id: received.request_id,
            tenant: tenant.0,
            session,
        })
    }
}
