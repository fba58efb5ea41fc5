//! Whether and how long a model thinks before it answers.

use serde_json::{Map, Value};

use super::fields::{Field, Fields, Support::Honoured};
use super::form::Form;
use super::form::Form::{Bool, Integer};
use crate::server::error::ApiError;
use crate::text::{ChatTemplate, ThinkTokens, Tokenizer};

pub(super) const EFFORT: Form = Form::Word(&["none", "minimal", "low", "medium", "high", "xhigh"]);

/// Fields of this file.
pub(crate) const FIELDS: &[Field] = &[
    ("reasoning_effort", Honoured(EFFORT)),
    (
        "thinking_token_budget",
        Honoured(Integer(0, u32::MAX as i64)),
    ),
    ("include_reasoning", Honoured(Bool)),
];

/// Tokens of thoughts that an effort allows where the template knows no efforts; a high one is not bounded.
fn allowed(effort: &str) -> Option<usize> {
    match effort {
        "none" => Some(0),
        "minimal" => Some(128),
        "low" => Some(1024),
        "medium" => Some(8192),
        _ => None,
    }
}

/// What a request says of thoughts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thinking {
    /// The tokens that enclose them; `None` for a model that has none.
    pub tokens: Option<ThinkTokens>,
    /// How many tokens they may have.
    pub budget: Option<usize>,
    /// Whether they are shown.
    pub is_shown: bool,
}

/// Takes the fields of this file; an effort becomes a variable of the template, where it has one.
pub(crate) fn take(
    fields: &mut Fields,
    template: &ChatTemplate,
    tokenizer: &Tokenizer,
    kwargs: &mut Map<String, Value>,
) -> Result<Thinking, ApiError> {
    let knows = |word: &str| template.source().contains(word);
    let token = |text: &str| tokenizer.token_id(text);
    let tokens = knows("</think>")
        .then(|| token("<think>").zip(token("</think>")))
        .flatten()
        .map(|(begin, end)| ThinkTokens { begin, end });
    let own = fields.integer("thinking_token_budget")?;
    let effort = fields.word("reasoning_effort")?;
    let is_shown = fields.opt("include_reasoning")?.unwrap_or(true);
    let refuse = |name: &str| {
        let message = format!("{name}: this model has no thoughts before its answers");
        Err(ApiError::field(name, message))
    };
    if own.is_some() && tokens.is_none() {
        return refuse("thinking_token_budget");
    }
    let mut budget = own.map(|budget| budget as usize);
    if let Some(effort) = effort {
        if knows("reasoning_effort") {
            kwargs.insert("reasoning_effort".into(), effort.into());
        } else if allowed(effort) == Some(0) && knows("enable_thinking") {
            kwargs.insert("enable_thinking".into(), false.into());
        } else if tokens.is_some() {
            budget = budget.or(allowed(effort));
        } else {
            return refuse("reasoning_effort");
        }
    }
    Ok(Thinking {
        tokens,
        budget,
        is_shown,
    })
}
