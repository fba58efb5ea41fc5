//! `POST /v1/responses`, translated to a chat; nothing is kept of it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::chat;
use crate::server::answer::received::Received;
use crate::server::answer::respond::respond;
use crate::server::answer::responses::Responses;
use crate::server::error::ApiError;
use crate::server::request::fields::Fields;
use crate::server::request::responses::{FIELDS, Translated, original, to_chat};
use crate::server::state::AppState;

const ROUTE: &str = "/v1/responses";

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    state.check_room(received.tenant())?;
    let fields = Fields::parse(&body, &[FIELDS])?;
    let ask = async {
        let Translated { chat, echo } = to_chat(fields)?;
        let wire = move |form| Box::new(Responses::new(form, echo.clone())) as Box<_>;
        chat::ask(
            Fields::of(chat, chat::TABLES),
            ROUTE,
            &state,
            &received,
            wire,
        )
        .await
    };
    let ask = ask
        .await
        .map_err(|error: ApiError| error.renamed(original))?;
    respond(state, received, ask.renaming(original)).await
}
