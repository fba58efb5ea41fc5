//! `/openapi.json` and the page at `/docs`: what the routes take, from the tables that requests are checked against, and what
//! they answer.

mod answers;
mod paths;
mod routes;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};

static JSON: LazyLock<String> = LazyLock::new(|| {
    let document = paths::document();
    document
        .to_pretty_json()
        .expect("the description is JSON: this is a bug")
});

/// The description as JSON (OpenAPI 3.1).
pub(super) async fn json() -> Response {
    ([(CONTENT_TYPE, "application/json")], JSON.as_str()).into_response()
}

/// The description as a page, which asks for nothing else, so that it works without a network and behind a key.
pub(super) async fn page() -> Html<String> {
    // Text of the description must not end the script that it stands in.
    let json = JSON.replace("</", "<\\/");
    Html(include_str!("page.html").replace("{{DESCRIPTION}}", &json))
}
