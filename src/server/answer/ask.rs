//! A request that was read, and can be put to any model.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use serde_json::Value;

use super::again::Repeatable;
use super::form::{Form, Kind};
use super::question::Question;
use super::received::Received;
use super::wire::Wire;
use crate::request::GenerateRequest;
use crate::server::error::ApiError;
use crate::server::models::{Chosen, Target};
use crate::server::request::fields::Fields;
use crate::server::request::forward::{Forwarded, names_tokens};
use crate::server::request::generate::{CONTINUE, Generate};
use crate::server::request::urgency::Standing;
use crate::server::state::AppState;

/// A request as it is put to a model that is served here.
pub(crate) struct Call {
    pub generate: Generate,
    /// One a prompt; each is run for every choice.
    pub requests: Vec<GenerateRequest>,
    /// For the log.
    pub prompt_chars: usize,
    /// How the answer is spelt.
    pub wire: Box<dyn Wire>,
}

/// A request as it is put to a model that another server serves.
pub(crate) struct RemoteCall {
    pub forwarded: Forwarded,
    /// How the answer is spelt.
    pub wire: Box<dyn Wire>,
}

/// Makes the call that a request is to a model of this process, with another question in the place of its own where one is said.
pub(crate) type Prepare =
    Box<dyn Fn(Chosen, Option<&str>) -> BoxFuture<'static, Result<Call, ApiError>> + Send + Sync>;

/// Makes the call that it is to one of another server, which answers call by this name.
pub(crate) type Forward = Box<dyn Fn(&str) -> Result<RemoteCall, ApiError> + Send + Sync>;

/// See the module.
pub(crate) struct Ask {
    /// What it names.
    pub target: Target,
    /// Where it came in.
    pub route: &'static str,
    /// What it is once it is translated.
    pub kind: Kind,
    /// Whether it may be answered by others.
    pub may_fall_back: bool,
    /// Whether another may go on with what one has begun.
    pub may_continue: bool,
    /// Whether its answer may be one that was given before.
    pub repeatable: Option<Repeatable>,
    /// What it asks, where answers to such questions are remembered.
    pub question: Option<Question>,
    pub prepare: Prepare,
    pub forward: Forward,
}

impl Ask {
    /// What `fields` of `route` ask for. `prepare` makes a call of them to a model of this process, `wire` spells an answer.
    ///
    /// # Errors
    /// 404 where nobody is called so, 400 for a field.
    pub fn new(
        mut fields: Fields,
        (route, kind): (&'static str, Kind),
        state: &AppState,
        received: &Arc<Received>,
        wire: impl Fn(Form) -> Box<dyn Wire> + Send + Sync + 'static,
        prepare: impl Fn(Fields, Chosen, Standing) -> BoxFuture<'static, Result<Call, ApiError>>
        + Send
        + Sync
        + 'static,
    ) -> Result<Self, ApiError> {
        let target = state.models.target(fields.opt("model")?)?;
        received.answers_as(target.name());
        let fallback = fields.opt("fallback")?.unwrap_or(Value::Bool(true));
        if !fallback.is_boolean() && fallback != CONTINUE {
            let message = format!("fallback must be true, false or {CONTINUE:?}");
            return Err(ApiError::field("fallback", message));
        }
        let may_fall_back = fallback != false && !names_tokens(&fields);
        let cache: Option<bool> = fields.opt("cache")?;
        let may_cache = cache != Some(false);
        let repeatable = (may_cache && state.answers.is_some())
            .then(|| Repeatable::of(&fields, kind, cache == Some(true)))
            .flatten();
        let question = (may_cache && state.semantic.is_some())
            .then(|| Question::of(&fields, kind, cache == Some(true)))
            .flatten();
        let standing = state.standing(received.tenant(), &target);
        let fields = Arc::new(fields);
        let forward = {
            let (fields, received) = (Arc::clone(&fields), Arc::clone(received));
            let tokenizer = Arc::clone(&state.models.first().tokenizer);
            move |name: &str| {
                let forwarded = Forwarded::new(Fields::clone(&fields), standing)?;
                let form = Form::elsewhere(kind, &forwarded, &received, name, &tokenizer);
                Ok(RemoteCall {
                    forwarded,
                    wire: wire(form),
                })
            }
        };
        let prepare = move |chosen, instead: Option<&str>| {
            let mut fields = Fields::clone(&fields);
            if let Some(question) = instead {
                Question::replace(&mut fields, kind, question);
            }
            prepare(fields, chosen, standing)
        };
        Ok(Self {
            target,
            route,
            kind,
            may_fall_back,
            may_continue: fallback == CONTINUE,
            repeatable,
            question,
            prepare: Box::new(prepare),
            forward: Box::new(forward),
        })
    }

    /// Says of errors what `rename` makes of them.
    pub fn renaming(self, rename: fn(&str) -> String) -> Self {
        let (prepare, forward) = (self.prepare, self.forward);
        let prepare = move |chosen, instead: Option<&str>| -> BoxFuture<'static, _> {
            let prepared = prepare(chosen, instead);
            Box::pin(async move { prepared.await.map_err(|error| error.renamed(rename)) })
        };
        let forward = move |name: &str| forward(name).map_err(|error| error.renamed(rename));
        Self {
            prepare: Box::new(prepare),
            forward: Box::new(forward),
            ..self
        }
    }
}
