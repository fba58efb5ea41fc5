//! `POST /v1/responses`, translated to a chat; nothing is kept of it.

use std::sync::Arc;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::Response;

use super::chat;
use crate::server::answer::account::Received;
use crate::server::answer::respond::respond;
use crate::server::answer::responses::Responses;
use crate::server::error::ApiError;
use crate::server::request::fields::Fields;
use crate::server::request::responses::{FIELDS, Translated, original, to_chat};
use crate::server::state::AppState;

pub(crate) async fn handle(
    State(state): State<AppState>,
    Extension(received): Extension<Arc<Received>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    state.models.check_room(received.tenant())?;
    let fields = Fields::parse(&body, &[FIELDS])?;
    let call = async {
        let Translated { chat, echo } = to_chat(fields)?;
        let wire = |form| Box::new(Responses::new(form, echo)) as Box<_>;
        chat::prepare(Fields::of(chat, chat::TABLES), &state, &received, wire).await
    };
    let call = call.await.map_err(|error| error.renamed(original))?;
    respond(state, received, call).await
}
