//! All routes on one page, and what every request passes on its way.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::time::timeout;

use super::answer::received::Received;
use super::auth::require_key;
use super::error::ApiError;
use super::openapi;
use super::routes::{
    adapters, cache, chat, completions, embeddings, messages, ops, responses, tokenize,
};
use super::state::AppState;

/// The whole front.
pub(super) fn router(state: AppState) -> Router {
    let open = Router::new()
        .route("/health", get(ops::health))
        .route("/ready", get(ops::ready))
        .method_not_allowed_fallback(wrong_method);
    let keyed = Router::new()
        .route("/v1/chat/completions", post(chat::handle))
        .route("/v1/completions", post(completions::handle))
        .route("/v1/embeddings", post(embeddings::handle))
        .route("/v1/responses", post(responses::handle))
        .route("/v1/messages", post(messages::handle))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/models", get(ops::models))
        .route("/v1/load_lora_adapter", post(adapters::load))
        .route("/v1/unload_lora_adapter", post(adapters::unload))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/metrics", get(ops::metrics))
        .route("/version", get(ops::version))
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::page))
        .route("/admin/cache", get(cache::stats))
        .route("/admin/cache/explain", post(cache::explain))
        .route("/admin/cache/purge", post(cache::purge))
        .route("/admin/cache/reset", post(cache::reset))
        .route("/admin/cache/share", post(cache::share))
        .fallback(no_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(state.clone(), read_body))
        .layer(from_fn_with_state(state.clone(), require_key));
    open.merge(keyed)
        // The body is read, and bounded, by `read_body`.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(state.clone(), book_refusals))
        .layer(from_fn(messages::spell_errors))
        .layer(from_fn(receive))
        .with_state(state)
}

async fn no_route(method: Method, uri: Uri) -> ApiError {
    ApiError::no_route(method.as_str(), uri.path())
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::wrong_method(method.as_str(), uri.path())
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id of a request or session that is taken from a client.
const MAX_ID_LEN: usize = 128;
/// Longest `accept-language` that is looked at.
const MAX_LANGUAGES_LEN: usize = 1024;

/// Notes when a request came in and under which id: a sensible `x-request-id` of the client's, else a fresh one, which
/// also stands on the response.
async fn receive(mut request: Request, next: Next) -> Response {
    let request_id = sensible(&request, &REQUEST_ID).unwrap_or_else(fresh_id);
    let session = sensible(&request, &HeaderName::from_static("x-session-id"));
    let header = HeaderValue::from_str(&request_id);
    let languages = request.headers().get(header::ACCEPT_LANGUAGE);
    let languages = languages
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let languages = languages.filter(|value| value.len() <= MAX_LANGUAGES_LEN);
    let received = Arc::new(Received::new(request_id, session, languages));
    request.extensions_mut().insert(received);
    let mut response = next.run(request).await;
    if let Ok(value) = header {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Books what was asked of a model and refused, so that the log has a line for every request.
async fn book_refusals(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    request: Request,
    next: Next,
) -> Response {
    let asks_a_model = request.method() == Method::POST
        && matches!(
            request.uri().path(),
            "/v1/chat/completions"
                | "/v1/completions"
                | "/v1/embeddings"
                | "/v1/messages"
                | "/v1/responses"
        );
    if !asks_a_model {
        return next.run(request).await;
    }
    if let Some(model) = state
        .embeddings
        .as_ref()
        .filter(|_| request.uri().path() == "/v1/embeddings")
    {
        received.answers_as(&model.name);
    }
    let mut open = Open {
        state: &state,
        received: &received,
        status: None,
    };
    let response = next.run(request).await;
    open.status = Some(response.status());
    drop(open);
    response
}

/// A request on its way through the handlers.
struct Open<'a> {
    state: &'a AppState,
    received: &'a Received,
    /// Of the answer; none if the client leaves before there is one.
    status: Option<StatusCode>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        match self.status {
            None if std::thread::panicking() => self.received.refused(self.state, 500),
            None => self.received.left(self.state),
            Some(status) if status.is_client_error() || status.is_server_error() => {
                self.received.refused(self.state, status.as_u16());
            }
            Some(_) => {}
        }
    }
}

/// An id in a header that may go into logs: short, and visible ASCII.
fn sensible(request: &Request, name: &HeaderName) -> Option<String> {
    let value = request.headers().get(name)?.to_str().ok()?;
    let is_sensible = (1..=MAX_ID_LEN).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_graphic());
    is_sensible.then(|| value.to_owned())
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

/// Reads the body, whose size and time are bounded; one announced to be too large is not waited for.
async fn read_body(State(state): State<AppState>, request: Request, next: Next) -> Response {
    /// A client may take so long to send its body.
    const BODY_TIME: Duration = Duration::from_secs(60);
    let limit = state.options.max_body_bytes;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return ApiError::too_large(limit).into_response();
    }
    let (parts, body) = request.into_parts();
    match timeout(BODY_TIME, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(parts, bytes.into())).await,
        Ok(Err(error)) => {
            let is_too_large = error
                .source()
                .is_some_and(|source| source.is::<http_body_util::LengthLimitError>());
            match is_too_large {
                true => ApiError::too_large(limit),
                false => ApiError::bad_request("the body could not be read"),
            }
            .into_response()
        }
        Err(_) => ApiError::too_slow(BODY_TIME).into_response(),
    }
}
