//! Why a request would be given an answer again, or would not: all that is looked at, with nothing given, and nothing counted as a lookup.

use serde_json::{Value, json};

use super::ask::Ask;
use super::recall::{self, Eras};
use super::serving::{Candidate, Serving, Trace};
use crate::gateway::{Reject, SemanticMode};
use crate::server::error::ApiError;
use crate::server::models::{Chosen, Target};
use crate::server::state::AppState;

/// What `ask` of `tenant` would find.
///
/// # Errors
/// What is wrong with the request itself.
pub(crate) async fn explain(state: &AppState, ask: Ask, tenant: &str) -> Result<Value, ApiError> {
    let chosen = here(&ask)?;
    let call = (ask.prepare)(chosen.clone(), None).await?;
    let whose = (tenant, Eras::of(state, tenant));
    let is_exact = {
        let keeping = recall::keeping(state, &ask, whose, &chosen);
        let keeping = keeping.and_then(|keeping| keeping.of(&call));
        keeping.is_some_and(|keeping| keeping.is_there())
    };
    if is_exact {
        return Ok(json!({"verdict": "exact", "says": "this very request was answered before"}));
    }
    let Some(mut asked) = recall::remembering(state, &ask, whose, &chosen) else {
        let says = match (&ask.question, &state.semantic) {
            (_, None) => "[cache.semantic] is off",
            (None, _) => "the last message is not one short text, or cache is false",
            _ => "mode is off for this tenant or route",
        };
        return Ok(json!({"verdict": "miss", "reason": "off", "says": says}));
    };
    let serving = Serving::of(&call, &chosen, std::time::Duration::ZERO);
    drop(call);
    let mut trace = Trace::default();
    let found = match serving {
        Some(serving) => recall::find(&ask, &mut asked, serving, &mut trace).await,
        None => Err(Reject::Shape),
    };
    let mut told = match found {
        Ok(hit) => {
            let num_tokens = hit.answered.given.choice.tokens.len();
            json!({"verdict": "semantic", "question": &*hit.answered.question,
                "likeness": hit.likeness.as_str(), "num_tokens": num_tokens})
        }
        Err(why) => json!({"verdict": "miss", "reason": why.as_str(), "says": why.says()}),
    };
    told["mode"] = mode(asked.mode).into();
    if asked.mode != SemanticMode::Serve {
        told["says"] =
            "answers are drafts here: with mode \"serve\" the verdict would be this".into();
    }
    told["candidates"] = trace.candidates.iter().map(candidate).collect();
    if let Some(loss) = trace.loss {
        let ms = trace.verification.as_secs_f64() * 1e3;
        told["verification"] = json!({"mean_loss": loss.mean, "worst_loss": loss.worst,
            "is_small": loss.is_small(), "ms": ms});
    }
    Ok(told)
}

/// Gives all tenants what `tenant` was answered to this. Whether there is such an answer.
///
/// # Errors
/// What is wrong with the request itself, or why its answer is not remembered.
pub(crate) fn share(state: &AppState, ask: &Ask, tenant: &str) -> Result<bool, ApiError> {
    let chosen = here(ask)?;
    let whose = (tenant, Eras::of(state, tenant));
    let asked = recall::remembering(state, ask, whose, &chosen);
    let Some(asked) = asked else {
        let message = "answers to such requests are not remembered: /admin/cache/explain says why";
        return Err(ApiError::bad_request(message));
    };
    Ok(asked.share())
}

fn here(ask: &Ask) -> Result<Chosen, ApiError> {
    match &ask.target {
        Target::Here(chosen) => Ok(chosen.clone()),
        Target::Elsewhere(_) => {
            let message = "what another server answers is not kept";
            Err(ApiError::field("model", message))
        }
    }
}

fn mode(mode: SemanticMode) -> &'static str {
    match mode {
        SemanticMode::Off => "off",
        SemanticMode::Draft => "draft",
        SemanticMode::Serve => "serve",
    }
}

fn candidate(candidate: &Candidate) -> Value {
    let mut told = json!({"question": &*candidate.question, "found_by": candidate.found_by,
        "nearness": candidate.nearness});
    match candidate.likeness {
        Ok(likeness) => told["likeness"] = likeness.as_str().into(),
        Err(why) => told["objection"] = why.as_str().into(),
    }
    told
}
